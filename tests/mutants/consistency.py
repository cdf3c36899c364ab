"""Mutants of what makes replicas equal again, and of what keeps that from going wrong."""

from tests.mutants.mutant import Mutant

REPLICATOR = "objstore/object/replicator.py"
REPAIRS = "objstore/object/repairs.py"
REMOVAL = "objstore/object/removal.py"
LIFETIME = "objstore/app/lifetime.py"
UPTIME = "objstore/runtime/uptime.py"
UPDATES = "objstore/object/updates.py"
COMPARISON = "objstore/tables/comparison.py"
OBJECT = "tests/unit/objstore/object"
TABLES = "tests/unit/objstore/tables"
PROXY = "tests/unit/objstore/proxy"

CONSISTENCY = (
    # --- damage beside other faults
    Mutant(
        "what half of an even number said is outvoted by the other half",
        "objstore/model/quorum.py",
        "for order in orders) >= majority(replicas)",
        "for order in orders) >= read_count(replicas)",
        f"{PROXY}/test_damaged_more.py -k taken_back",
    ),
    Mutant(
        "what was given by half of the replicas is not completed there",
        "objstore/model/quorum.py",
        "return Read.DONE if self.unanimous else Read.COMPLETE",
        "return Read.DONE",
        f"{PROXY}/test_damaged_more.py -k taken_back",
    ),
    Mutant(
        "a good copy is set aside for the damage of the one before",
        "objstore/object/device.py",
        "if error.path not in files.paths(place) or not await self._is_damaged(place, error):",
        "if error.path not in files.paths(place):",
        f"{PROXY}/test_damaged_more.py -k set_aside_for",
    ),
    Mutant(
        "the only replica is given up after the reclaim age",
        REPAIRS,
        "if not others or len(answers) < others:",
        "if len(answers) < others:",
        f"{PROXY}/test_damaged_more.py -k missed_for_ever",
    ),
    Mutant(
        "a device that misses something is in sync",
        "objstore/object/holdings.py",
        "            if directory in damaged:\n",
        "            if False:\n",
        f"{PROXY}/test_damaged_more.py -k ring_change",
    ),
    Mutant(
        "an old version goes to an empty replica beside one that lost the newest",
        REPLICATOR,
        "return missed != NONE or files.is_old_to(",
        "return files.is_old_to(",
        f"{PROXY}/test_damaged_more.py -k ring_change",
    ),
    # --- reads that hear of a second replica only what it holds
    Mutant(
        "the bytes at hand are told though others have newer ones",
        "objstore/proxy/reads.py",
        "return quorum.unanimous and self.lost == NONE and",
        "return self.lost == NONE and",
        f"{PROXY}/test_lean_reads.py -k newer_than_the_bytes",
    ),
    Mutant(
        "what a replica holds is not asked for",
        "objstore/object/server.py",
        "return ObjectHeld(*files.order)",
        "return ObjectHeld(1, 1)",
        f"{PROXY}/test_lean_reads.py -k asked_once",
    ),
    # --- object replication
    Mutant(
        "a handoff is removed though a primary did not answer",
        REPLICATOR,
        "        if all_answered:\n",
        "        if all_answered or True:\n",
        f"{OBJECT}/test_handoffs.py -k handed_back",
    ),
    Mutant(
        "a handoff is removed though a primary refused it",
        REPLICATOR,
        "                everywhere &= await self._push_all(",
        "                await self._push_all(",
        f"{OBJECT}/test_handoffs.py -k refuses_keeps",
    ),
    Mutant(
        "what came during the hand-back is removed too",
        REMOVAL,
        "if files == NOTHING or not unneeded(hash_, files):",
        "if files == NOTHING:",
        f"{OBJECT}/test_handoffs.py -k change_that_waits",
    ),
    Mutant(
        "a deletion goes before the file that it hides",
        REMOVAL,
        "        for path in older:\n            fs.unlink(path)\n",
        "",
        f"{OBJECT}/test_handoffs.py -k superseded",
    ),
    Mutant(
        "deletions are forgotten though a primary does not answer",
        REPLICATOR,
        "elif all(block.theirs[partition, peer] == ours.value for peer in peers):",
        "elif True:",
        f"{OBJECT}/test_handoffs.py -k old_deletions",
    ),
    Mutant(
        "data is pushed over its deletion",
        "objstore/object/files.py",
        "            return self.timestamp >= other.timestamp\n",
        "            return self.timestamp > other.timestamp + (1 << 40)\n",
        f"{OBJECT}/test_replicator.py -k 'covers or deletion'",
    ),
    Mutant(
        "the digest log is believed without a look at the directory",
        "objstore/object/digests.py",
        "(record.inode, record.mtime_ns) != state or ",
        "",
        f"{OBJECT}/test_replicator.py -k settled",
    ),
    Mutant(
        "a file of another object is pushed",
        REPLICATOR,
        "        if found.hash != place.hash:\n",
        "        if False:\n",
        f"{OBJECT}/test_replicator.py -k wrong_place",
    ),
    Mutant(
        "intents stay behind when objects move",
        REPLICATOR,
        "        return found.index[found.replicas.index(peer)] if peer in found.replicas else found.index[0]\n",
        "        return None\n",
        f"{OBJECT}/test_handoffs.py -k rows_follow",
    ),
    Mutant(
        "two replicas complete a third at once",
        "objstore/object/replication.py",
        "if holder != request.by and until > now:",
        "if False:",
        f"{OBJECT}/test_replicator.py -k one_device_completes",
    ),
    Mutant(
        "a damaged copy is set aside and not replaced",
        REPAIRS,
        "if len(self._tasks) < UNDER_WAY_MAX:",
        "if False:",
        f"{OBJECT}/test_replicator.py -k replaced_at_once",
    ),
    Mutant(
        "an older copy makes up for a lost one",
        "objstore/object/device.py",
        "NONE if known is None else known[0]",
        "NONE if known is None or files.alive else known[0]",
        f"{PROXY}/test_damaged.py -k one_good_copy",
    ),
    Mutant(
        "a lost deletion is not missed",
        "objstore/object/quarantine.py",
        "Lost(deletion=name.timestamp) if",
        "Lost() if",
        f"{PROXY}/test_damaged.py -k one_good_copy",
    ),
    Mutant(
        "the metadata of a POST is not missed",
        "objstore/object/quarantine.py",
        "        return Lost(meta=name.timestamp)\n",
        "        return Lost()\n",
        f"{PROXY}/test_damaged.py -k one_good_copy",
    ),
    Mutant(
        "one older copy proves that a lost version was never acknowledged",
        "objstore/model/quorum.py",
        " for order in orders) >= majority(replicas)",
        " for order in orders) >= 1",
        f"{PROXY}/test_damaged.py -k one_good_copy",
    ),
    Mutant(
        "a replica that lost something is taken to know nothing else",
        "objstore/object/device.py",
        "missed if missed == NONE else missed.with_(files.as_lost())",
        "missed",
        f"{PROXY}/test_random_losses.py -k 354",
    ),
    Mutant(
        "the newest metadata is not looked for beside older data",
        "objstore/proxy/reads.py",
        "            split = search.split()\n",
        "            split: list[int] = []\n",
        f"{PROXY}/test_damaged.py -k replica_missed",
    ),
    Mutant(
        "an object is not completed for the sake of a POST",
        "objstore/proxy/changes.py",
        "POST_ATTEMPTS_MAX = 3",
        "POST_ATTEMPTS_MAX = 1",
        f"{PROXY}/test_damaged.py -k cannot_change",
    ),
    Mutant(
        "a version that may be on its way is taken for one that nobody acknowledged",
        REPAIRS,
        "abs(age_s) > IN_FLIGHT_S and ",
        "",
        f"{PROXY}/test_damaged.py -k never_acknowledged",
    ),
    Mutant(
        "what left with its partition is missed when that comes back",
        REMOVAL,
        "                await device.leaving(directory)\n",
        "                pass\n",
        f"{OBJECT}/test_missed.py -k leaves_with_its_partition",
    ),
    Mutant(
        "a file that was superseded is restored",
        "objstore/object/quarantine.py",
        "        if record.superseded:\n",
        "        if False:\n",
        f"{OBJECT}/test_missed.py -k superseded",
    ),
    Mutant(
        "an object that cannot be judged hides those behind it",
        "objstore/proxy/cleaning.py",
        "                    unknown = unknown or error\n                    continue\n",
        "                    raise\n",
        "tests/unit/objstore/container/test_reviver.py -k hides_none",
    ),
    Mutant(
        "an object whose every copy is in quarantine is said to be missing",
        "objstore/proxy/reads.py",
        "        if search.only_damaged():\n",
        "        if False:\n",
        f"{PROXY}/test_damaged.py -k every_copy",
    ),
    Mutant(
        "what was damaged is missed again when its deletion is forgotten",
        REMOVAL,
        "                    await device.removing(place, files)\n",
        "",
        f"{OBJECT}/test_missed.py -k forgotten",
    ),
    # --- devices that come and go
    Mutant(
        "a device that was away for too long serves",
        LIFETIME,
        " or not self.uptime.missed(age_s):",
        " or True:",
        "tests/unit/objstore/app/test_lifetime.py",
    ),
    Mutant(
        "time counts while no other node is heard",
        UPTIME,
        "        self._base_s, self._running_since = self.age_s, None\n",
        "        return\n",
        "tests/unit/objstore/runtime/test_uptime.py",
    ),
    Mutant(
        "a clock that was ahead for a while forgets deletions",
        UPTIME,
        "        wall = min(wall - (age - then_s) for age, wall in self.samples[old_enough[-1] :])\n",
        "        wall = self.samples[old_enough[-1]][1]\n",
        "tests/unit/objstore/runtime/test_uptime.py",
    ),
    Mutant(
        "an unmounted device is written on",
        "objstore/runtime/committer.py",
        "if not self._fs.present():",
        "if False:",
        "tests/unit/objstore/app/test_devicewatch.py -k nothing_is_written",
    ),
    Mutant(
        "a database is written where its device was",
        "objstore/tables/device.py",
        "if self.disk.failed is None and not self.disk.fs.present():",
        "if False:",
        f"{TABLES}/test_unmounted.py",
    ),
    # --- rows
    Mutant(
        "a late row revives a container though its object was deleted",
        "objstore/proxy/cleaning.py",
        "                if lives:\n",
        "                if True:\n",
        "tests/unit/objstore/container/test_reviver.py -k 'believed or expired'",
    ),
    Mutant(
        "a revived container changes the policy of one made again",
        "objstore/formats/settings.py",
        "put_timestamp=settings.delete_timestamp + 1)",
        "put_timestamp=settings.delete_timestamp + 1, base_timestamp=settings.delete_timestamp)",
        "tests/unit/objstore/formats/test_settings.py -k revival",
    ),
    Mutant(
        "changes wait for a container server that failed",
        UPDATES,
        "        if down_until:\n            wait_s = 0.0\n",
        "        if down_until:\n",
        f"{OBJECT}/test_index_updates.py -k finds_out",
    ),
    Mutant(
        "a container replica whose object replica is away hears nothing",
        "objstore/proxy/writes.py",
        "                if not tally.listed:\n",
        "                if False:\n",
        f"{PROXY}/test_slow_peers.py -k majority",
    ),
    Mutant(
        "a peer that owes answers is asked on and on",
        "objstore/proxy/failures.py",
        "if not trouble.silent_since or now - trouble.silent_since < self._knobs.silence_max_s:",
        "if True:",
        f"{PROXY}/test_failures.py",
    ),
    # --- databases
    Mutant(
        "marks that cannot be true are believed",
        COMPARISON,
        "    return 0 if mark > seq else mark\n",
        "    return min(mark, seq)\n",
        f"{TABLES}/test_restored.py {TABLES}/test_comparison.py",
    ),
    Mutant(
        "digests that differ after everything was exchanged are ignored",
        COMPARISON,
        "        return Need(send=0, fetch=0, settings=settings, repeated=True)\n",
        "        return Need(settings=settings)\n",
        f"{TABLES}/test_restored.py",
    ),
    Mutant(
        "a database is removed though something came since",
        "objstore/tables/replacement.py",
        "if (now.id, now.seq, now.settings) != (then.id, then.seq, then.settings):",
        "if False:",
        f"{TABLES}/test_handoffs.py",
    ),
    Mutant(
        "rows are taken in and the mark is not",
        "objstore/tables/transfer.py",
        "                (state.id, state.seq),\n",
        "                (state.id, 0),\n",
        f"{TABLES}/test_replicator.py",
    ),
    # --- audits, expiry, reaping
    Mutant(
        "an object is deleted though only a minority of its container says so",
        "objstore/object/rowaudit.py",
        "if len(known) < majority(len(table.replicas)) or not all(known):",
        "if not any(known):",
        f"{OBJECT}/test_rowaudit.py",
    ),
    Mutant(
        "an object that lives on is deleted by its old expiry",
        "objstore/object/writer.py",
        "if request.expected_delete_at and before.alive and missed == NONE:",
        "if False:",
        f"{OBJECT}/test_conditional_deletes.py",
    ),
    Mutant(
        "a wrong clock deletes what has not expired",
        "objstore/container/expirer.py",
        "if not (self._jumps.steady() and self._clock_trusted()):",
        "if False:",
        "tests/unit/objstore/container/test_expirer.py -k clock",
    ),
    Mutant(
        "the reaper removes what an account made again holds",
        "objstore/account/reaper.py",
        "            old = [row for row in rows if max(row.timestamp, row.meta_timestamp) < account.at]\n",
        "            old = rows\n",
        "tests/unit/objstore/account/test_reaper.py -k 'made_again'",
    ),
)
