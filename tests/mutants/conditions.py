"""Mutants of what makes changes under conditions linearizable."""

from tests.mutants.mutant import Mutant

PROPOSALS = "objstore/proxy/proposals.py"
WRITER = "objstore/object/writer.py"
SUBJECT = "objstore/object/subject.py"
PUSH = "objstore/object/push.py"
PROMISES = "objstore/object/promises.py"
OBJECT = "tests/unit/objstore/object/test_promises.py"
PROXY = "tests/unit/objstore/proxy/test_proposals.py"

CONDITIONS = (
    Mutant(
        "changes below a promise are taken",
        SUBJECT,
        "    if timestamp >= ballot:\n        return\n",
        "    return\n",
        f"{OBJECT} -k below_a_promise",
    ),
    Mutant(
        "copies below a promise are taken",
        SUBJECT,
        "    if not subject.settled and timestamp not in missed:\n",
        "    if False:\n",
        f"{PROXY} -k no_majority_has",
    ),
    Mutant(
        "promises are forgotten by a restart",
        "objstore/object/device.py",
        "            await self.disk.run(self.promises.load)\n",
        "",
        f"{OBJECT} -k restart",
    ),
    Mutant(
        "a promise at a timestamp that is older than another one is given",
        WRITER,
        "newest = max(before.newest, device.promises.get(place))",
        "newest = before.newest",
        f"{OBJECT} -k no_promise_below",
    ),
    Mutant(
        "one promise is enough",
        PROPOSALS,
        "return ballot.spoke >= majority(count) or",
        "return ballot.spoke >= 1 or",
        f"{PROXY} -k does_not_decide",
    ),
    Mutant(
        "an empty disk has a say",
        PROPOSALS,
        "ballot.spoke += outcome.member",
        "ballot.spoke += 1",
        f"{PROXY} -k empty_disk",
    ),
    Mutant(
        "a device keeps its say when the ring gives it other companions",
        "objstore/object/membership.py",
        "return self._known.get((policy, partition)) == members",
        "return (policy, partition) in self._known",
        f"{PROXY} -k ends_with_the_ring",
    ),
    Mutant(
        "a writer with another ring is given promises",
        WRITER,
        "        if members and members != self._members(target.policy, target.partition):\n",
        "        if False:\n",
        f"{OBJECT} -k other_primaries",
    ),
    Mutant(
        "somebody is refused for what could vanish",
        PROPOSALS,
        "if newest is None or len(ballot.holders) >= needed:",
        "if True:",
        f"{PROXY} -k could_vanish",
    ),
    Mutant(
        "a writer does not know again what another one brought further",
        PROPOSALS,
        "newest.timestamp in self._mine or newest.origin in self._mine",
        "newest.timestamp in self._mine",
        f"{PROXY} -k brought_further",
    ),
    Mutant(
        "a writer is refused although its change was made and then replaced",
        PROPOSALS,
        "if newest.deleted or newest.system.get(BASE) != str(self._base):",
        "if False:",
        f"{PROXY} -k replaced_meanwhile",
    ),
    Mutant(
        "a change under conditions is made twice",
        PROPOSALS,
        "        self._require_not_made(ballot)\n",
        "",
        f"{PROXY} -k made_twice",
    ),
    Mutant(
        "something newer at the source counts as the version that was to be brought to others",
        PUSH,
        "            if push.expected not in (None, files.order) and files.order != (push.restamp, push.restamp):\n",
        "            if False:\n",
        f"{PROXY} -k came_after",
    ),
    Mutant(
        "something newer at the target counts as the version that was to be brought there",
        PUSH,
        "if push.expected is not None or error.code is not Code.NEWER_EXISTS:\n                raise\n\n\n",
        "if error.code is not Code.NEWER_EXISTS:\n                raise\n\n\n",
        f"{PROXY} -k came_after",
    ),
    Mutant(
        "plain writes do not go above a promise",
        "objstore/proxy/writes.py",
        "            after = tally.quorum.newer\n",
        "            after = 0\n",
        f"{PROXY} -k runs_ahead",
    ),
    Mutant(
        "readers do not settle what a promise stands against",
        "objstore/proxy/reads.py",
        "        if not spread.promised or self._settle is None:\n",
        "        if True:\n",
        f"{PROXY} -k never_came",
    ),
    Mutant(
        "replicators do not bring what a majority has past a promise",
        "objstore/object/replicator.py",
        "if error.code is not Code.PROMISED or not await",
        "if True or not await",
        f"{PROXY} -k never_came",
    ),
    Mutant(
        "a promise is kept for ever by a writer that gave up",
        PROPOSALS,
        "            self.give_back(place, ballot, txn)\n            return newest.timestamp",
        "            return newest.timestamp",
        f"{PROXY} -k 'creators and not hung and not down'",
    ),
)
