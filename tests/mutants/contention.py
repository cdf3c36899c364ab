"""What keeps clients from waiting for what is slow or superseded."""

from tests.mutants.mutant import Mutant

OBJECT = "tests/unit/objstore/object"
PROXY = "tests/unit/objstore/proxy"
TABLES = "tests/unit/objstore/tables"

CONTENTION = (
    Mutant(
        "an older version is left to a newer one that a promise came between",
        "objstore/object/writer.py",
        "                coming.keep(partial(is_newer, subject, before, missed))\n",
        "                pass\n",
        f"{OBJECT}/test_overtaking.py",
    ),
    Mutant(
        "versions that were left to one that failed are acknowledged",
        "objstore/object/overtaking.py",
        "        self._end(self._behind, self.stored)\n",
        "        self._end(self._behind, Stored(True, True))\n",
        f"{OBJECT}/test_overtaking.py",
    ),
    Mutant(
        "a reader takes a version that no majority holds",
        "objstore/model/quorum.py",
        "if order != self.newest and orders.count(order) >= self._wanted)",
        "if order != self.newest)",
        "tests/unit/objstore/model/test_quorum.py",
    ),
    Mutant(
        "background jobs do not wait for clients",
        "objstore/runtime/pacing.py",
        "        if self.served == self._seen and not self._turn.locked():\n",
        "        if True:\n",
        f"{OBJECT}/test_yielding.py",
    ),
    Mutant(
        "who comes while another job waits goes along with its turn",
        "objstore/runtime/pacing.py",
        "        if self.served == self._seen and not self._turn.locked():\n",
        "        if self.served == self._seen:\n",
        "tests/unit/objstore/runtime/test_pacing.py",
    ),
    Mutant(
        "replicators of databases do not wait for clients",
        "objstore/tables/replicator.py",
        "                await self._yielding.turn()\n",
        "",
        f"{TABLES}/test_yielding.py",
    ),
    Mutant(
        "auditors of databases do not wait for clients",
        "objstore/tables/auditor.py",
        "        await self._yielding.turn()\n",
        "",
        f"{TABLES}/test_yielding.py",
    ),
    Mutant(
        "a replica whose disk is slow is waited for",
        "objstore/proxy/nodes.py",
        "                self.nodes.failures.lagged(address)\n",
        "                pass\n",
        f"{PROXY}/test_slow_peers.py",
    ),
    Mutant(
        "a reader falls back to what is older than it saw at first",
        "objstore/proxy/reads.py",
        " is not None and settled >= floor:",
        " is not None:",
        f"{PROXY}/test_replaced.py",
    ),
    Mutant(
        "a reader goes on after what is replaced again and again",
        "objstore/proxy/reads.py",
        " is not None and settled >= floor:",
        " is not None and False:",
        f"{PROXY}/test_replaced.py",
    ),
    Mutant(
        "versions that keep coming keep all from being written",
        "objstore/object/overtaking.py",
        "max(heirs or self._among,",
        "max(self._among,",
        f"{OBJECT}/test_overtaking.py",
    ),
    Mutant(
        "a partition's digest is remembered although it changed",
        "objstore/object/partition.py",
        "        self.summary = None\n        at, found = self._find(hash_)\n        value",
        "        at, found = self._find(hash_)\n        value",
        f"{OBJECT}/test_holdings.py",
    ),
    Mutant(
        "a digest is remembered although a deletion has become forgettable",
        "objstore/object/digests.py",
        "self.horizon <= horizon and not 0 < self.digest.oldest_tombstone < horizon",
        "self.horizon <= horizon",
        f"{OBJECT}/test_holdings.py",
    ),
    Mutant(
        "digests of many objects are one piece of work",
        "objstore/object/holdings.py",
        "                looked_at = 0\n                await asyncio.sleep(0)\n",
        "                looked_at = 0\n",
        f"{OBJECT}/test_holdings.py",
    ),
)
