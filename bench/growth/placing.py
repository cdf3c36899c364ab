"""Costs against devices in the ring: a look-up, handoffs, loading the ring file. No cluster, and rings like a builder's, with about
a hundred partitions on every device, but made in seconds.
"""

import math
import os
import random
import tempfile
import time
from array import array
from collections.abc import Callable, Iterator
from itertools import count, islice

from bench.growth.curves import Curve
from objstore.model.names import ObjectName
from objstore.placement.places import Placement, Rings
from ring.device import Device
from ring.fileformat import HASH_BITS, RingTable
from ring.ring import Ring

REPLICAS = 3
PARTS_PER_DEVICE = 100
PER_NODE, ZONES = 10, 5
LOOKUPS = 20_000
LOADS = 3


def made_ring(devices: int) -> Ring:
    """Nodes of ten devices, five zones; replicas in different zones."""
    power = max(6, math.ceil(math.log2(devices * PARTS_PER_DEVICE / REPLICAS)))
    members = tuple(
        Device(
            n, 1, n // PER_NODE % ZONES, f"10.0.{n // PER_NODE // 250}.{n // PER_NODE % 250 + 1}", 6200, f"d{n % PER_NODE}", 100.0
        )
        for n in range(devices)
    )
    shift = max(1, devices // REPLICAS)
    first = random.Random(devices).choices(range(devices), k=1 << power)
    rows = tuple(array("H", [(id_ + replica * shift) % devices for id_ in first]) for replica in range(REPLICAS))
    return Ring(RingTable(members, rows, HASH_BITS - power, 1))


def cpu_of(work: Callable[[], object], times: int) -> float:
    """CPU µs of one."""
    before = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - before) / times * 1e6


def by_devices(sizes: list[int]) -> Curve:
    """All of it."""
    curve = Curve("growth-devices", "CPU time of placement by devices in the ring", "devices in the ring", "CPU µs")
    for size in sizes:
        ring = made_ring(size)
        numbers = count()
        placement = Placement(Rings(ring, ring, {0: ring}, b"", b"suffix"))

        def look_up(placement: Placement = placement, numbers: Iterator[int] = numbers) -> object:
            return placement.object(ObjectName("AUTH_test", "photos", f"object-{next(numbers)}"), 0)

        curve.add("look-up, partition not met before", size, cpu_of(look_up, min(LOOKUPS, ring.partition_count // 4)))
        for partition in range(ring.partition_count):
            placement.primaries(0, partition)
        curve.add("look-up, partition met before", size, cpu_of(look_up, LOOKUPS))
        parts = iter(range(ring.partition_count))
        curve.add("three handoffs", size, cpu_of(lambda parts=parts, ring=ring: list(islice(ring.handoffs(next(parts)), 3)), 60))
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "object.ring.gz")
            ring.save(path)
            curve.add("load of the ring file", size, cpu_of(lambda path=path: Ring.load(path), LOADS))
            kept = sum(len(row) * row.itemsize for row in ring.rows)
            curve.notes.append(
                f"{size:,} devices: 2^{ring.part_power} partitions, file {os.path.getsize(path) / 1024:,.0f} KiB, "
                f"{kept / 1024:,.0f} KiB of memory in each process"
            )
    return curve
