"""Reads what all sides use at once, and knows at what rate each uses CPU while nothing is asked of it.

That rate is subtracted from what a load used, for each side alike. It is not one figure for the whole run: stores that audit and
replicate have more to do the more they hold, and some do it in bursts. So each side's rate is that of the last minutes in which it
was left alone, while the others were measured. It is the median over the stretches of that time, as the figures are medians over
rounds, so that a burst counts in neither.
"""

import statistics
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from bench.cluster import scan
from bench.peers.accounting import cpu_s, machine_cpu_s
from bench.peers.sides import Server

WINDOW_S = 180.0
QUIET_RATE = 0.04
"""CPU seconds per second above the idle rate that still count as idle: one tick of the clock within one look."""
QUIET_TIMES = 1.5
LOOK_S = 0.25
STRETCH_S = 1.0


@dataclass(frozen=True, slots=True)
class Reading:
    """CPU seconds until one moment: of the machine, and by server of all its processes and of its separate daemons."""

    at: float
    machine: float
    cpu: dict[str, float]
    daemons: dict[str, float]


@dataclass(frozen=True, slots=True)
class Rates:
    """CPU seconds per second while nothing is asked."""

    cpu: float = 0.0
    daemons: float = 0.0


@dataclass(slots=True)
class Window:
    """The last stretches of time in which a server was left alone: seconds, CPU, CPU of daemons."""

    stretches: deque[tuple[float, float, float]] = field(default_factory=deque)

    def add(self, seconds: float, cpu: float, daemons: float) -> None:
        """One more; what is long ago is forgotten."""
        self.stretches.append((seconds, cpu, daemons))
        while len(self.stretches) > 1 and sum(one[0] for one in self.stretches) - self.stretches[0][0] > WINDOW_S:
            self.stretches.popleft()

    def rates(self) -> Rates:
        """The medians over all of them."""
        if not self.stretches:
            return Rates()
        cpu = statistics.median(cpu / seconds for seconds, cpu, _ in self.stretches)
        return Rates(cpu, statistics.median(daemons / seconds for seconds, _, daemons in self.stretches))


class Meter:
    """Of all servers of a run."""

    def __init__(self, servers: Iterable[Server]) -> None:
        self._servers = list(servers)
        self._idle = {server.name: Window() for server in self._servers}
        self._left: dict[str, Reading] = {}
        self.other_rate = 0.0
        """CPU seconds per second of what belongs to no side, when nothing is asked: the rest of the machine."""

    def read(self) -> Reading:
        """Now."""
        processes = scan()
        cpu = {server.name: cpu_s(server.roots(), processes) for server in self._servers}
        daemons = {server.name: cpu_s(server.daemons(), processes) for server in self._servers}
        return Reading(time.monotonic(), machine_cpu_s(), cpu, daemons)

    def idle(self, name: str) -> Rates:
        """Of a server, in the last minutes in which it was left alone."""
        return self._idle[name].rates()

    def take(self, name: str) -> Reading:
        """From now on something is asked of this server."""
        reading = self.read()
        before = self._left.pop(name, None)
        if before and reading.at - before.at > LOOK_S:
            cpu, daemons = reading.cpu[name] - before.cpu[name], reading.daemons[name] - before.daemons[name]
            self._idle[name].add(reading.at - before.at, cpu, daemons)
        return reading

    def leave(self, name: str) -> Reading:
        """Until now something was asked of it."""
        reading = self._left[name] = self.read()
        return reading

    def watch_idle(self, seconds: float) -> None:
        """Begin with a stretch in which all are left alone."""
        now = before = self.read()
        for server in self._servers:
            self._left[server.name] = before
        while now.at - before.at < seconds:
            time.sleep(STRETCH_S)
            for server in self._servers:
                now = self.take(server.name)
                self._left[server.name] = now
        known = sum(now.cpu.values()) - sum(before.cpu.values())
        self.other_rate = max(0.0, now.machine - before.machine - known) / (now.at - before.at)

    def wait_quiet(self, names: list[str], longest_s: float, looks: int, rate: float | None = None) -> bool:
        """Wait until these use no more CPU than when idle (or than `rate`), for at most `longest_s`; whether that came.

        What a request leaves behind (rows to be written, files to be synced) is work for that request, done after its answer.
        `looks` in a row must be quiet, since a process may wait for a disk, or for more of the same work, in between.
        """
        limit = (sum(self.idle(name).cpu for name in names) if rate is None else rate) * QUIET_TIMES + QUIET_RATE
        deadline = time.monotonic() + longest_s
        last, quiet = self.read(), 0
        while time.monotonic() < deadline:
            time.sleep(LOOK_S)
            now = self.read()
            used = sum(now.cpu[name] - last.cpu[name] for name in names) / (now.at - last.at)
            quiet = quiet + 1 if used <= limit else 0
            if quiet >= looks:
                return True
            last = now
        return False
