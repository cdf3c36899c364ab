"""Targets: shares by weight, by dispersion, and between them; quotas that add up."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ring.device import Device
from ring.targets import dispersed_amounts, quotas, required_overload, targets, weighted_amounts
from ring.topology import ROOT, Topology


def device(id_: int, region: int, zone: int, server: int, weight: float = 100.0) -> Device:
    return Device(id_, region, zone, f"10.0.0.{server}", 6200, f"d{id_}", weight)


def by_name(topology: Topology, amounts: list[float]) -> dict[str, float]:
    return {name: round(amount, 6) for name, amount in zip(topology.names, amounts, strict=True) if name}


@st.composite
def device_lists(draw: st.DrawFn) -> list[Device]:
    places = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.sampled_from([0.0, 1.0, 50.0, 100.0, 1000.0]))
    drawn = draw(st.lists(places, min_size=1, max_size=14).filter(lambda found: any(weight for *_, weight in found)))
    return [device(i, *place) for i, place in enumerate(drawn)]


def test_topology_is_a_tree_from_wide_to_narrow() -> None:
    topology = Topology([device(1, 2, 1, 1), device(0, 1, 1, 1), device(2, 1, 1, 1)])
    first = ["", "r1", "r1z1", "r1z1-10.0.0.1", "r1z1-10.0.0.1/d0", "r1z1-10.0.0.1/d2"]
    assert topology.names == [*first, "r2", "r2z1", "r2z1-10.0.0.1", "r2z1-10.0.0.1/d1"]
    assert topology.paths[2] == (1, 2, 3, 5)
    assert topology.children[ROOT] == [1, 6]
    assert topology.sums({0: 1.0, 1: 2.0, 2: 4.0})[:4] == [7.0, 5.0, 5.0, 5.0]


def test_no_device_gets_two_replicas_however_heavy() -> None:
    devices = [device(0, 1, 1, 1, 1000), device(1, 1, 1, 2), device(2, 1, 1, 3), device(3, 1, 1, 4, 200)]
    topology = Topology(devices)
    amounts = weighted_amounts(topology, devices, 3)
    assert [round(amounts[topology.paths[i][-1]], 6) for i in range(4)] == [1.0, 0.5, 0.5, 1.0]


def test_dispersion_comes_before_weight() -> None:
    devices = [device(0, 1, 1, 1, 300), device(1, 1, 1, 1, 300), device(2, 1, 2, 2, 100), device(3, 1, 2, 2, 100)]
    topology = Topology(devices)
    assert by_name(topology, weighted_amounts(topology, devices, 2))["r1z1"] == 1.5
    assert by_name(topology, dispersed_amounts(topology, devices, 2))["r1z1"] == 1.0


def test_a_domain_with_few_devices_leaves_the_rest_to_others() -> None:
    devices = [device(0, 1, 1, 1), *(device(i, 2, i, i) for i in range(1, 4))]
    topology = Topology(devices)
    amounts = by_name(topology, dispersed_amounts(topology, devices, 4))
    assert (amounts["r1"], amounts["r2"]) == (1.0, 3.0)


def test_overload_leads_from_weight_to_dispersion() -> None:
    """Swift's example: three servers with 12, 12 and 11 disks need 9.09 % overload for one replica on each."""
    sizes = (12, 12, 11)
    devices = [device(100 * s + i, 1, 1, s) for s, size in enumerate(sizes) for i in range(size)]
    topology = Topology(devices)
    required = required_overload(topology, weighted_amounts(topology, devices, 3), dispersed_amounts(topology, devices, 3))
    assert required == pytest.approx(35 / 33 - 1)
    assert by_name(topology, targets(topology, devices, 3, 0.0).amounts)["r1z1-10.0.0.2"] == pytest.approx(33 / 35)
    assert by_name(topology, targets(topology, devices, 3, 0.1).amounts)["r1z1-10.0.0.2"] == 1.0
    half = by_name(topology, targets(topology, devices, 3, required / 2).amounts)["r1z1-10.0.0.2"]
    assert half == pytest.approx((33 / 35 + 1) / 2)


@given(device_lists(), st.sampled_from([1.0, 2.0, 2.5, 3.0, 3.25, 4.0]), st.sampled_from([0.0, 0.1, 10.0]))
@settings(max_examples=200, deadline=None)
def test_targets_add_up_at_every_level(devices: list[Device], replicas: float, overload: float) -> None:
    replicas = min(replicas, float(sum(1 for one in devices if one.weight)))
    topology = Topology(devices)
    aim = targets(topology, devices, replicas, overload)
    weighted = weighted_amounts(topology, devices, replicas)
    assert aim.amounts[ROOT] == pytest.approx(replicas)
    for domain, children in enumerate(topology.children):
        assert not children or sum(aim.amounts[child] for child in children) == pytest.approx(aim.amounts[domain])
        assert aim.replicas_min[domain] <= aim.amounts[domain] + 1e-6
        assert aim.replicas_max[domain] >= aim.amounts[domain] - 1e-6
    for one in devices:
        disk = topology.paths[one.id][-1]
        assert -1e-9 <= aim.amounts[disk] <= 1 + 1e-9
        assert aim.amounts[disk] <= weighted[disk] * (1 + overload) + 1e-6
        assert one.weight or aim.amounts[disk] == 0


@given(device_lists(), st.integers(0, 9), st.data())
@settings(max_examples=200, deadline=None)
def test_quotas_are_rounded_targets_that_add_up(devices: list[Device], power: int, data: st.DataObject) -> None:
    replicas = min(2.5, float(sum(1 for one in devices if one.weight)))
    topology = Topology(devices)
    count = 1 << power
    slots = int(replicas * count)
    amounts = targets(topology, devices, slots / count, 0.0).amounts
    loads = data.draw(st.lists(st.integers(0, count), min_size=len(amounts), max_size=len(amounts)))
    wanted = quotas(topology, amounts, count, slots, loads)
    assert wanted[ROOT] == slots
    for domain, children in enumerate(topology.children):
        assert not children or sum(wanted[child] for child in children) == wanted[domain]
        assert abs(wanted[domain] - amounts[domain] * count) < 1 + 1e-5


def test_rounding_favours_who_holds_more_already() -> None:
    devices = [device(i, 1, 1, i) for i in range(3)]
    topology = Topology(devices)
    amounts = targets(topology, devices, 1, 0.0).amounts
    disks = [topology.paths[i][-1] for i in range(3)]
    loads = [0] * len(amounts)
    for domain in topology.paths[1]:
        loads[domain] = 6
    assert [quotas(topology, amounts, 16, 16, loads)[disk] for disk in disks] == [5, 6, 5]
