"""The mutants: each takes one mechanism out of the code, and names the tests that must notice.

To add one: its name, the file, the exact text and what stands there instead, and the tests, with `-k` where a file holds many.
The text must occur exactly once in the file; a change of the code that moves it shows as an error, not as a success.
"""

from tests.mutants.buckets import BUCKET_MUTANTS
from tests.mutants.conditions import CONDITIONS
from tests.mutants.consistency import CONSISTENCY
from tests.mutants.contention import CONTENTION
from tests.mutants.journal import JOURNAL
from tests.mutants.largereads import LARGE_READS
from tests.mutants.listings import LISTINGS
from tests.mutants.mutant import Mutant
from tests.mutants.signatures import SIGNATURES
from tests.mutants.uploads import UPLOADS
from tests.mutants.work import WORK

COMMITTER = "objstore/runtime/committer.py"
FILES = "objstore/runtime/filesystem.py"
DISK = "objstore/runtime/disk.py"
WRITER = "objstore/object/writer.py"
READER = "objstore/object/reader.py"
QUORUM = "objstore/model/quorum.py"
CASES = "tests/faults/test_crash_states.py::"
PLACES = "tests/faults/test_crash_places.py"
FAILING = "tests/faults/test_injections.py::"

MUTANTS: tuple[Mutant, ...] = (
    # --- what is durable before it is acknowledged
    Mutant("directories are not synced", COMMITTER, "self._fs.sync_directory(path)", "pass", f"{CASES}test_case[put-0]"),
    Mutant("files are not synced", COMMITTER, "outcome.file.sync()", "pass", f"{CASES}test_case[put-0]"),
    Mutant(
        "the parents of a new partition are not synced",
        COMMITTER,
        "changed.update(dict.fromkeys(self._fs.make_directory(parent)))",
        "self._fs.make_directory(parent)",
        f"{CASES}test_case[put-0]",
    ),
    Mutant(
        "names are given before the log is written",
        COMMITTER,
        """            self._append_log(direct)
""",
        """            for outcome in _good(group):
                self._give_name(outcome, {})
            self._append_log(direct)
""",
        f"'{CASES}test_case[row waits-0]'",
    ),
    Mutant(
        "superseded files are removed before the new name is synced",
        READER,
        "    fs.sync_directory(place.directory)\n",
        "",
        f"{PLACES} -k superseded",
    ),
    Mutant(
        "directories that a killed process made are not synced",
        FILES,
        "        self._settle_names()\n",
        "",
        "tests/unit/objstore/runtime/test_filesystem.py",
    ),
    Mutant(
        "SQLite is not told to sync each commit",
        "objstore/tables/schema.py",
        'execute("PRAGMA synchronous=FULL")',
        'execute("PRAGMA synchronous=NORMAL")',
        "tests/faults/test_row_faults.py -k loses_no_acknowledged",
    ),
    # --- no lost index update
    Mutant(
        "no intent is written with the object",
        WRITER,
        "change.log = frame(id_, update)",
        "frame(id_, update)",
        f"'{CASES}test_case[row waits-0]'",
    ),
    Mutant(
        "the pending log is not synced",
        "objstore/object/pending.py",
        "                self._file.sync()\n",
        "",
        f"'{CASES}test_case[row waits-0]'",
    ),
    Mutant(
        "rows of changes that never happened are sent",
        "objstore/object/updater.py",
        "return files.timestamp >= row.timestamp and files.newest >= row.meta_timestamp",
        "return files.newest >= row.meta_timestamp",
        f"{CASES}test_case[pushed-0]",
    ),
    Mutant(
        "damage to the pending log passes for what a power cut tore",
        "objstore/formats/pending.py",
        "            damaged += _bytes(gaps)\n            gaps, grouped = [], True\n",
        "            grouped = True\n",
        "tests/unit/objstore/formats/test_pending.py",
    ),
    # --- failed syncs
    Mutant(
        "a failed sync of a directory is forgotten",
        COMMITTER,
        """raise SyncFailed(error, f"sync of directory {path or '.'}") from error""",
        "pass",
        f"{FAILING}test_every_call_fails[put-0]",
    ),
    Mutant(
        "a failed sync does not fail the device",
        DISK,
        "            self._failed = reason\n",
        "            pass\n",
        f"{FAILING}test_every_call_fails[put-0]",
    ),
    Mutant(
        "a sync after a failed one is believed",
        FILES,
        '        if self._lost:\n            raise OSError(errno.EIO, "an earlier sync failed", directory)\n',
        "",
        "tests/unit/objstore/runtime/test_filesystem.py",
    ),
    Mutant(
        "a failed sync of SQLite's does not fail the device",
        "objstore/tables/device.py",
        "        if is_failed_sync(fault):\n",
        "        if False:\n",
        "tests/faults/test_row_faults.py::test_every_call_to_the_files_fails[once]",
    ),
    Mutant(
        "a failed sync of a checkpoint goes unseen",
        "objstore/tables/database.py",
        "            if is_failed_sync(error):\n                raise\n",
        "",
        "tests/faults/test_row_faults.py::test_every_call_to_the_files_fails[once]",
    ),
    # --- quorums
    Mutant(
        "one of three is a majority", QUORUM, "return replicas // 2 + 1", "return 1", "tests/unit/objstore/model/test_quorum.py"
    ),
    Mutant(
        "a read believes one replica",
        QUORUM,
        "return replicas - majority(replicas) + 1",
        "return 1",
        "tests/unit/objstore/model/test_quorum.py",
    ),
    Mutant(
        "what a minority holds is shown and not completed",
        QUORUM,
        "return Read.WAIT if pending and patient else Read.COMPLETE",
        "return Read.WAIT if pending and patient else Read.DONE",
        "tests/unit/objstore/proxy/test_faults.py -k 'stale_replica or partial_deletion'",
    ),
    # --- what is read
    Mutant(
        "a range is not verified",
        READER,
        "            crc = verify_chunks(data, first, table)\n",
        "            crc = verify_chunks(data, first, table) if length == self.header.body_size else crc32c(data)\n",
        "tests/unit/objstore/object/test_damage.py",
    ),
    Mutant(
        "a file's size is not compared",
        READER,
        "if file.size() != header.file_size:",
        "if False:",
        "tests/unit/objstore/object/test_damage.py",
    ),
    Mutant(
        "the name in a file is not compared",
        READER,
        "if name and version.name != name:",
        "if False:",
        "tests/unit/objstore/object/test_damage.py",
    ),
    # --- which change wins
    Mutant(
        "a deletion loses a tie",
        "objstore/object/files.py",
        "n.kind is FileKind.TOMBSTONE), reverse=True",
        "n.kind is not FileKind.TOMBSTONE), reverse=True",
        "tests/unit/objstore/object/test_files.py",
    ),
    Mutant(
        "an older change replaces a newer one",
        "objstore/object/subject.py",
        "    if timestamp <= (before.timestamp if subject.pushed else before.newest):\n",
        "    if False:\n",
        "tests/unit/objstore/object/test_server.py",
    ),
    Mutant(
        "rows are merged without regard to deletions",
        "objstore/model/rows.py",
        "key=lambda r: (r.timestamp, r.deleted, r.etag, r.size, r.content_type)",
        "key=lambda r: (r.timestamp, r.etag, r.size, r.content_type)",
        "tests/unit/objstore/model/test_rows.py",
    ),
    # --- caches
    Mutant(
        "leases are not revoked",
        "objstore/tables/leases.py",
        "        held = self.table.held((kind, name), self._clock.monotonic())\n        if len(held) == 1:",
        "        held: list[Held[Peer]] = []\n        if len(held) == 1:",
        "tests/unit/objstore/tables/test_leases.py",
    ),
    # --- quarantine, databases
    Mutant(
        "a quarantined file leaves its place before it has another",
        "objstore/object/quarantine.py",
        "        self._fs.sync_directory(directory)  # the new name first: at no moment is the file without a durable one\n",
        "",
        f"{PLACES} -k damaged_file",
    ),
    Mutant(
        "a quarantined database's log leaves before it",
        "objstore/tables/quarantine.py",
        """    fs.sync_directory(directory)
    fs.sync_directory(source)
    crash.reach("tables.quarantine.moved")
""",
        """    crash.reach("tables.quarantine.moved")
""",
        f"{PLACES} -k damaged_database",
    ),
    Mutant(
        "an old log stays beside a new database",
        "objstore/tables/device.py",
        "            self.sync(partial(self.disk.fs.sync_directory, place.directory))\n",
        "            pass\n",
        f"{PLACES} -k new_database",
    ),
    Mutant(
        "a database without a name answers",
        "objstore/tables/service.py",
        "return database if database is not None and database.state.settings.name else None",
        "return database",
        "tests/unit/objstore/container/test_server.py",
    ),
    Mutant(
        "what a killed process named and did not sync is served",
        "objstore/object/partitionindex.py",
        "if found[0] and self._disk.failed is None:",
        "if False:",
        f"{PLACES} -k outlives",
    ),
    # --- replication
    Mutant(
        "a handoff removes what only some primaries hold",
        "objstore/object/replicator.py",
        "                everywhere &= await self._push_all(",
        "                everywhere |= await self._push_all(",
        "tests/faults/test_crash_replication.py -k failing_calls",
    ),
    # --- bytes on their way
    Mutant(
        "memory of chunks is used again while somebody looks at it",
        "objstore/rpc/frames.py",
        "    except BufferError:\n        return False",
        "    except BufferError:\n        return True",
        "tests/unit/objstore/rpc/test_chunkmemory.py",
    ),
    Mutant(
        "a lost connection holds its buffers",
        "objstore/rpc/link.py",
        "            self._reader.close()\n",
        "            pass\n",
        "tests/unit/objstore/rpc/test_client.py",
    ),
    *BUCKET_MUTANTS,
    *CONDITIONS,
    *CONSISTENCY,
    *CONTENTION,
    *LARGE_READS,
    *LISTINGS,
    *UPLOADS,
    *SIGNATURES,
    *JOURNAL,
    *WORK,
)
