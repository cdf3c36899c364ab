"""What a device holds of one partition, by object: a mapping that takes a tenth of a dict's memory."""

import struct
from array import array
from bisect import bisect_left
from collections.abc import ItemsView, Iterator, Mapping, MutableMapping

from objstore.object.files import NOTHING, Files

_HASH = struct.Struct(">QQ")
_unpack = _HASH.unpack
_new = tuple.__new__  # half the price of calling Files
_VALUE_MAX = (1 << 64) - 1


class CompactPartition(MutableMapping[bytes, Files]):
    """Sorted arrays, 24 bytes for each object: the two halves of its hash, and timestamp and kind of its newest file. What does not
    fit into that, such as objects with metadata of a POST, is kept beside them.
    """

    __slots__ = ("_highs", "_lows", "_odd", "_values", "summary")

    def __init__(self, entries: Mapping[bytes, Files]) -> None:
        self.summary: object = None
        """What somebody made of all of it; None again once anything changes."""
        self._highs: array[int] = array("Q")
        self._lows: array[int] = array("Q")
        self._values: array[int] = array("Q")
        self._odd: dict[bytes, Files] = {}
        """Those whose value is 0."""
        for hash_ in sorted(entries):
            high, low = _unpack(hash_)
            self._highs.append(high)
            self._lows.append(low)
            self._values.append(self._value_of(hash_, entries[hash_]))

    def _value_of(self, hash_: bytes, files: Files) -> int:
        value = files.timestamp << 1 | files.deleted
        if files.meta or not files.timestamp or value > _VALUE_MAX:
            self._odd[hash_] = files
            return 0
        if self._odd:
            self._odd.pop(hash_, None)
        return value

    def _find(self, hash_: bytes) -> tuple[int, bool]:
        """Where it is, or belongs; whether it is there."""
        high, low = _unpack(hash_)
        highs = self._highs
        at = bisect_left(highs, high)
        while at < len(highs) and highs[at] == high:
            if self._lows[at] >= low:
                return at, self._lows[at] == low
            at += 1
        return at, False

    def _at(self, at: int, hash_: bytes) -> Files:
        value = self._values[at]
        return Files(value >> 1, value & 1 == 1) if value else self._odd[hash_]

    def files(self, hash_: bytes) -> Files:
        """NOTHING for an object that is not here. Asked for with every request, so it does without a second look mostly."""
        high, low = _unpack(hash_)
        highs = self._highs
        at = bisect_left(highs, high)
        if at < len(highs) and highs[at] == high and self._lows[at] == low:
            value = self._values[at]
            return _new(Files, (value >> 1, value & 1 == 1, 0)) if value else self._odd[hash_]
        at, found = self._find(hash_)
        return self._at(at, hash_) if found else NOTHING

    def put(self, hash_: bytes, files: Files) -> int:
        """Set what an object has, NOTHING to forget it; returns by how many objects this has grown."""
        if files == NOTHING:
            return -1 if self.pop(hash_, None) is not None else 0
        self.summary = None
        at, found = self._find(hash_)
        value = self._value_of(hash_, files)
        if found:
            self._values[at] = value
            return 0
        high, low = _unpack(hash_)
        self._highs.insert(at, high)
        self._lows.insert(at, low)
        self._values.insert(at, value)
        return 1

    def __getitem__(self, hash_: bytes) -> Files:
        at, found = self._find(hash_)
        if not found:
            raise KeyError(hash_)
        return self._at(at, hash_)

    def __contains__(self, hash_: object) -> bool:
        return isinstance(hash_, bytes) and self._find(hash_)[1]

    def __setitem__(self, hash_: bytes, files: Files) -> None:
        self.put(hash_, files)

    def __delitem__(self, hash_: bytes) -> None:
        at, found = self._find(hash_)
        if not found:
            raise KeyError(hash_)
        self.summary = None
        self._odd.pop(hash_, None)
        del self._highs[at], self._lows[at], self._values[at]

    def __iter__(self) -> Iterator[bytes]:
        return iter([_HASH.pack(high, low) for high, low in zip(self._highs, self._lows, strict=True)])

    def items(self) -> ItemsView[bytes, Files]:
        """As Mapping, without looking each up."""
        return _Items(self)

    def pairs(self) -> Iterator[tuple[bytes, Files]]:
        """All, in order of their hashes."""
        for high, low, value in zip(self._highs, self._lows, self._values, strict=True):
            hash_ = _HASH.pack(high, low)
            yield hash_, Files(value >> 1, value & 1 == 1) if value else self._odd[hash_]

    def __len__(self) -> int:
        return len(self._highs)


class _Items(ItemsView[bytes, Files]):
    def __init__(self, partition: CompactPartition) -> None:
        super().__init__(partition)
        self._partition = partition

    def __iter__(self) -> Iterator[tuple[bytes, Files]]:
        return self._partition.pairs()
