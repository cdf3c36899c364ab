"""How much of each partition every failure domain should hold: the aim that a rebalance works towards.

Amounts are in replicas of a partition: a region with 1.5 holds one replica of half the partitions and two of the others.
Two aims can contradict each other, as Swift's "The Rings" page explains:

* by weight, every device holds its share, though never two replicas of a partition;
* by dispersion, the replicas of every partition lie as evenly as can be over regions, in them over zones, in these over
  servers, in these over devices; weights decide within that.

The overload factor says how far to go from the first towards the second: no device takes more than that fraction above its
share by weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor

from ring.device import Device
from ring.topology import ROOT, Topology

_TOLERANCE = 1e-9
"""Sums of floats this near to a whole number are that number."""
_QUOTA_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Targets:
    """Per domain of the topology: `amounts`, and how many replicas any one partition has there, at least and at most."""

    amounts: list[float]
    replicas_min: list[int]
    replicas_max: list[int]


def weighted_amounts(topology: Topology, devices: Sequence[Device], replicas: float) -> list[float]:
    """Per domain, its share by weight alone, where no device holds more than one replica of a partition."""
    weights = [device.weight for device in devices]
    shares = _fill(replicas, weights, [0.0] * len(weights), [1.0 if weight else 0.0 for weight in weights])
    return topology.sums({device.id: share for device, share in zip(devices, shares, strict=True)})


def dispersed_amounts(topology: Topology, devices: Sequence[Device], replicas: float) -> list[float]:
    """Per domain, its share when dispersion comes first and weight second."""
    weights = topology.sums({device.id: device.weight for device in devices})
    room = topology.sums({device.id: 1.0 if device.weight else 0.0 for device in devices})
    amounts = [0.0] * len(topology.children)
    amounts[ROOT] = replicas
    for domain, children in enumerate(topology.children):
        if not children:
            continue
        rooms = [room[child] for child in children]
        level = _water_level(amounts[domain], rooms)
        lowest = [min(one, float(_floor(level))) for one in rooms]
        highest = [min(one, float(_ceil(level))) for one in rooms]
        shares = _fill(amounts[domain], [weights[child] for child in children], lowest, highest)
        for child, share in zip(children, shares, strict=True):
            amounts[child] = share
    return amounts


def required_overload(topology: Topology, weighted: Sequence[float], dispersed: Sequence[float]) -> float:
    """The overload factor from which on dispersion is as good as the devices allow."""
    disks = [path[-1] for path in topology.paths.values() if weighted[path[-1]] > _TOLERANCE]
    factor = max((dispersed[disk] / weighted[disk] - 1.0 for disk in disks), default=0.0)
    return factor if factor > _TOLERANCE else 0.0


def targets(topology: Topology, devices: Sequence[Device], replicas: float, overload: float) -> Targets:
    """The aim for these devices. At least ceil(replicas) of them must have weight."""
    weighted = weighted_amounts(topology, devices, replicas)
    dispersed = dispersed_amounts(topology, devices, replicas)
    required = required_overload(topology, weighted, dispersed)
    part = min(1.0, overload / required) if required else 1.0
    amounts = [one + (other - one) * part for one, other in zip(weighted, dispersed, strict=True)]
    return Targets(amounts, [_floor(amount) for amount in amounts], [_ceil(amount) for amount in amounts])


def quotas(topology: Topology, amounts: Sequence[float], partition_count: int, slots: int, loads: Sequence[int]) -> list[int]:
    """Per domain, how many of all `slots` (a replica of a partition is one) it gets, in whole numbers that add up.

    Each is the amount times the partitions, rounded down or up. Where there is a choice, a domain that already holds more
    (`loads`) keeps it, so that rounding alone moves nothing.
    """
    result = [0] * len(amounts)
    result[ROOT] = slots
    for domain, children in enumerate(topology.children):
        exact = [amounts[child] * partition_count for child in children]
        lower = [floor(one + _QUOTA_TOLERANCE) for one in exact]
        left = result[domain] - sum(lower)
        order = sorted(
            range(len(children)),
            key=lambda i: (exact[i] - lower[i] < _QUOTA_TOLERANCE, loads[children[i]] <= lower[i], lower[i] - exact[i]),
        )
        for place, i in enumerate(order):
            result[children[i]] = lower[i] + (1 if place < left else 0) - (1 if place >= len(order) + left else 0)
    return result


def _water_level(amount: float, rooms: Sequence[float]) -> float:
    """The level at which the amount, poured into vessels of these heights and width 1, stands."""
    left = amount
    ordered = sorted(rooms)
    for place, room in enumerate(ordered):
        level = left / (len(ordered) - place)
        if level <= room:
            return level
        left -= room
    return ordered[-1] if ordered else 0.0


def _fill(amount: float, weights: Sequence[float], lowest: Sequence[float], highest: Sequence[float]) -> list[float]:
    """Shares in proportion to the weights, each within its bounds, that add up to the amount (or as near as bounds allow).

    Fixes, round by round, the shares that leave their bounds on the side that pushes the rest the furthest; each round fixes
    at least one.
    """
    shares = [0.0] * len(weights)
    open_ = [i for i, high in enumerate(highest) if high > 0]
    left = amount
    while open_:
        total = sum(weights[i] for i in open_)
        wish = {i: left * weights[i] / total for i in open_}
        above = [i for i in open_ if wish[i] > highest[i]]
        below = [i for i in open_ if wish[i] < lowest[i]]
        excess = sum(wish[i] - highest[i] for i in above)
        lack = sum(lowest[i] - wish[i] for i in below)
        fixed = above if excess >= lack and above else below
        if not fixed:
            for i in open_:
                shares[i] = wish[i]
            break
        for i in fixed:
            shares[i] = highest[i] if fixed is above else lowest[i]
            left -= shares[i]
        open_ = [i for i in open_ if i not in set(fixed)]
    return shares


def _floor(amount: float) -> int:
    return floor(amount + _TOLERANCE)


def _ceil(amount: float) -> int:
    return ceil(amount - _TOLERANCE)
