"""What threads of a cluster used, by the kernel's account, and where samples saw them."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.cluster import CLOCK_TICKS_PER_S, Cluster, descendants
from bench.inside import Inside
from bench.profile.categories import LOOP, ORDER, category, place

FRAME = re.compile(r'^  File "(.*)", line \d+ in (.*)')
Frame = tuple[str, str]
"""File and function."""
STACK = "Stack (most recent call first):"
KNOWN = {"MainThread": "event loop", "commit": "commit-*", "tables": "tables-*", "read": "read-*"}
OTHER_THREADS = "others"


@dataclass(frozen=True, slots=True, order=True)
class Group:
    """Threads of the same name in processes of the same role: "proxy", "node", or "supervisor"."""

    role: str
    thread: str


@dataclass(slots=True)
class Used:
    """CPU seconds by group of threads, and by process as a whole, which includes threads that have ended."""

    threads: Counter[Group] = field(default_factory=Counter)
    system: Counter[Group] = field(default_factory=Counter)
    processes: float = 0.0

    def since(self, before: "Used") -> "Used":
        """Of two readings."""
        return Used(self.threads - before.threads, self.system - before.system, self.processes - before.processes)

    def add(self, other: "Used") -> None:
        """Of two stretches of time."""
        self.threads.update(other.threads)
        self.system.update(other.system)
        self.processes += other.processes


def role(command: list[str]) -> str:
    """Of a process, by its command line."""
    kinds = {"public": "proxy", "storage": "node"}
    return next((kinds[word] for word in command if word in kinds), "supervisor")


class Watched:
    """The processes of a cluster, with the sampler in each of them."""

    def __init__(self, cluster: Cluster, inside: Inside) -> None:
        self._cluster, self._inside = cluster, inside
        self._roles: dict[int, str] = {}
        for pid in descendants(cluster.process.pid):
            command = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            self._roles[pid] = role(command)
        self._groups: dict[tuple[int, int], Group] = {}
        self._read_to: dict[int, int] = {}
        self._learn()

    def _learn(self) -> None:
        """Which threads there are."""
        for pid, of in self._roles.items():
            for native_id, name in self._inside.ask(pid, "threads").items():
                begins = name.partition("-")[0]
                self._groups[pid, int(native_id)] = Group(of, KNOWN.get(begins, OTHER_THREADS))

    def sampling(self, on: bool) -> None:
        """Begin or end; what was sampled before is forgotten at the beginning."""
        for pid in self._roles:
            self._inside.ask(pid, "on" if on else "off")
        self._learn()
        if on:
            for _, native_id in self._groups:
                self._read_to[native_id] = self._file(native_id).stat().st_size

    def _file(self, native_id: int) -> Path:
        return self._inside.directory / f"{native_id}.stacks"

    def samples(self) -> "dict[Group, Counter[Spot]]":
        """How often each group was seen where since sampling began."""
        found: dict[Group, Counter[Spot]] = defaultdict(Counter)
        for (_, native_id), group in self._groups.items():
            with self._file(native_id).open() as file:
                file.seek(self._read_to.get(native_id, 0))
                found[group].update(spot(stack, group.role) for stack in stacks(file))
        return found

    def used(self) -> Used:
        """Until now, since the processes started."""
        used = Used(processes=self._cluster.cpu_s())
        for pid, of in self._roles.items():
            for task in Path(f"/proc/{pid}/task").iterdir():
                group = self._groups.get((pid, int(task.name)), Group(of, OTHER_THREADS))
                try:
                    fields = (task / "stat").read_text().rpartition(")")[2].split()
                    precise = (task / "schedstat").read_text().split()[0]
                except FileNotFoundError:
                    continue  # the thread ended meanwhile
                used.threads[group] += int(precise) / 1e9
                used.system[group] += int(fields[12]) / CLOCK_TICKS_PER_S
        return used


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a sample was: the part of the store, and the innermost function."""

    category: str
    function: str


def spot(stack: list[Frame], of: str) -> Spot:
    """Of a stack of a process of role `of`."""
    function = f"{place(stack[0][0])} {stack[0][1]}" if stack else "no Python"
    return Spot(category([file for file, _ in stack], of), function)


def stacks(lines: Iterator[str]) -> Iterator[list[Frame]]:
    """The frames of each stack that faulthandler wrote, innermost first."""
    frames: list[Frame] = []
    begun = False
    for line in lines:
        if line.startswith(STACK):
            if begun:
                yield frames
            frames, begun = [], True
        elif match := FRAME.match(line):
            frames.append((match[1], match[2]))
    if begun:
        yield frames


@dataclass(slots=True)
class Spending:
    """Where a kind of request spends, over several slices of time: what was used in those without sampling, split by what samples
    saw in those with it.
    """

    requests: int = 0
    used: Used = field(default_factory=Used)
    sampled_requests: int = 0
    sampled_used: Used = field(default_factory=Used)
    seen: dict[Group, Counter[Spot]] = field(default_factory=lambda: defaultdict(Counter))

    @property
    def samples(self) -> int:
        """How many samples."""
        return sum(sum(counts.values()) for counts in self.seen.values())

    @property
    def total_us(self) -> float:
        """CPU µs per request, of all threads."""
        return sum(self.used.threads.values()) / self.requests * 1e6

    @property
    def processes_us(self) -> float:
        """The same by the clocks of the processes, which count in hundredths of a second."""
        return self.used.processes / self.requests * 1e6

    @property
    def sampled_us(self) -> float:
        """CPU µs per request while sampled."""
        return sum(self.sampled_used.threads.values()) / self.sampled_requests * 1e6

    def spread(self) -> dict[tuple[Group, Spot], float]:
        """CPU µs per request; they sum to `total_us`. Threads that were never seen, since they did next to nothing, are rest."""
        found = {}
        for group, seconds in self.used.threads.items():
            counts = self.seen.get(group) or Counter({Spot(LOOP, "never seen"): 1})
            for one, count in counts.items():
                found[group, one] = seconds / self.requests * 1e6 * count / sum(counts.values())
        return found

    def by_category(self) -> dict[str, float]:
        """CPU µs per request of each part of the store."""
        found = dict.fromkeys(ORDER, 0.0)
        for (_, one), microseconds in self.spread().items():
            found[one.category] += microseconds
        return found

    def by_function(self) -> list[tuple[float, str]]:
        """CPU µs per request of functions themselves, the dearest first, with the role of the process."""
        found: Counter[str] = Counter()
        for (group, one), microseconds in self.spread().items():
            found[f"{group.role}: {one.function}"] += microseconds  # type: ignore[assignment]
        return sorted(((microseconds, name) for name, microseconds in found.items()), reverse=True)
