"""What an operator changes: devices, weights, replicas. `rebalance` turns it into placement, `to_ring` into a ring.

Pure: the caller gives the time and the seed, and stores the builder with `ring.builderfile`.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil, floor, isfinite
from typing import TypedDict, Unpack

from ring.device import Device, checked
from ring.fileformat import DEVICES_MAX, HASH_BITS, NO_DEVICE, REPLICAS_MAX, ROW_TYPECODE, RingTable
from ring.placement import Dice, Placement
from ring.ring import Ring
from ring.targets import quotas, targets
from ring.topology import Topology

HOUR_S = 3600
TIME_TYPECODE = "I"


class BuilderError(Exception):
    """A change that the builder refuses, or a rebalance that cannot be. The message is one plain line."""


class DeviceChange(TypedDict, total=False):
    """The fields of a device that can be changed later."""

    region: int
    zone: int
    ip: str
    port: int
    device: str
    weight: float
    meta: str
    replication_ip: str
    replication_port: int


@dataclass(frozen=True, slots=True)
class Rebalanced:
    """What one rebalance did: `assigned` counts every replica of a partition that got a device or another device."""

    assigned: int
    moved: int
    removed_devices: int


class RingBuilder:
    """A ring in the making: 2**part_power partitions, `replicas` (may be fractional) of each.

    A partition of which a replica moved is left alone for `min_part_hours`. `version` rises with every change that a ring file
    would show. `devices` is indexed by device id, None where a device was removed; `removed` are the ids that the next rebalance
    takes away; `changed` says that it has something to do. `rows` is empty before the first rebalance; after it, per replica,
    the device id by partition.
    `moved_at_s[partition]` is when a replica of it last moved, in seconds of Unix time, 0 for never.
    """

    def __init__(self, part_power: int, replicas: float, min_part_hours: int) -> None:
        if not 0 <= part_power <= HASH_BITS:
            raise BuilderError(f"part_power must be from 0 to {HASH_BITS} (was {part_power})")
        self.part_power = part_power
        self.replicas = _checked_replicas(replicas)
        self.min_part_hours = _checked_hours(min_part_hours)
        self.overload = 0.0
        self.version = 0
        self.devices: list[Device | None] = []
        self.removed: set[int] = set()
        self.changed = False
        self.rows: list[array[int]] = []
        self.moved_at_s: array[int] = array(TIME_TYPECODE)
        self.rebalanced_at_s = 0

    @classmethod
    def from_ring(cls, ring: Ring, min_part_hours: int) -> RingBuilder:
        """A builder that goes on from a ring file. What a ring file does not tell, such as overload, is as in a new builder."""
        builder = cls(ring.part_power, ring.replica_count, min_part_hours)
        builder.devices = list(ring.devices)
        builder.rows = [array(ROW_TYPECODE, row) for row in ring.rows]
        builder.moved_at_s = array(TIME_TYPECODE, bytes(4 * ring.partition_count))
        builder.version = ring.version or 0
        return builder

    @property
    def partition_count(self) -> int:
        return 1 << self.part_power

    @property
    def slot_count(self) -> int:
        """Replicas of partitions in all: partition_count * replicas, a fraction rounded down."""
        return floor(self.partition_count * self.replicas + 1e-6)

    def present_devices(self) -> Iterator[Device]:
        """The devices by id, those to be removed included."""
        return (device for device in self.devices if device is not None)

    # Changes

    def add_device(
        self,
        *,
        zone: int,
        ip: str,
        port: int,
        device: str,
        weight: float,
        region: int = 1,
        meta: str = "",
        replication_ip: str = "",
        replication_port: int = 0,
    ) -> Device:
        """Add a device under the lowest free id. It gets partitions at the next rebalance. Raises BuilderError, DeviceError."""
        id_ = self.devices.index(None) if None in self.devices else len(self.devices)
        if id_ >= DEVICES_MAX:
            raise BuilderError(f"a ring has at most {DEVICES_MAX} devices")
        new = checked(Device(id_, region, zone, ip, port, device, float(weight), meta, replication_ip, replication_port))
        self._refuse_twin(new)
        if id_ == len(self.devices):
            self.devices.append(None)
        self.devices[id_] = new
        self.changed = True
        self.version += 1
        return new

    def change_device(self, device_id: int, **changes: Unpack[DeviceChange]) -> Device:
        """Change fields of a device. Weight, region and zone move partitions at the next rebalance, the rest moves nothing.

        Raises BuilderError when there is no such device or its place is taken, DeviceError for a value out of range.
        """
        new = checked(replace(self._device(device_id), **changes))
        if device_id in self.removed and new.weight:
            raise BuilderError(f"device {device_id} is marked for removal, so its weight stays 0")
        self._refuse_twin(new)
        self.devices[device_id] = new
        self.changed |= not {"weight", "region", "zone", "ip"}.isdisjoint(changes)
        self.version += 1
        return new

    def remove_device(self, device_id: int) -> Device:
        """Mark a device for removal: the next rebalance gives all its partitions to others at once, then forgets it."""
        device = replace(self._device(device_id), weight=0.0)
        self.devices[device_id] = device
        self.removed.add(device_id)
        self.changed = True
        self.version += 1
        return device

    def set_replicas(self, replicas: float) -> None:
        """Takes effect at the next rebalance. Raises BuilderError."""
        self.replicas = _checked_replicas(replicas)
        self.changed = True

    def set_overload(self, overload: float) -> None:
        """How far above its share by weight a device may go for the sake of dispersion: 0.1 is 10 %. Raises BuilderError."""
        if not isfinite(overload) or overload < 0:
            raise BuilderError("overload must be a number, 0 or more")
        self.overload = overload
        self.changed = True

    def set_min_part_hours(self, hours: int) -> None:
        """Raises BuilderError."""
        self.min_part_hours = _checked_hours(hours)

    def pretend_min_part_hours_passed(self) -> None:
        """Let every partition move again at once. Dangerous before replication has caught up with the last rebalance."""
        self.moved_at_s = array(TIME_TYPECODE, bytes(4 * len(self.moved_at_s)))
        self.rebalanced_at_s = 0

    def wait_s(self, now_s: float) -> int:
        """Seconds until a rebalance may move what the last one moved."""
        return max(0, ceil(self.rebalanced_at_s + self.min_part_hours * HOUR_S - now_s)) if self.rebalanced_at_s else 0

    # Placement

    def rebalance(self, seed: int | None = None, now_s: float = 0.0) -> Rebalanced:
        """Assign every replica of every partition to a device that should have it.

        At most one replica of a partition moves, and none of those moved less than min_part_hours before `now_s` (Unix time);
        replicas of removed devices move in any case. The result depends on the builder and the seed alone; without a seed it is
        the version. Raises BuilderError, with nothing changed, when there are fewer devices with weight than replicas.
        """
        stay = [device for device in self.present_devices() if device.id not in self.removed]
        weighted = sum(1 for device in stay if device.weight)
        if weighted < self.replicas:
            raise BuilderError(
                f"{self.replicas:g} replicas need at least {ceil(self.replicas)} devices with weight, and there are {weighted}"
            )
        old_rows, rows = self._cleared_rows()
        topology = Topology(stay)
        replicas = sum(map(len, rows)) / self.partition_count
        aim = targets(topology, stay, replicas, self.overload)
        loads = _loads(topology, rows)
        wanted = quotas(topology, aim.amounts, self.partition_count, sum(map(len, rows)), loads)
        locked = self._locked(rows, now_s)
        Placement(topology, aim, wanted, rows, locked, Dice(self.version if seed is None else seed)).run()
        return self._accept(old_rows, rows, now_s)

    def to_ring(self) -> Ring:
        """The ring of the last rebalance with the devices of now. Raises BuilderError before the first rebalance."""
        if not self.rows:
            raise BuilderError("no partition is assigned yet; rebalance first")
        part_shift = HASH_BITS - self.part_power
        return Ring(RingTable(tuple(self.devices), tuple(array(ROW_TYPECODE, row) for row in self.rows), part_shift, self.version))

    def check(self) -> None:
        """Raises BuilderError with the first fault: a partition without device, twice on a device, or on one that is unknown."""
        if not self.rows:
            raise BuilderError("no partition is assigned yet; rebalance first")
        for partition in range(self.partition_count):
            ids = [row[partition] for row in self.rows if partition < len(row)]
            if any(id_ >= len(self.devices) or self.devices[id_] is None for id_ in ids):
                raise BuilderError(f"partition {partition} is assigned to a device that does not exist")
            if len(set(ids)) != len(ids):
                raise BuilderError(f"partition {partition} is assigned twice to one device")

    # Inside

    def _device(self, device_id: int) -> Device:
        device = self.devices[device_id] if 0 <= device_id < len(self.devices) else None
        if device is None:
            raise BuilderError(f"there is no device {device_id}")
        return device

    def _refuse_twin(self, new: Device) -> None:
        place = (new.ip, new.port, new.device)
        for device in self.present_devices():
            if device.id != new.id and device.id not in self.removed and (device.ip, device.port, device.device) == place:
                raise BuilderError(f"device {device.id} already uses {new.ip}:{new.port}/{new.device}")

    def _cleared_rows(self) -> tuple[list[array[int]], list[array[int]]]:
        """The rows as they are, and a copy of the shape that the replica count asks for, without removed devices."""
        full, rest = divmod(self.slot_count, self.partition_count)
        lengths = [self.partition_count] * full + ([rest] if rest else [])
        rows = []
        for replica, length in enumerate(lengths):
            old = self.rows[replica][:length] if replica < len(self.rows) else array(ROW_TYPECODE)
            kept = [NO_DEVICE if id_ in self.removed else id_ for id_ in old] if self.removed else old
            rows.append(array(ROW_TYPECODE, kept) + array(ROW_TYPECODE, [NO_DEVICE]) * (length - len(old)))
        return self.rows, rows

    def _locked(self, rows: list[array[int]], now_s: float) -> bytearray:
        """1 for each partition that may not move: moved lately, or about to get a replica that has yet to be copied."""
        locked = bytearray(self.partition_count)
        since_s = now_s - self.min_part_hours * HOUR_S
        for partition, moved_at_s in enumerate(self.moved_at_s):
            if moved_at_s and moved_at_s > since_s:
                locked[partition] = 1
        for row in rows:
            for partition, device_id in enumerate(row):
                if device_id == NO_DEVICE:
                    locked[partition] = 1
        return locked

    def _accept(self, old_rows: list[array[int]], rows: list[array[int]], now_s: float) -> Rebalanced:
        if not self.moved_at_s:
            self.moved_at_s = array(TIME_TYPECODE, bytes(4 * self.partition_count))
        assigned = moved = 0
        for replica, row in enumerate(rows):
            old = old_rows[replica] if replica < len(old_rows) else array(ROW_TYPECODE)
            for partition, device_id in enumerate(row):
                if partition >= len(old):
                    assigned += 1
                elif device_id != old[partition]:
                    assigned += 1
                    moved += 1
                else:
                    continue
                self.moved_at_s[partition] = int(now_s)
        changed = assigned or self.removed or list(map(len, rows)) != list(map(len, old_rows))
        removed_devices = len(self.removed)
        for device_id in self.removed:
            self.devices[device_id] = None
        self.removed = set()
        self.changed = False
        self.rows = rows
        self.rebalanced_at_s = int(now_s) if assigned else self.rebalanced_at_s
        self.version += 1 if changed else 0
        return Rebalanced(assigned, moved, removed_devices)


def _loads(topology: Topology, rows: list[array[int]]) -> list[int]:
    loads = dict.fromkeys(topology.paths, 0.0)
    for row in rows:
        for device_id in loads:
            loads[device_id] += row.count(device_id)
    return [round(load) for load in topology.sums(loads)]


def _checked_replicas(replicas: float) -> float:
    if not isfinite(replicas) or not 1 <= replicas <= REPLICAS_MAX:
        raise BuilderError(f"the replica count must be from 1 to {REPLICAS_MAX} (was {replicas:g})")
    return float(replicas)


def _checked_hours(hours: int) -> int:
    if hours < 0:
        raise BuilderError(f"min_part_hours must be 0 or more (was {hours})")
    return hours
