"""Placement where the straight way is barred: chains, cycles, locks, and rows that start out crowded."""

from __future__ import annotations

from array import array

from ring.device import Device
from ring.placement import Dice, Placement
from ring.targets import quotas, targets
from ring.topology import Topology


def device(id_: int, zone: int, weight: float = 100.0) -> Device:
    return Device(id_, 1, zone, f"10.0.0.{id_}", 6200, f"d{id_}", weight)


def run(devices: list[Device], rows: list[list[int]], locked: list[int] | None = None) -> list[list[int]]:
    count = len(rows[0])
    replicas = sum(map(len, rows)) / count
    topology = Topology(devices)
    aim = targets(topology, devices, replicas, 0.0)
    arrays = [array("H", row) for row in rows]
    held = {one.id: float(sum(row.count(one.id) for row in rows)) for one in devices}
    wanted = quotas(topology, aim.amounts, count, sum(map(len, rows)), [round(load) for load in topology.sums(held)])
    lock = bytearray(1 if partition in (locked or []) else 0 for partition in range(count))
    Placement(topology, aim, wanted, arrays, lock, Dice(1)).run()
    return [list(row) for row in arrays]


def moves(before: list[list[int]], after: list[list[int]]) -> list[tuple[int, int, int]]:
    """(partition, from, to)"""
    return [
        (p, old, new)
        for a, b in zip(before, after, strict=True)
        for p, (old, new) in enumerate(zip(a, b, strict=True))
        if old != new
    ]


def test_dice_are_the_same_everywhere() -> None:
    dice = Dice(7)
    assert [dice.below(1000) for _ in range(5)] == [874, 99, 842, 129, 389]
    assert sorted(dice.shuffled(50)) == list(range(50)) != dice.shuffled(50)


def test_what_is_on_target_stays() -> None:
    rows = [[0, 1, 2, 0, 1, 2], [1, 2, 0, 1, 2, 0]]
    assert run([device(i, i) for i in range(3)], rows) == rows


def test_two_crowded_partitions_trade_their_replicas() -> None:
    """All devices hold their quota, so only a cycle helps: what leaves zone 0 for zone 1 must come back from another partition."""
    rows = [[0, 2], [1, 3]]
    after = run([device(0, 0), device(1, 0), device(2, 1), device(3, 1)], rows)
    assert [{id_ // 2 for id_ in ids} for ids in zip(*after, strict=True)] == [{0, 1}, {0, 1}]
    assert len(moves(rows, after)) == 2


def test_a_chain_passes_through_a_full_device() -> None:
    """Device 0 has one partition too many; device 3 lacks one but already has all that 0 holds, so 1 or 2 passes one on."""
    rows = [[0, 0, 0, 1, 1, 2], [3, 3, 1, 2, 2, 1], [2, 1, 2, 3, 0, 0]]
    after = run([device(i, i) for i in range(4)], rows)
    held = [sum(row.count(i) for row in after) for i in range(4)]
    assert max(held) - min(held) <= 1
    assert all(len(set(ids)) == 3 for ids in zip(*after, strict=True))
    changed = [p for p, _, _ in moves(rows, after)]
    assert len(changed) == len(set(changed))


def test_locked_partitions_stay() -> None:
    rows = [[0] * 8, [1] * 8]
    devices = [device(i, i) for i in range(4)]
    after = run(devices, rows, locked=list(range(6)))
    assert {p for p, _, _ in moves(rows, after)} <= {6, 7}
    assert len(moves(rows, after)) == 2


def test_only_one_replica_of_a_crowded_partition_moves_at_a_time() -> None:
    devices = [device(0, 0), device(1, 0), device(2, 0), device(3, 1, 300.0), device(4, 2, 300.0)]
    rows = [[0, 1], [1, 2], [2, 0]]
    after = run(devices, rows)
    assert sorted(p for p, _, _ in moves(rows, after)) == [0, 1]
    again = run(devices, after)
    assert all(len({devices[id_].zone for id_ in ids}) == 3 for ids in zip(*again, strict=True))
