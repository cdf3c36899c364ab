"""The builder: what a rebalance promises, for rings and changes drawn at random."""

from __future__ import annotations

from array import array
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ring.builder import BuilderError, RingBuilder
from ring.device import DeviceError
from ring.targets import targets
from ring.topology import Topology

HOUR_S = 3600
START_S = 1_700_000_000
WEIGHTS = st.sampled_from([100.0, 100.0, 100.0, 50.0, 1000.0])
PLACES = st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(1, 3), WEIGHTS)
ROUNDS_MAX = 20


def build(places: list[tuple[int, int, int, float]], part_power: int, replicas: float, min_part_hours: int = 1) -> RingBuilder:
    builder = RingBuilder(part_power, replicas, min_part_hours)
    for region, zone, server, weight in places:
        grow(builder, region, zone, server, weight)
    return builder


def grow(builder: RingBuilder, region: int, zone: int, server: int, weight: float) -> None:
    name = f"d{builder.version}"
    builder.add_device(region=region, zone=zone, ip=f"10.0.0.{server}", port=6200, device=name, weight=weight)


def plain(zones: int, per_zone: int, part_power: int = 6, replicas: float = 3, min_part_hours: int = 1) -> RingBuilder:
    return build(
        [(1, zone, server, 100.0) for zone in range(zones) for server in range(per_zone)], part_power, replicas, min_part_hours
    )


def loads(builder: RingBuilder) -> Counter[int]:
    return Counter(device_id for row in builder.rows for device_id in row)


def devices_of(rows: list[array[int]], partition: int) -> list[int]:
    return [row[partition] for row in rows if partition < len(row)]


def settle(builder: RingBuilder, now_s: float = START_S) -> float:
    """Rebalance until nothing moves, each time after min_part_hours. Returns the time of the end."""
    for _ in range(ROUNDS_MAX):
        if not builder.rebalance(now_s=now_s).assigned:
            return now_s
        now_s += builder.min_part_hours * HOUR_S + 1
    raise AssertionError(f"still moving after {ROUNDS_MAX} rounds")


def assert_on_target(builder: RingBuilder) -> None:
    """Every device within one partition of its target, no partition crowded, none twice on a device."""
    devices = list(builder.present_devices())
    topology = Topology(devices)
    aim = targets(topology, devices, builder.slot_count / builder.partition_count, builder.overload)
    held = loads(builder)
    for device in devices:
        assert abs(held[device.id] - aim.amounts[topology.paths[device.id][-1]] * builder.partition_count) < 1 + 1e-5
    for partition in range(builder.partition_count):
        ids = devices_of(builder.rows, partition)
        assert len(set(ids)) == len(ids)
        counts = Counter(domain for id_ in ids for domain in topology.paths[id_])
        assert all(count <= aim.replicas_max[domain] for domain, count in counts.items())
    builder.check()


@given(
    st.lists(PLACES, min_size=4, max_size=14),
    st.integers(0, 7),
    st.sampled_from([1.0, 2.0, 2.5, 3.0, 3.25, 4.0]),
    st.sampled_from([0.0, 0.1, 10.0]),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_a_new_ring_is_on_target_at_once(
    places: list[tuple[int, int, int, float]], part_power: int, replicas: float, overload: float
) -> None:
    builder = build(places, part_power, replicas)
    builder.set_overload(overload)
    result = builder.rebalance(now_s=START_S)
    assert (result.assigned, result.moved) == (builder.slot_count, 0)
    assert_on_target(builder)


@given(st.lists(PLACES, min_size=6, max_size=12), st.sampled_from([2.0, 2.5, 3.0]), st.data())
@settings(max_examples=40, deadline=None, derandomize=True)
def test_changes_settle_on_target_one_replica_at_a_time(
    places: list[tuple[int, int, int, float]], replicas: float, data: st.DataObject
) -> None:
    builder = build(places, 6, replicas)
    now_s = settle(builder)
    for _ in range(3):
        alter(builder, data)
        removed = set(builder.removed)
        before = [array("H", row) for row in builder.rows]
        builder.rebalance(now_s=now_s)
        for partition in range(builder.partition_count):
            pairs = [
                (old[partition], new[partition]) for old, new in zip(before, builder.rows, strict=False) if partition < len(new)
            ]
            pairs = pairs if all(partition < len(old) for old in before) else pairs[:2]
            lost = sum(1 for old, _ in pairs if old in removed)
            moved = sum(1 for old, new in pairs if old != new and old not in removed)
            assert moved <= (0 if lost else 1)
        now_s = settle(builder, now_s + 2 * HOUR_S)
        assert_on_target(builder)


def alter(builder: RingBuilder, data: st.DataObject) -> None:
    ids = [device.id for device in builder.present_devices() if device.weight]
    device_id = data.draw(st.sampled_from(ids))
    change = data.draw(st.sampled_from(["add", "weight", "zone", "drain", "remove"]))
    if change == "add" or (change in ("drain", "remove") and len(ids) < 5):
        grow(builder, *data.draw(PLACES))
    elif change == "weight":
        builder.change_device(device_id, weight=data.draw(WEIGHTS))
    elif change == "zone":
        builder.change_device(device_id, zone=data.draw(st.integers(1, 3)))
    elif change == "drain":
        builder.change_device(device_id, weight=0)
    else:
        builder.remove_device(device_id)


@pytest.mark.parametrize(("zones", "per_zone", "new_zone"), [(1, 8, 0), (4, 2, 1), (3, 3, 0)])
def test_a_new_device_takes_its_share_and_little_else_moves(zones: int, per_zone: int, new_zone: int) -> None:
    builder = plain(zones, per_zone, part_power=8)
    settle(builder)
    grow(builder, 1, new_zone, 77, 100.0)
    new_id = len(builder.devices) - 1
    before = loads(builder)
    result = builder.rebalance(now_s=START_S + 10 * HOUR_S)
    after = loads(builder)
    needed = sum((after - before).values())
    assert after[new_id] > 0
    assert needed <= result.moved <= needed * 1.05
    assert_on_target(builder)


def test_a_second_rebalance_moves_nothing() -> None:
    builder = plain(4, 3)
    settle(builder)
    before = [list(row) for row in builder.rows]
    version = builder.version
    assert builder.rebalance(seed=99, now_s=START_S + 99 * HOUR_S).assigned == 0
    assert ([list(row) for row in builder.rows], builder.version) == (before, version)


def test_the_same_seed_gives_the_same_ring() -> None:
    rings = []
    for seed in (1, 1, 2):
        builder = plain(4, 3)
        builder.rebalance(seed=seed)
        rings.append([list(row) for row in builder.rows])
    assert rings[0] == rings[1] != rings[2]


def test_partitions_that_share_a_device_do_not_share_all() -> None:
    """When a device fails, many others must help to restore its partitions."""
    builder = plain(3, 6, part_power=9)
    builder.rebalance()
    partners = {id_ for p in range(512) for ids in [devices_of(builder.rows, p)] if 0 in ids for id_ in ids}
    assert len(partners) == 13


def test_a_removed_device_is_emptied_at_once() -> None:
    builder = plain(4, 2)
    builder.rebalance(now_s=START_S)
    builder.remove_device(3)
    held = loads(builder)[3]
    result = builder.rebalance(now_s=START_S + 1)
    assert (result.assigned, result.removed_devices) == (held, 1)
    assert builder.devices[3] is None
    assert loads(builder)[3] == 0
    grow(builder, 1, 1, 9, 100.0)
    assert builder.devices[3] is not None


def test_weight_zero_drains_step_by_step() -> None:
    """Two devices that share partitions drain; each partition gives up one replica, and the second only after min_part_hours."""
    builder = build([(1, 1, server, 100.0) for server in range(6)], 6, 3)
    builder.rebalance(now_s=START_S)
    for device_id in (0, 1):
        builder.change_device(device_id, weight=0)
    shared = sum(1 for p in range(64) if {0, 1} <= set(devices_of(builder.rows, p)))
    assert shared > 0
    assert builder.rebalance(now_s=START_S + 10).assigned == 0
    builder.rebalance(now_s=START_S + 2 * HOUR_S)
    assert loads(builder)[0] + loads(builder)[1] == shared
    assert builder.rebalance(now_s=START_S + 2 * HOUR_S + 60).assigned == 0
    settle(builder, START_S + 4 * HOUR_S)
    assert loads(builder)[0] + loads(builder)[1] == 0


def test_min_part_hours_can_be_passed_over() -> None:
    builder = plain(3, 2)
    builder.rebalance(now_s=START_S)
    assert builder.wait_s(START_S + 600) == 3000
    grow(builder, 1, 1, 9, 100.0)
    assert builder.rebalance(now_s=START_S + 600).assigned == 0
    builder.pretend_min_part_hours_passed()
    assert builder.wait_s(START_S + 600) == 0
    assert builder.rebalance(now_s=START_S + 600).moved > 0


def test_the_replica_count_may_change() -> None:
    builder = plain(5, 1)
    now_s = settle(builder) + HOUR_S + 1
    for replicas in (3.5, 4, 2, 1, 2.25):
        before = [devices_of(builder.rows, p) for p in range(64)]
        builder.set_replicas(replicas)
        builder.rebalance(now_s=now_s)
        assert sum(map(len, builder.rows)) == builder.slot_count == int(64 * replicas)
        for partition in range(64):
            now = devices_of(builder.rows, partition)
            assert len(set(before[partition][: len(now)]) - set(now)) <= 1
        now_s = settle(builder, now_s + 2 * HOUR_S)
        assert_on_target(builder)


def test_too_few_devices_are_refused_and_nothing_changes() -> None:
    builder = plain(3, 1)
    builder.rebalance(now_s=START_S)
    builder.remove_device(1)
    rows = [list(row) for row in builder.rows]
    with pytest.raises(BuilderError, match="3 replicas need at least 3 devices with weight, and there are 2"):
        builder.rebalance(now_s=START_S)
    assert ([list(row) for row in builder.rows], builder.removed) == (rows, {1})


def test_devices_are_checked() -> None:
    builder = plain(1, 2)
    with pytest.raises(BuilderError, match="already uses"):
        builder.add_device(zone=3, ip="10.0.0.1", port=6200, device="d1", weight=1)
    with pytest.raises(BuilderError, match="already uses"):
        builder.change_device(0, ip="10.0.0.1", device="d1")
    with pytest.raises(DeviceError):
        builder.change_device(0, weight=-1)
    for device_id in (-1, 2, 99):
        with pytest.raises(BuilderError, match="no device"):
            builder.remove_device(device_id)
    builder.remove_device(0)
    with pytest.raises(BuilderError, match="marked for removal"):
        builder.change_device(0, weight=5)
    assert builder.version == 3


@pytest.mark.parametrize(
    ("part_power", "replicas", "hours"), [(-1, 3, 1), (33, 3, 1), (6, 0.5, 1), (6, float("nan"), 1), (6, 257, 1), (6, 3, -1)]
)
def test_impossible_rings_are_refused(part_power: int, replicas: float, hours: int) -> None:
    with pytest.raises(BuilderError):
        RingBuilder(part_power, replicas, hours)


def test_a_ring_comes_from_and_goes_to_a_builder() -> None:
    builder = plain(4, 2, replicas=2.5)
    with pytest.raises(BuilderError, match="rebalance first"):
        builder.to_ring()
    builder.rebalance(now_s=START_S)
    ring = builder.to_ring()
    assert (ring.replica_count, ring.partition_count, ring.version) == (2.5, 64, builder.version)
    again = RingBuilder.from_ring(ring, 5)
    assert (again.rows, again.devices, again.replicas, again.version) == (builder.rows, builder.devices, 2.5, builder.version)
    assert again.rebalance(now_s=START_S).assigned == 0


def test_a_ring_does_not_change_with_its_builder() -> None:
    builder = plain(4, 1)
    builder.rebalance(now_s=START_S)
    ring = builder.to_ring()
    before = [list(row) for row in ring.rows]
    builder.remove_device(0)
    builder.rebalance(now_s=START_S)
    assert [list(row) for row in ring.rows] == before
    assert ring.devices[0] is not None
