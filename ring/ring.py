"""A loaded ring: for a partition, its primary devices and, behind them, its handoffs. Never changes after loading."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Hashable, Iterator, Sequence
from itertools import chain

from ring.device import Device
from ring.fileformat import HASH_BITS, RingFileError, RingTable, read_bytes, ring_from_bytes, write_ring_file

__all__ = ["Ring", "RingFileError"]

_WALK_STEPS = 65536
"""Swift walks at most about this many partitions for handoffs; in a larger ring it takes larger steps."""


class Ring:
    """Which devices hold which partition.

    `devices` is indexed by device id, with None where a device was removed. `replica_count` is fractional when the last row
    covers only some of the partitions. `version` is that of the builder; a higher one is newer.
    """

    __slots__ = ("_domains", "_table", "devices", "part_power", "part_shift", "partition_count", "replica_count", "version")

    def __init__(self, table: RingTable) -> None:
        self._table = table
        self.devices: tuple[Device | None, ...] = table.devices
        self.part_shift = table.part_shift
        self.part_power = HASH_BITS - table.part_shift
        self.partition_count = 1 << self.part_power
        self.replica_count = sum(map(len, table.rows)) / self.partition_count
        self.version = table.version
        self._domains = _failure_domains(table)

    @classmethod
    def load(cls, path: str) -> Ring:
        """The ring of a file. Raises RingFileError, one plain line, for a file that is missing, cut, damaged or no ring."""
        return cls.from_bytes(read_bytes(path), path)

    @classmethod
    def from_bytes(cls, content: bytes, path: str) -> Ring:
        """The ring of what a file holds, read by the caller: `path` is for the message. Raises RingFileError."""
        return cls(ring_from_bytes(content, path))

    def save(self, path: str, backup_at_s: float | None = None) -> None:
        """Write the ring as a version 1 file, atomically and durably; with a time, a backup too. Raises RingFileError."""
        write_ring_file(path, self._table, backup_at_s)

    @property
    def table(self) -> RingTable:
        """What the ring file holds. Not to be changed."""
        return self._table

    @property
    def rows(self) -> Sequence[array[int]]:
        """Per replica, the device id of each partition; the last row may be shorter. Not to be changed."""
        return self._table.rows

    def primaries(self, partition: int) -> tuple[Device, ...]:
        """The distinct devices of a partition, in replica order. Raises IndexError for a partition that is not in the ring."""
        if not 0 <= partition < self.partition_count:
            raise IndexError(f"partition {partition} is not in a ring of {self.partition_count}")
        ids = dict.fromkeys(row[partition] for row in self._table.rows if partition < len(row))
        return tuple(device for id_ in ids if (device := self.devices[id_]) is not None)

    def handoffs(self, partition: int) -> Iterator[Device]:
        """All other devices that hold partitions, in the order in which OpenStack Swift would try them.

        The ring is walked from a place that the md5 of the partition's decimal number gives: first for devices in regions
        not seen yet, then again for unseen zones, for unseen addresses, and for unseen devices.
        """
        rows = self._table.rows
        primaries = self.primaries(partition)
        walk = _walk(partition, self.partition_count, self.part_shift)
        seen = [{domains[device.id] for device in primaries} for domains, _ in self._domains]
        for level, (domains, domain_count) in enumerate(self._domains):
            unseen = seen[level]
            if len(unseen) == domain_count:
                continue
            for place in chain.from_iterable(walk):
                for row in rows:
                    if place >= len(row) or domains[row[place]] in unseen:
                        continue
                    id_ = row[place]
                    for seen_there, (domains_there, _) in zip(seen, self._domains, strict=True):
                        seen_there.add(domains_there[id_])
                    device = self.devices[id_]
                    assert device is not None
                    yield device
                if len(unseen) == domain_count:
                    break


def _walk(partition: int, partition_count: int, part_shift: int) -> tuple[range, range]:
    """The partitions to look at, in order. As in Swift, the part after the wrap starts at the step's phase, not at zero."""
    digest = hashlib.md5(str(partition).encode("ascii"), usedforsecurity=False).digest()
    start = int.from_bytes(digest[:4], "big") >> part_shift
    step = partition_count // _WALK_STEPS or 1
    wrapped = step - (partition_count - start) % step
    return range(start, partition_count, step), range(wrapped, start, step)


def _failure_domains(table: RingTable) -> tuple[tuple[list[Hashable], int], ...]:
    """Per level, widest first: each device's failure domain by device id, and how many domains hold partitions."""
    assigned = set().union(*table.rows)
    regions: list[Hashable] = []
    zones: list[Hashable] = []
    addresses: list[Hashable] = []
    for device in table.devices:
        regions.append(device and device.region)
        zones.append(device and (device.region, device.zone))
        addresses.append(device and (device.region, device.zone, device.ip))
    levels: tuple[list[Hashable], ...] = (regions, zones, addresses, list(range(len(table.devices))))
    return tuple((domains, len({domains[id_] for id_ in assigned})) for domains in levels)
