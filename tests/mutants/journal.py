"""Mutants of the journal: what makes small changes durable, and keeps them from coming back."""

from tests.mutants.mutant import Mutant

COMMITTER = "objstore/runtime/committer.py"
JOURNAL_FILE = "objstore/runtime/journal.py"
DISK = "objstore/runtime/disk.py"
PENDING = "objstore/object/pending.py"
CASES = "tests/faults/test_crash_states.py::"
FAILING = "tests/faults/test_injections.py::"
HELD = "objstore/tables/heldrows.py"
ROWS = "tests/unit/objstore/tables/test_heldrows.py"
ALONG = "tests/unit/objstore/runtime/test_along.py"
UNIT = "tests/unit/objstore/runtime/test_journal.py"
REMOVED = "tests/unit/objstore/object/test_journal_removal.py"

JOURNAL = (
    Mutant(
        "the journal is not synced",
        JOURNAL_FILE,
        "            self._current().file.sync()\n            return",
        "            return",
        f"{CASES}test_case[put-2]",
    ),
    Mutant(
        "names are given before the journal is written",
        COMMITTER,
        """            number = self._append_journal(group)
""",
        """            for outcome in _good(group):
                self._give_name(outcome, {})
            number = self._append_journal(group)
""",
        f"'{CASES}test_case[row waits-2]' {UNIT}",
    ),
    Mutant(
        "the journal forgets before all is synced",
        DISK,
        "                self._fs.sync_all()\n",
        "",
        f"'{CASES}test_case[a group of each kind-2]'",
    ),
    Mutant(
        "the journal forgets rows that nobody took",
        DISK,
        "                    self._log.spill()\n",
        "                    pass\n",
        f"'{CASES}test_case[rows wait-2]' {UNIT} -k 'rows or held'",
    ),
    Mutant(
        "what is replayed is not synced before the journal forgets it",
        JOURNAL_FILE,
        "            self._fs.sync_all()\n        if every:",
        "            pass\n        if every:",
        f"'{CASES}test_case[a group of new objects-2]'",
    ),
    Mutant(
        "groups are settled whose files have no names yet",
        DISK,
        "            number = journal.named\n",
        "            number = journal._number - 1\n",
        f"{UNIT} -k no_name_yet",
    ),
    Mutant(
        "a refused change comes back after a crash",
        COMMITTER,
        "        if void:\n",
        "        if False:\n",
        f"{UNIT} -k without_a_name",
    ),
    Mutant(
        "a failed write to the journal does not fail the device",
        COMMITTER,
        """            raise SyncFailed(error, "write to the journal") from error
        if self._log""",
        """            return self._journal.named
        if self._log""",
        f"'{FAILING}test_every_call_fails[a group of new objects-2]'",
    ),
    Mutant(
        "a group takes its number before settling took one",
        JOURNAL_FILE,
        "            data = encode_group(self._seed, self._number, self._floor, batch)  # settling took a number meanwhile\n",
        "",
        f"{UNIT} -k every_state",
    ),
    Mutant(
        "objects are removed while the journal may bring them back",
        "objstore/object/removal.py",
        "                    await device.disk.settle()",
        "                    pass",
        f"{REMOVED} -k removed_object",
    ),
    Mutant(
        "files are set aside while the journal may bring them back",
        "objstore/object/device.py",
        "            await self.disk.settle(error.path)\n            await self.disk.run(move)",
        "            await self.disk.run(move)",
        f"{REMOVED} -k quarantined_file",
    ),
    # --- rows that go along with their objects
    Mutant(
        "what goes along is not written",
        COMMITTER,
        ", along=change.along)\n",
        ")\n",
        f"{ALONG} -k along_is_found",
    ),
    Mutant(
        "what goes along may be forgotten before anybody has it",
        DISK,
        "        _tell(entries[0].future.get_loop(), partial(self._resolve, number), entries)\n",
        """        if number and self._journal is not None:
            self._journal.named = number
        _tell(entries[0].future.get_loop(), partial(self._resolve, number), entries)
""",
        f"{ALONG} -k not_forgotten_before",
    ),
    Mutant(
        "what goes along with a refused change counts",
        JOURNAL_FILE,
        "for entry in wanted if entry.along is not None]",
        "for entry in every if entry.along is not None]",
        f"{ALONG} -k along_is_found",
    ),
    Mutant(
        "rows beside their objects are not held",
        "objstore/runtime/disk.py",
        "                entry.outcome.change.done()\n",
        "                pass\n",
        "tests/unit/objstore/proxy/test_beside.py -k one_write",
    ),
    # --- rows that wait for being written together
    Mutant(
        "rows that the writer does not take are dropped",
        HELD,
        "        future = self._enqueue(place, Merge(held.name, held.rows))\n        del self._held[place]\n",
        "        del self._held[place]\n        future = self._enqueue(place, Merge(held.name, held.rows))\n",
        f"{ROWS} -k too_late",
    ),
    Mutant(
        "rows are acknowledged before the journal has them",
        HELD,
        '        await self._disk.commit(Change(note.path, b"", note=note.record))\n',
        "",
        f"{ROWS} -k acknowledged",
    ),
    Mutant(
        "the journal forgets rows that are nowhere else",
        HELD,
        "        disk.before_settling.append(self._before_settling)\n",
        "",
        f"{ROWS} -k forgets_rows",
    ),
    Mutant(
        "rows of an earlier process are forgotten before anybody took them",
        DISK,
        "if journal is None or journal.notes or",
        "if journal is None or",
        f"{ROWS} -k nobody_took",
    ),
    Mutant(
        "rows that could not be written are dropped",
        HELD,
        "            self.hold(place, held.name, held.rows)  # merging",
        "            pass  # merging",
        f"{ROWS} -k could_not",
    ),
    Mutant(
        "rows that cannot be written are not put down either",
        HELD,
        "                put_down(self._disk.fs, lacking)\n",
        "",
        f"{ROWS} -k put_down",
    ),
    Mutant(
        "a change of a database does not see the rows that wait",
        "objstore/tables/device.py",
        "        self.rows.write(place)\n",
        "",
        f"{ROWS} -k not_empty",
    ),
    Mutant(
        "figures are told without the rows that wait",
        "objstore/tables/service.py",
        "        await device.rows.tried(place)\n",
        "",
        f"{ROWS} -k tells_of",
    ),
    Mutant(
        "a forged group in a body is believed",
        "objstore/formats/journal.py",
        "crc32c(data[at : at + _HEAD.size], seed)) != crc",
        "crc32c(data[at : at + _HEAD.size], seed)) != crc and False",
        "tests/unit/objstore/formats/test_journal.py",
    ),
)
