"""Moves replicas between devices until every domain holds its quota, with as few moves as it can and spread as targeted.

A slot is one replica of one partition: slot = replica * partition_count + partition. A slot is *loose* when this run may put
it anywhere at no cost: it has no device yet, or this run has moved it already. A partition is *locked* when none of its other
slots may move: it was moved too short a time ago, or this run has moved one of its replicas. So at most one replica of a
partition moves in a run, apart from replicas that have lost their device.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence

from ring.fileformat import NO_DEVICE
from ring.targets import Targets
from ring.topology import ROOT, Topology

NOWHERE = -1
CHAIN_FAILURES_MAX = 16
"""After so many searches in a row without a result, a phase gives up: what is left is not worth its time."""
CHAIN_TRIES_MAX = 8
"""How often one search is begun anew without the slots that spoilt it."""
CHAIN_SLOTS_MAX = 4096
"""How many slots of one device a search looks at."""
_MASK = (1 << 64) - 1


class Dice:
    """A small seeded generator, so that equal input gives an equal ring on every machine."""

    __slots__ = ("_state",)

    def __init__(self, seed: int) -> None:
        self._state = (seed * 2 + 1) & _MASK
        for _ in range(4):
            self.below(1)

    def below(self, limit: int) -> int:
        """A number from 0 to limit - 1; the multiplier is Knuth's (MMIX)."""
        self._state = (self._state * 6364136223846793005 + 1442695040888963407) & _MASK
        return (self._state >> 33) % limit

    def shuffled(self, count: int) -> list[int]:
        """The numbers below count in an order of chance (Fisher and Yates)."""
        order = list(range(count))
        for last in range(count - 1, 0, -1):
            chosen = self.below(last + 1)
            order[last], order[chosen] = order[chosen], order[last]
        return order


class Placement:
    """The working state of one rebalance. Changes `rows` in place; `run` does it all."""

    def __init__(
        self,
        topology: Topology,
        targets: Targets,
        quotas: Sequence[int],
        rows: Sequence[array[int]],
        locked: bytearray,
        dice: Dice,
    ) -> None:
        self._children = topology.children
        self._device_ids = topology.device_ids
        self._paths = topology.paths
        self._min = targets.replicas_min
        self._max = targets.replicas_max
        self._quotas = quotas
        self._rows = rows
        self._locked = locked
        self._dice = dice
        self._partition_count = len(rows[0])
        self._loose = bytearray(self._partition_count * len(rows))
        self._slots_on: dict[int, list[int]] = {device_id: [] for device_id in topology.paths}
        self._loads = [0] * len(topology.children)
        for slot, device_id in self._placed_slots():
            self._slots_on[device_id].append(slot)
        for device_id, slots in self._slots_on.items():
            self._count(device_id, len(slots))

    def run(self) -> None:
        """Place what has no device, then spread, then even out; each phase leaves what it cannot do to the next run."""
        self._place_missing()
        self._spread()
        self._even_out()
        self._even_out_by_chains()
        self._spread()

    # What is where

    def _placed_slots(self) -> Iterator[tuple[int, int]]:
        for replica, row in enumerate(self._rows):
            first = replica * self._partition_count
            for partition, device_id in enumerate(row):
                if device_id != NO_DEVICE:
                    yield first + partition, device_id

    def _placed(self, partition: int) -> list[int]:
        """The slots of a partition that have a device; all of them, once `_place_missing` is done."""
        slots = range(partition, partition + self._partition_count * len(self._rows), self._partition_count)
        return [slot for slot, row in zip(slots, self._rows, strict=True) if partition < len(row) and row[partition] != NO_DEVICE]

    def _device_of(self, slot: int) -> int:
        replica, partition = divmod(slot, self._partition_count)
        return self._rows[replica][partition]

    def _count(self, device_id: int, change: int) -> None:
        self._loads[ROOT] += change
        for domain in self._paths[device_id]:
            self._loads[domain] += change

    def _put(self, slot: int, device_id: int) -> None:
        """Give the slot to a device, or to none; from now on it is loose and its partition locked."""
        replica, partition = divmod(slot, self._partition_count)
        old = self._rows[replica][partition]
        if old != NO_DEVICE:
            self._count(old, -1)
        self._rows[replica][partition] = device_id
        if device_id != NO_DEVICE:
            self._count(device_id, 1)
            self._slots_on[device_id].append(slot)
        self._loose[slot] = 1
        self._locked[partition] = 1

    def _may_move(self, slot: int) -> bool:
        return bool(self._loose[slot]) or not self._locked[slot % self._partition_count]

    def _counts(self, partition: int, without: int) -> dict[int, int]:
        """Per domain that has any, the replicas of the partition there, not counting the slot `without`."""
        counts: dict[int, int] = {}
        slot = partition
        for row in self._rows:
            if slot != without and partition < len(row) and row[partition] != NO_DEVICE:
                for domain in self._paths[row[partition]]:
                    counts[domain] = counts.get(domain, 0) + 1
            slot += self._partition_count
        return counts

    def _over(self, device_id: int) -> int:
        disk = self._paths[device_id][-1]
        return self._loads[disk] - self._quotas[disk]

    # Choosing a device

    def _choose(self, counts: dict[int, int], start: int = ROOT, unplaced: int = 0, full: bool = False) -> int:
        """A device inside `start` that may take a replica of a partition that has `counts`, or NOWHERE.

        At each level the domain that lacks a replica this partition must have there comes first, then the one furthest below
        its quota, not counting what the `unplaced` partitions still to come must bring it. With `full`, domains at their
        quota may be chosen too.
        """
        children = self._children[start]
        if not children:
            device_id = self._device_ids[start]
            return NOWHERE if device_id is None else device_id
        turn = self._dice.below(len(children))
        best = NOWHERE
        best_rank = -(1 << 62)
        others: list[tuple[int, int]] = []
        for child in children[turn:] + children[:turn]:
            count = counts.get(child, 0)
            need = self._quotas[child] - self._loads[child]
            if count >= self._max[child] or (need <= 0 and not full):
                continue
            rank = need - self._min[child] * unplaced + ((1 << 40) if count < self._min[child] else 0)
            others.append((rank, child))
            if rank > best_rank:
                best, best_rank = child, rank
        if best == NOWHERE:
            return NOWHERE
        chosen = self._choose(counts, best, unplaced, full)
        if chosen != NOWHERE:
            return chosen
        for _, child in sorted(others, reverse=True):
            if child != best and (chosen := self._choose(counts, child, unplaced, full)) != NOWHERE:
                return chosen
        return NOWHERE

    def _choose_any(self, counts: dict[int, int]) -> int:
        """The device furthest below its quota that has no replica of the partition yet; there always is one."""
        free = [device_id for device_id, path in self._paths.items() if path[-1] not in counts and self._max[path[-1]]]
        return min(free, key=self._over)

    # The phases

    def _place_missing(self) -> None:
        """Give every slot without a device one; partitions in an order of chance, so that neighbours do not share devices."""
        lacking = [p for p in self._dice.shuffled(self._partition_count) if self._missing(p)]
        for done, partition in enumerate(lacking, 1):
            for slot in self._missing(partition):
                counts = self._counts(partition, slot)
                device_id = self._choose(counts, unplaced=len(lacking) - done)
                if device_id == NOWHERE:
                    device_id = self._choose(counts, full=True)
                if device_id == NOWHERE:
                    device_id = self._choose_any(counts)
                self._put(slot, device_id)

    def _missing(self, partition: int) -> list[int]:
        return [
            replica * self._partition_count + partition
            for replica, row in enumerate(self._rows)
            if partition < len(row) and row[partition] == NO_DEVICE
        ]

    def _spread(self) -> None:
        """Move a replica of each partition that has more of them in some domain than the target allows."""
        failures = 0
        for partition in self._dice.shuffled(self._partition_count):
            crowded = self._crowded_slots(partition)
            if not crowded or failures >= CHAIN_FAILURES_MAX:
                continue
            crowded.sort(key=lambda slot: self._over(self._device_of(slot)), reverse=True)
            moved = any(self._move_straight(slot) for slot in crowded)
            moved = moved or any(self._move_by_chain([slot], self._device_of(slot)) for slot in crowded)
            failures = 0 if moved else failures + 1

    def _move_straight(self, slot: int) -> bool:
        target = self._direct_target(slot, ROOT)
        if target != NOWHERE:
            self._put(slot, target)
        return target != NOWHERE

    def _crowded_slots(self, partition: int) -> list[int]:
        """The slots that may move inside the widest domain that has too many replicas of the partition."""
        counts = self._counts(partition, NOWHERE)
        crowded = [domain for domain, count in counts.items() if count > self._max[domain]]
        if not crowded:
            return []
        widest = min(crowded, key=lambda domain: self._depth(domain, partition))
        return [slot for slot in self._placed(partition) if widest in self._paths[self._device_of(slot)] and self._may_move(slot)]

    def _depth(self, domain: int, partition: int) -> int:
        paths = [self._paths[self._device_of(slot)] for slot in self._placed(partition)]
        return min(path.index(domain) for path in paths if domain in path)

    def _direct_target(self, slot: int, start: int) -> int:
        """Where the slot could go inside `start` without pushing anything else away; never where it is."""
        device_id = self._device_of(slot)
        counts = self._counts(slot % self._partition_count, slot)
        counts[self._paths[device_id][-1]] = self._max[self._paths[device_id][-1]]
        self._count(device_id, -1)
        target = self._choose(counts, start)
        self._count(device_id, 1)
        return target

    def _even_out(self) -> None:
        """Move slots from devices above their quota straight to devices below it, no further away than the quotas ask.

        Each partition gives from its fullest device, so that the last devices to shrink still find partitions that can move.
        """
        for partition in self._dice.shuffled(self._partition_count):
            slots = [slot for slot in self._placed(partition) if self._over(self._device_of(slot)) > 0 and self._may_move(slot)]
            slots.sort(key=lambda slot: self._over(self._device_of(slot)), reverse=True)
            for slot in slots:
                target = self._near_target(slot)
                if target != NOWHERE:
                    self._put(slot, target)
                    break

    def _near_target(self, slot: int) -> int:
        for domain in (*reversed(self._paths[self._device_of(slot)][:-1]), ROOT):
            if domain != ROOT and self._loads[domain] > self._quotas[domain]:
                continue
            target = self._direct_target(slot, domain)
            if target != NOWHERE:
                return target
        return NOWHERE

    def _even_out_by_chains(self) -> None:
        failures = 0
        for device_id in sorted(self._paths, key=self._over, reverse=True):
            while self._over(device_id) > 0 and failures < CHAIN_FAILURES_MAX:
                if not self._move_by_chain(self._movable_slots(device_id)):
                    failures += 1
                    break
                failures = 0

    def _movable_slots(self, device_id: int) -> list[int]:
        here = dict.fromkeys(slot for slot in self._slots_on[device_id] if self._device_of(slot) == device_id)
        slots = [slot for slot in here if self._may_move(slot)]
        start = self._dice.below(len(slots)) if slots else 0
        return (slots[start:] + slots[:start])[:CHAIN_SLOTS_MAX]

    def _move_by_chain(self, first: Sequence[int], vacated: int = NOWHERE) -> bool:
        """Move one of the `first` slots although no device below its quota can take it: its new device passes another slot
        on, and so forth, until one arrives at a device below its quota, or at the device `vacated` by the first slot.

        Each partition is moved at most once. False when no such chain is found.
        """
        useless: set[int] = set()
        for _ in range(CHAIN_TRIES_MAX):
            tried = len(useless)
            if self._try_chain(first, vacated, useless):
                return True
            if len(useless) == tried:
                return False
        return False

    def _try_chain(self, first: Sequence[int], vacated: int, useless: set[int]) -> bool:
        """The shortest chain, each device reached once. A slot that spoils a chain, because another of its partition would have
        to end it, goes to `useless`: another try without it may reach the same devices by another way.
        """
        came: dict[int, tuple[int, int]] = {}
        waiting = [NOWHERE]
        for source in waiting:
            for slot in first if source == NOWHERE else self._movable_slots(source):
                if slot in useless:
                    continue
                targets = self._takers(slot, came)
                earlier = self._in_chain(came, source, slot % self._partition_count)
                if earlier != NOWHERE:
                    if any(self._over(target) < 0 or target == vacated for target in targets):
                        useless.add(earlier)
                    continue
                for target in targets:
                    came[target] = (source, slot)
                    if self._over(target) < 0 or target == vacated:
                        self._apply_chain(came, target)
                        return True
                    waiting.append(target)
        return False

    def _takers(self, slot: int, known: dict[int, tuple[int, int]]) -> list[int]:
        """Devices not known yet that could take the slot, were it not for their quota."""
        counts = self._counts(slot % self._partition_count, slot)
        barred = {domain for domain, count in counts.items() if count >= self._max[domain]}
        barred.add(self._paths[self._device_of(slot)][-1])
        return [
            device_id
            for device_id, path in self._paths.items()
            if device_id not in known and self._max[path[-1]] and barred.isdisjoint(path)
        ]

    def _in_chain(self, came: dict[int, tuple[int, int]], device_id: int, partition: int) -> int:
        """The slot of the partition that the chain up to this device moves, or NOWHERE."""
        while device_id != NOWHERE:
            device_id, slot = came[device_id]
            if slot % self._partition_count == partition:
                return slot
        return NOWHERE

    def _apply_chain(self, came: dict[int, tuple[int, int]], last: int) -> None:
        target = last
        while target != NOWHERE:
            source, slot = came[target]
            self._put(slot, target)
            target = source
