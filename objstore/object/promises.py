"""What a device promised to writers under conditions: to take no older change of an object than the one that is announced.

A promise is an empty file whose name says all, so that it outlives a restart; it goes when its object is changed at that time or
later, or when the writer gives it back. An object may have several: a later one that is given back leaves those before it, whose
writers still rely on them. Why promises exist: docs/consistency.md.
"""

import logging
from collections.abc import Callable, Sequence

from objstore.formats.filenames import HASH_BYTES
from objstore.model.timestamps import from_text, to_text
from objstore.object.files import Place, place_of
from objstore.runtime.interface import Change, Disk

logger = logging.getLogger("objstore.object")

DIRECTORY = "promises"


class Promises:
    """Of one device. Used in the event loop alone; whoever changes one holds the object's lock."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._promised: dict[Place, tuple[int, ...]] = {}
        """In ascending order, none empty."""

    def __len__(self) -> int:
        return sum(map(len, self._promised.values()))

    def load(self) -> None:
        """Read what earlier processes promised. Blocking; raises OSError."""
        fs = self._disk.fs
        for name in fs.list_directory(DIRECTORY):
            try:
                place, ballot = parse_promise(name)
            except ValueError:
                logger.warning("unknown name among promises", extra={"path": f"{DIRECTORY}/{name}"})
                continue
            self._promised[place] = tuple(sorted({*self._promised.get(place, ()), ballot}))

    def get(self, place: Place) -> int:
        """The timestamp below which no change of the object is taken; 0 for none."""
        return self._promised[place][-1] if self._promised and place in self._promised else 0

    async def make(self, place: Place, ballot: int) -> None:
        """`ballot` is later than all before. Durable when it returns. When it fails, the promise may or may not outlive this
        process. Raises NodeError.
        """
        self._promised[place] = (*self._promised.get(place, ()), ballot)
        await self._disk.commit(Change(promise_path(place, ballot), b"", urgent=True))

    def superseded(self, place: Place, timestamp: int) -> list[str]:
        """The files to remove once the object was changed at `timestamp`."""
        return [promise_path(place, ballot) for ballot in self._promised.get(place, ()) if ballot <= timestamp]

    def changed(self, place: Place, timestamp: int) -> None:
        """The object was changed at `timestamp`: promises of that time and before are kept."""
        if place in self._promised:
            self._keep(place, [ballot for ballot in self._promised[place] if ballot > timestamp])

    async def give_back(self, place: Place, ballot: int) -> None:
        """Forget a promise, if it still stands; others of the object stay. Raises OSError."""
        if ballot in self._promised.get(place, ()):
            await self._disk.run(lambda: self._disk.fs.unlink(promise_path(place, ballot)))
            self._keep(place, [one for one in self._promised.get(place, ()) if one != ballot])

    def _keep(self, place: Place, ballots: Sequence[int]) -> None:
        if ballots:
            self._promised[place] = tuple(ballots)
        else:
            self._promised.pop(place, None)

    async def forget(self, unneeded: Callable[[Place, int], bool]) -> int:
        """Give back all promises for which `unneeded(place, ballot)`; returns how many. Raises OSError."""
        found = [(place, one) for place, ballots in self._promised.items() for one in ballots if unneeded(place, one)]
        for place, ballot in found:
            await self.give_back(place, ballot)
        return len(found)


def promise_path(place: Place, ballot: int) -> str:
    """`promises/<objects directory>,<partition>,<hash>,<timestamp>`."""
    return f"{DIRECTORY}/{place.directory.replace('/', ',')},{place.hash.hex()},{to_text(ballot)}"


def parse_promise(name: str) -> tuple[Place, int]:
    """The inverse, of the last part. Raises ValueError for any other name."""
    try:
        top, partition, hex_hash, text = name.split(",")
        policy = int(top.removeprefix("objects").removeprefix("-") or "0")
        place, ballot = place_of(policy, int(partition), bytes.fromhex(hex_hash)), int(from_text(text))
    except ValueError:
        raise ValueError(f"not a promise: {name!r}") from None
    if promise_path(place, ballot) != f"{DIRECTORY}/{name}" or len(place.hash) != HASH_BYTES:
        raise ValueError(f"not a promise: {name!r}")
    return place, ballot
