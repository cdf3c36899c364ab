"""Mutants that do everything right, with more work than it takes."""

from tests.mutants.mutant import Mutant

COUNTED = "tests/cluster/test_counted_work.py -k budget"

WORK = (
    Mutant(
        "every request looks at the clock twenty times more",
        "objstore/api/edge.py",
        "        started = self._clock.monotonic()\n        request.txn",
        "        started = [self._clock.monotonic() for _ in range(21)][0]\n        request.txn",
        COUNTED,
    ),
    Mutant(
        "a row takes seven calls more beside each object",
        "objstore/container/server.py",
        "        device = self.service.devices.get(index.device)\n",
        "        for _ in range(8):\n            device = self.service.devices.get(index.device)\n",
        COUNTED,
    ),
    Mutant(
        "a row of a list takes one call more",
        "objstore/api/swift/listings.py",
        "        if isinstance(row, Subdir):\n",
        "        if isinstance(row, Subdir) or not callable(type(row)):\n",
        COUNTED,
    ),
    Mutant(
        "the journal is synced twice",
        "objstore/runtime/journal.py",
        "            self._current().file.sync()\n            return self._number - 1\n",
        "            self._current().file.sync()\n            self._current().file.sync()\n            return self._number - 1\n",
        COUNTED,
    ),
)
