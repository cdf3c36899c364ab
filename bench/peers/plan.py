"""The measurement: every kind of work for each side in turn, over several rounds, with all sides running throughout."""

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import cycle, islice

from bench.peers.accounting import Memory, calibrate, memory
from bench.peers.dialects import Body
from bench.peers.load import Client, Load, Result, WrongAnswer
from bench.peers.meter import Meter
from bench.peers.processes import NotStarted
from bench.peers.sides import Server, Side
from bench.peers.works import MIB, SMALL, Scale, Work

OBJECTS, SCRATCH = "bench", "work"
SETTLED_LOOKS, SETTLED_RATE = 4, 0.2
LOADERS = 32
WARM = 40
LOAD_BATCH = 1000
SAY_S = 10.0
ATTEMPTS, ATTEMPT_PAUSE_S = 4, 5.0
LOAD_SECONDS_MAX = 3600.0
BIG_SECONDS_MAX = 300.0
DELETED = (204,)
FOUND = (200,)
CONTAINER_MADE = (200, 201, 202)


@dataclass(slots=True)
class Figures:
    """Everything that a run found, by plain values, so that it can be written to a file and read again."""

    slices: dict[str, dict[str, list[dict[str, float]]]] = field(default_factory=dict)
    """Work -> side -> one entry for each round."""
    failures: dict[str, dict[str, str]] = field(default_factory=dict)
    """Work -> side -> why there is no figure."""
    idle: dict[str, float] = field(default_factory=dict)
    """Server -> CPU seconds per second when nothing is asked, before the first load."""
    other_idle: float = 0.0
    """The same of what belongs to no side."""
    memory: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)
    """Server -> `idle`, `end` -> bytes."""
    requests: dict[str, int] = field(default_factory=dict)
    """Server -> requests answered in all."""
    calibration: list[float] = field(default_factory=list)


class Bench:
    """One run."""

    def __init__(
        self, sides: list[Side], client: Client, scale: Scale, wanted: Callable[[Work], bool], say: Callable[[str], None]
    ) -> None:
        self._sides = sides
        self._servers: dict[str, Server] = {side.server.name: side.server for side in sides}
        self._client = client
        self._scale = scale
        self._wanted = wanted
        self._say = say
        self._meter = Meter(self._servers.values())
        self._random = random.Random(scale.keys)
        self._made: dict[tuple[str, int, int], list[str]] = {}
        self._done = 0
        self.figures = Figures()

    def run(self, keep: Callable[[], None]) -> None:
        """Everything, from servers that have just started; `keep` is called after each round, when there are new figures."""
        self._say("waiting until all are idle ...")
        self._settle(self._scale.settle_s / 4)
        self._measure_memory("idle")
        with ThreadPoolExecutor(len(self._servers)) as pool:
            list(pool.map(self._fill, self._servers.values()))
        self._say("waiting until all are idle ...")
        self._settle(self._scale.settle_s)
        self._measure_idle()
        stages = [[group for group in stage if any(map(self._wanted, group))] for stage in self._scale.stages()]
        total = self._scale.rounds * len(self._sides) * sum(len(group) for stage in stages for group in stage)
        for stage in stages:
            for turn in range(self._scale.rounds if stage else 0):
                self.figures.calibration.append(calibrate())
                for group in stage:
                    self._measure_group(group, turn, total)
                keep()
        self.figures.calibration.append(calibrate())
        self._measure_memory("end")
        for server in self._servers.values():
            try:
                server.check()
            except NotStarted as failure:
                self.figures.failures.setdefault("processes", {})[server.name] = str(failure)

    def _measure_group(self, group: list[Work], turn: int, total: int) -> None:
        """Every work, side after side; who is first changes from round to round."""
        for work in group:
            for place in range(len(self._sides)):
                self._measure(self._sides[(place + turn) % len(self._sides)], work, turn, total)
        self._forget(group[0])

    def _settle(self, longest_s: float) -> None:
        """Wait for the start, or the filling, to be over."""
        self._meter.wait_quiet(list(self._servers), longest_s, SETTLED_LOOKS, SETTLED_RATE)

    def _measure_idle(self) -> None:
        """What each uses when nothing is asked, with everything in it that is there to be audited and replicated."""
        self._meter.watch_idle(self._scale.idle_s)
        self.figures.other_idle = self._meter.other_rate
        for name, server in self._servers.items():
            self.figures.idle[name] = self._meter.idle(name).cpu
            self._say(f"idle: {server.title:18} {self.figures.idle[name] * 100:6.2f} % of a core")

    def _measure_memory(self, when: str) -> None:
        for name, server in self._servers.items():
            found: Memory = memory(server.roots())
            values = {"pss": found.pss, "rss": found.rss, "processes": found.processes}
            self.figures.memory.setdefault(name, {})[when] = values
            self._say(f"memory, {when}: {server.title:18} {found.pss / 2**20:6.0f} MiB in {found.processes} processes")

    def _fill(self, server: Server) -> None:
        """Containers, the objects to be read and the names to be listed, once for each server; each API is used once."""
        sides = [side for side in self._sides if side.server is server]
        for container in (OBJECTS, SCRATCH, *(f"names-{count}" for count in self._scale.listings)):
            head = sides[0].dialect.head("PUT", container)
            self._send(sides[0], f"container {container}", 1, 60.0, Load([head], CONTAINER_MADE))
        self._put_many(sides[0], OBJECTS, [object_key(number) for number in range(self._scale.keys)], SMALL)
        for count in self._scale.listings:
            self._put_many(sides[0], f"names-{count}", [f"name-{number:06d}" for number in range(count)], 0)
        for side in sides:
            self._put_many(side, SCRATCH, [f"{side.name}-warm-{number}" for number in range(WARM)], SMALL)

    def _put_many(self, side: Side, container: str, keys: list[str], size: int) -> None:
        started = said = time.monotonic()
        body = self._client.body(size)
        for at in range(0, len(keys), LOAD_BATCH):
            batch = keys[at : at + LOAD_BATCH]
            self._put_batch(side, container, batch, body)
            done = at + len(batch)
            now = time.monotonic()
            rate = done / (now - started)
            if done == len(keys) or now - said > SAY_S:
                said = now
                self._say(f"filling: {side.title:18} {container:12} {done:7,} of {len(keys):,}   {rate:6.0f}/s")

    def _put_batch(self, side: Side, container: str, keys: list[str], body: Body) -> None:
        """Put these, the whole batch again after a refusal: a long preparation is not to end for one. Raises WrongAnswer."""
        what = f"filling {container}"
        for attempt in range(1, ATTEMPTS + 1):
            heads = [side.dialect.head("PUT", container, key, body) for key in keys]
            load = Load(heads, (*side.dialect.made, *side.dialect.overwritten), sent=body)
            try:
                result = self._send(side, what, LOADERS, LOAD_SECONDS_MAX, load)
            except WrongAnswer as refusal:
                if attempt == ATTEMPTS:
                    raise
                self._say(f"{refusal}; once more")
                time.sleep(ATTEMPT_PAUSE_S)
                continue
            if result.requests != len(keys):
                raise WrongAnswer(f"{side.title}: {what}: {result.requests} of {len(keys)} objects came to be")
            return

    def _send(self, side: Side, what: str, connections: int, seconds: float, load: Load) -> Result:
        result = self._client.run(f"{side.title}: {what}", side.dialect.port, connections, seconds, load)
        name = side.server.name
        self.figures.requests[name] = self.figures.requests.get(name, 0) + result.requests
        return result

    def _measure(self, side: Side, work: Work, turn: int, total: int) -> None:
        """One load of one side, written down; a failure is written down as such, and the others go on."""
        self._done += 1
        label = f"[{self._done}/{total}] {work.label:16} x{work.connections:<3} {side.title:18}"
        try:
            keys = self._keys(side, work, turn)
            load, pages = self._load(side, work, keys)
            if not load.heads:
                raise WrongAnswer("there is no object to ask for, since PUT failed")
            figure = self._slice(side, work, load, pages)
        except WrongAnswer as failure:
            self.figures.failures.setdefault(work.key, {})[side.name] = str(failure)
            self._say(f"{label} FAILED: {failure}")
            return
        if work.kind == "put":
            self._made[side.name, work.size, work.connections] = keys[: int(figure["requests"])]
        if self._wanted(work):
            self.figures.slices.setdefault(work.key, {}).setdefault(side.name, []).append(figure)
        self._say(
            f"{label} {figure['rate']:9.1f}/s   p50 {figure['p50_s'] * 1e3:8.2f}   p99 {figure['p99_s'] * 1e3:8.2f} ms   "
            f"{figure['cpu_us']:10.0f} CPU µs   ({figure['requests']:.0f}{'' if figure['quiet'] else ', not quiet'})"
        )

    def _slice(self, side: Side, work: Work, load: Load, pages: int) -> dict[str, float]:
        """The load, then the wait for what it left behind; the idle rate over that time is subtracted."""
        name = side.server.name
        seconds = BIG_SECONDS_MAX if work.size == self._scale.big else self._scale.seconds
        before = self._meter.take(name)
        idle = self._meter.idle(name)
        try:
            result = self._send(side, work.label, work.connections, seconds, load)
            quiet = self._meter.wait_quiet([name], self._scale.quiet(work), self._scale.looks(work))
        finally:
            after = self._meter.leave(name)
        elapsed = after.at - before.at
        used = {server: after.cpu[server] - before.cpu[server] for server in self._servers}
        daemons = after.daemons[name] - before.daemons[name]
        others = sum(used.values()) - used[name]
        rest = others + result.client_cpu_s + (self._meter.other_rate + idle.cpu) * elapsed
        cpu = {
            "cpu_us": used[name] - idle.cpu * elapsed,
            "serving_us": used[name] - daemons - (idle.cpu - idle.daemons) * elapsed,
            "machine_us": after.machine - before.machine - rest,
        }
        count = max(1, result.requests) / pages
        found = {**result.as_dict(), "requests": result.requests / pages, "rate": result.rate / pages, "pages": pages}
        per_request = {key: value / count * 1e6 for key, value in cpu.items()}  # below nothing: lost in the noise of what is idle
        return {**found, **per_request, "quiet": float(quiet), "elapsed_s": elapsed, "idle_rate": idle.cpu}

    def _keys(self, side: Side, work: Work, turn: int) -> list[str]:
        """The keys that are asked for, in order. Reads of small objects go over all that were filled in, in a random order."""
        count = 1 if work.size == self._scale.big else self._scale.count(work.size)
        if work.kind == "put":
            return [f"{side.name}-{work.size}-{work.connections}-{turn}-{number:06d}" for number in range(count)]
        if work.kind in ("get", "head") and work.size == SMALL:
            return [object_key(self._random.randrange(self._scale.keys)) for _ in range(count)]
        made = self._made.get((side.name, work.size, work.connections), [])
        return made if work.kind == "delete" else list(islice(cycle(made), count))

    def _load(self, side: Side, work: Work, keys: list[str]) -> tuple[Load, int]:
        """The requests, and how many of them make one (pages of a listing)."""
        dialect = side.dialect
        if work.kind == "list":
            names = [f"name-{number:06d}" for number in range(work.size)]
            pages = dialect.listing(f"names-{work.size}", names)
            return Load(pages * (self._scale.count(MIB) * 10 // len(pages) + 1), FOUND), len(pages)
        container = OBJECTS if work.kind in ("get", "head") and work.size == SMALL else SCRATCH
        body = self._client.body(work.size)
        sent = body if work.kind in ("put", "overwrite") else None
        method = "PUT" if sent else work.kind.upper()
        heads = [dialect.head(method, container, key, sent) for key in keys]
        statuses = {"put": dialect.made, "overwrite": dialect.overwritten, "delete": DELETED}.get(work.kind, FOUND)
        return Load(heads, statuses, sent=sent, wanted=body if work.kind == "get" else None), 1

    def _forget(self, work: Work) -> None:
        """Delete what a large object left, so that the disk has room for the next."""
        for side in self._sides:
            keys = self._made.pop((side.name, work.size, work.connections), [])
            if work.size == self._scale.big and keys:
                heads = [side.dialect.head("DELETE", SCRATCH, key) for key in keys]
                try:
                    self._send(side, "deleting", 1, BIG_SECONDS_MAX, Load(heads, DELETED))
                except WrongAnswer as failure:
                    self._say(str(failure))


def object_key(number: int) -> str:
    """The key of an object that is there to be read."""
    return f"object-{number:07d}"
