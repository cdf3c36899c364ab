"""What ring tools print about a builder: balance, dispersion, tables of devices and partitions. All pure.

Balance is how far, in percent, the device furthest off is from its share by weight. Dispersion is the percentage of replicas
that share a failure domain with others of their partition although the devices would allow better. 0 is best for both.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from math import ceil

from ring.builder import Rebalanced, RingBuilder
from ring.device import Device, address
from ring.targets import dispersed_amounts, required_overload, weighted_amounts
from ring.topology import Topology

BALANCE_MAX = 999.99
"""What the tools show for a device that should hold nothing and holds something."""


@dataclass(frozen=True, slots=True)
class DomainSpread:
    """One failure domain: `partitions[n]` of them have n replicas there, at best none has more than `replicas_max`."""

    name: str
    replicas_max: int
    partitions: tuple[int, ...]

    @property
    def replica_count(self) -> int:
        return sum(count * replicas for replicas, count in enumerate(self.partitions))

    @property
    def crowded_percent(self) -> float:
        """Of the replicas in the domain, those of partitions that have too many there, one per partition."""
        crowded = sum(self.partitions[self.replicas_max + 1 :])
        return 100.0 * crowded / self.replica_count if crowded else 0.0


@dataclass(frozen=True, slots=True)
class Dispersion:
    """How well replicas are spread: over all, what overload would make it best, and by failure domain in order."""

    percent: float
    required_overload: float
    domains: tuple[DomainSpread, ...]


def device_loads(builder: RingBuilder) -> dict[int, int]:
    """Per device id, how many replicas of partitions it holds."""
    loads = {device.id: 0 for device in builder.present_devices()}
    for row in builder.rows:
        for device_id in loads:
            loads[device_id] += row.count(device_id)
    return loads


def device_balances(builder: RingBuilder) -> dict[int, float]:
    """Per device id, how far in percent it is above (below: negative) its share by weight."""
    loads = device_loads(builder)
    weight = sum(device.weight for device in builder.present_devices())
    slots = builder.slot_count
    balances: dict[int, float] = {}
    for device in builder.present_devices():
        share = slots * device.weight / weight if weight else 0.0
        load = loads[device.id]
        balances[device.id] = 100.0 * load / share - 100.0 if share else (BALANCE_MAX if load else 0.0)
    return balances


def balance(builder: RingBuilder) -> float:
    """The balance of the ring, in percent: that of the device furthest from its share."""
    return max((abs(one) for one in device_balances(builder).values()), default=0.0)


def dispersion(builder: RingBuilder) -> Dispersion:
    """Compares where replicas are with the best spread of the devices that have weight, whatever overload it needs."""
    devices = list(builder.present_devices())
    topology = Topology(devices)
    replicas = sum(map(len, builder.rows)) / builder.partition_count if builder.rows else builder.replicas
    weighted = weighted_amounts(topology, devices, replicas)
    best = dispersed_amounts(topology, devices, replicas)
    replicas_max = [ceil(amount - 1e-9) for amount in best]
    partitions = [[0] * (len(builder.rows) + 1) for _ in best]
    crowded = 0
    for partition in range(builder.partition_count if builder.rows else 0):
        counts: dict[int, int] = {}
        for row in builder.rows:
            if partition < len(row):
                for domain in topology.paths[row[partition]]:
                    counts[domain] = counts.get(domain, 0) + 1
        for domain, count in counts.items():
            partitions[domain][count] += 1
        crowded += max(0, *(count - replicas_max[domain] for domain, count in counts.items()))
    for counted in partitions:
        counted[0] = builder.partition_count - sum(counted)
    slots = sum(map(len, builder.rows))
    domains = (
        DomainSpread(name, most, tuple(counted))
        for name, most, counted in list(zip(topology.names, replicas_max, partitions, strict=True))[1:]
        if counted[0] < builder.partition_count
    )
    return Dispersion(
        100.0 * crowded / slots if slots else 0.0,
        required_overload(topology, weighted, best),
        tuple(sorted(domains, key=lambda domain: domain.name)),
    )


def summary_lines(name: str, builder: RingBuilder, ring_note: str, now_s: float) -> Iterator[str]:
    """The page that ring tools show without a command. `ring_note` tells about the ring file."""
    devices = list(builder.present_devices())
    zones = {(device.region, device.zone) for device in devices}
    percent = dispersion(builder).percent if builder.rows else 0.0
    yield f"{name}, build version {builder.version}"
    yield (
        f"{builder.partition_count} partitions, {builder.replicas:.6f} replicas, {len({d.region for d in devices})} regions, "
        f"{len(zones)} zones, {len(devices)} devices, {balance(builder):.2f} balance, {percent:.2f} dispersion"
    )
    yield (
        f"The minimum number of hours before a partition can be reassigned is {builder.min_part_hours} "
        f"({_hours(builder.wait_s(now_s))} remaining)"
    )
    yield f"The overload factor is {builder.overload:.2%} ({builder.overload:.6f})"
    yield ring_note
    if devices:
        yield from summary_table(builder, devices)


def summary_table(builder: RingBuilder, devices: Iterable[Device]) -> Iterator[str]:
    """One line per device, by place in the ring."""
    ordered = sorted(devices, key=lambda device: (device.region, device.zone, device.ip, device.device, device.id))
    places = [(address(d.ip, d.port), address(d.replication_ip, d.replication_port)) for d in ordered]
    width = max(len("ip address:port"), *(len(place) for place, _ in places))
    replication_width = max(len("replication ip:port"), *(len(place) for _, place in places))
    name_width = max(len("name"), *(len(device.device) for device in ordered))
    loads, balances = device_loads(builder), device_balances(builder)
    yield (
        f"Devices:   id region zone {'ip address:port':>{width}} {'replication ip:port':>{replication_width}} "
        f"{'name':>{name_width}} weight partitions balance flags meta"
    )
    for device, (place, replication_place) in zip(ordered, places, strict=True):
        flag = "DEL" if device.id in builder.removed else ""
        yield (
            f"         {device.id:>4} {device.region:>6} {device.zone:>4} {place:>{width}} "
            f"{replication_place:>{replication_width}} {device.device:>{name_width}} {device.weight:>6.2f} "
            f"{loads[device.id]:>10} {balances[device.id]:>7.2f} {flag:>5} {device.meta}"
        )


def search_table(builder: RingBuilder, devices: Iterable[Device]) -> Iterator[str]:
    """The devices found, address and port in columns of their own."""
    loads, balances = device_loads(builder), device_balances(builder)
    yield (
        "Devices:    id  region  zone      ip address  port  replication ip  replication port      name weight partitions "
        "balance meta"
    )
    for d in devices:
        yield (
            f"         {d.id:>5} {d.region:>7} {d.zone:>5} {d.ip:>15} {d.port:>5} {d.replication_ip:>15} {d.replication_port:>17} "
            f"{d.device:>9} {d.weight:>6.2f} {loads[d.id]:>10} {balances[d.id]:>7.2f} {d.meta}"
        )


def partition_lines(builder: RingBuilder, device_ids: Collection[int]) -> Iterator[str]:
    """The partitions that have replicas on these devices, and how many, most first."""
    counts: dict[int, int] = {}
    for row in builder.rows:
        for partition, device_id in enumerate(row):
            if device_id in device_ids:
                counts[partition] = counts.get(partition, 0) + 1
    yield "Partition   Matches"
    for partition, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        yield f"{partition:>9}   {count:>7}"


def dispersion_lines(builder: RingBuilder, report: Dispersion, pattern: re.Pattern[str] | None, table: bool) -> Iterator[str]:
    """The dispersion page, with `table` down to each failure domain whose name `pattern` matches from its start."""
    domains = [domain for domain in report.domains if not pattern or pattern.match(domain.name)]
    yield f"Dispersion is {report.percent:.6f}, Balance is {balance(builder):.6f}, Overload is {builder.overload:.2%}"
    yield f"Required overload is {report.required_overload * 100:.6f}%"
    worst = max(domains, key=lambda domain: domain.crowded_percent, default=None)
    if worst and worst.crowded_percent:
        yield f"Worst tier is {worst.crowded_percent:.6f} ({worst.name})"
    if not table:
        return
    width = max(30, *(len(domain.name) for domain in domains)) if domains else 30
    head = f"{'Tier':<{width}} {'Parts':>5} {'%':>6} {'Max':>6}" + "".join(f"{n:>6}" for n in range(len(builder.rows) + 1))
    yield "-" * len(head)
    yield head
    yield "-" * len(head)
    for domain in domains:
        counts = "".join(f"{count:>6}" for count in domain.partitions)
        yield f"{domain.name:<{width}} {domain.replica_count:>5} {domain.crowded_percent:>6.2f} {domain.replicas_max:>6}{counts}"


def rebalance_line(builder: RingBuilder, result: Rebalanced) -> str:
    """What a rebalance did and how the ring is now."""
    share = 100.0 * result.assigned / builder.partition_count
    return (
        f"Reassigned {result.assigned} ({share:.2f}%) partitions. "
        f"Balance is now {balance(builder):.2f}.  Dispersion is now {dispersion(builder).percent:.2f}"
    )


def plan_lines(before: RingBuilder, after: RingBuilder, result: Rebalanced) -> Iterator[str]:
    """What a rebalance would change, by device: replicas now, those to come and those to go."""
    yield f"A rebalance would assign {result.assigned} replicas of partitions, {result.moved} of them by moving data."
    yield (
        f"Balance would go from {balance(before):.2f} to {balance(after):.2f}, "
        f"dispersion from {dispersion(before).percent:.2f} to {dispersion(after).percent:.2f}."
    )
    gains, losses = dict.fromkeys(device_loads(before), 0), dict.fromkeys(device_loads(before), 0)
    for replica in range(max(len(before.rows), len(after.rows))):
        old = before.rows[replica] if replica < len(before.rows) else ()
        new = after.rows[replica] if replica < len(after.rows) else ()
        for partition in range(max(len(old), len(new))):
            source = old[partition] if partition < len(old) else None
            target = new[partition] if partition < len(new) else None
            if source != target:
                if source is not None:
                    losses[source] += 1
                if target is not None:
                    gains[target] += 1
    yield f"{'Device':<40} {'Now':>8} {'Come':>8} {'Go':>8} {'Then':>8}"
    loads = device_loads(before)
    for device in before.present_devices():
        gain, loss, load = gains[device.id], losses[device.id], loads[device.id]
        name = f"d{device.id}r{device.region}z{device.zone}-{address(device.ip, device.port)}/{device.device}"
        yield f"{name:<40} {load:>8} {gain:>8} {loss:>8} {load + gain - loss:>8}"


def _hours(seconds: int) -> str:
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
