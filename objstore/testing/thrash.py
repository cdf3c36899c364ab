"""Random faults under load: the cluster is broken and healed again and again while clients work, then judged.

The fault atlas: within a window only one storage node is touched, so that no datum has more than one copy out of reach, late or
damaged. What damages a copy for good (a flipped bit, a lost disk) or moves copies (a ring change) happens when every copy is good,
and the next window begins when it is so again.

    python -m objstore.testing.thrash --seed 7 --windows 6
"""

import argparse
import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from objstore.testing import checkers
from objstore.testing.cluster import Cluster
from objstore.testing.failures import ClusterError
from objstore.testing.history import History, Operation
from objstore.testing.load import Load
from objstore.testing.snapshot import Copy

AMBIGUOUS_MAX = 0.05
CONTAINER = "load"
SKEW_S = 8.0
SETTINGS: dict[str, dict[str, object]] = {
    "proxy": {"node_timeout_s": 1.0, "drain_timeout_s": 2.0},
    "daemons": {
        "object_replicator_interval_s": 1.0,
        "container_replicator_interval_s": 1.0,
        "account_replicator_interval_s": 2.0,
        "object_updater_interval_s": 0.5,
        "object_auditor_interval_s": 2.0,
        "container_auditor_interval_s": 5.0,
        "account_auditor_interval_s": 5.0,
    },
}
"""Background jobs run by themselves, and often."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What a fault may use: the cluster, its victim, and the choices of this run."""

    cluster: Cluster
    victim: str
    rng: random.Random

    @property
    def others(self) -> list[str]:
        return [name for name in (*self.cluster.nodes, *self.cluster.proxies) if name != self.victim]

    @property
    def device(self) -> str:
        return self.rng.choice([f"d{number}" for number in range(1, self.cluster.shape.devices + 1)])


Fault = Callable[[Scene], Awaitable[None]]


async def _kill(scene: Scene) -> None:
    await scene.cluster.kill(scene.victim)


async def _flap(scene: Scene) -> None:
    for _ in range(2):
        await scene.cluster.kill(scene.victim)
        await scene.cluster.restart(scene.victim)


async def _terminate(scene: Scene) -> None:
    await scene.cluster.terminate(scene.victim)


async def _pause(scene: Scene) -> None:
    await scene.cluster.pause(scene.victim)


async def _partition(scene: Scene) -> None:
    await scene.cluster.partition(scene.victim, scene.others, refuse=scene.rng.random() < 0.5)


async def _deaf(scene: Scene) -> None:
    await scene.cluster.partition(scene.others, scene.victim, one_way=True)


async def _mute(scene: Scene) -> None:
    await scene.cluster.partition(scene.victim, scene.others, one_way=True)


async def _delay(scene: Scene) -> None:
    await scene.cluster.delay(scene.victim, scene.others, scene.rng.choice((0.02, 0.2, 0.7)))


async def _narrow(scene: Scene) -> None:
    await scene.cluster.bandwidth(scene.victim, scene.others, 200_000)


async def _cut(scene: Scene) -> None:
    for _ in range(4):
        await scene.cluster.cut(scene.victim, scene.others, scene.rng.randrange(100_000), connections=3)
        await asyncio.sleep(0.3)


async def _flip(scene: Scene) -> None:
    for _ in range(4):
        await scene.cluster.flip(scene.victim, scene.others, scene.rng.randrange(100_000), connections=3)
        await asyncio.sleep(0.3)


async def _full(scene: Scene) -> None:
    await scene.cluster.fill_disk(scene.victim, scene.device)


async def _slow(scene: Scene) -> None:
    await scene.cluster.slow_disk(scene.victim, scene.device, scene.rng.choice((0.05, 0.5)))


async def _unmount(scene: Scene) -> None:
    await scene.cluster.remove_disk(scene.victim, scene.device)


async def _sync_fails(scene: Scene) -> None:
    await scene.cluster.fail_disk(scene.victim, scene.device, "sync", nth=scene.rng.randrange(1, 20))


async def _clock(scene: Scene) -> None:
    name = scene.rng.choice([scene.victim, *scene.cluster.proxies])
    await scene.cluster.skew_clock(name, scene.rng.choice((-SKEW_S, SKEW_S)))


async def _proxy(scene: Scene) -> None:
    name = scene.rng.choice(scene.cluster.proxies)
    await scene.cluster.kill(name)
    await scene.cluster.restart(name)


async def _everything(scene: Scene) -> None:
    await scene.cluster.kill([*scene.cluster.nodes, *scene.cluster.proxies])
    await scene.cluster.restart([*scene.cluster.nodes, *scene.cluster.proxies])


async def _rot(scene: Scene) -> None:
    """A bit flips in each of a few of the victim's copies."""
    things = (await scene.cluster.snapshot()).named("object")
    names = sorted(name for name, thing in things.items() if thing.version is not None and _holds(thing.copies, scene.victim))
    for name in scene.rng.sample(names, min(3, len(names))):
        part = scene.rng.choice(("data", "metadata"))
        try:
            scene.cluster.corrupt(name, scene.victim, part="data" if part == "data" else "metadata")
        except (ClusterError, FileNotFoundError):  # a client has just replaced it
            continue


def _holds(copies: list[Copy], node: str) -> bool:
    return any(copy.node == node for copy in copies)


async def _lose(scene: Scene) -> None:
    await scene.cluster.replace_disk(scene.victim, scene.device)


async def _rings(scene: Scene) -> None:
    await scene.cluster.set_weight(scene.victim, scene.device, scene.rng.choice((20.0, 60.0, 150.0)))


PASSING: Mapping[str, Fault] = {
    "kill": _kill,
    "flap": _flap,
    "terminate": _terminate,
    "pause": _pause,
    "partition": _partition,
    "deaf": _deaf,
    "mute": _mute,
    "delay": _delay,
    "narrow": _narrow,
    "cut": _cut,
    "flip on the wire": _flip,
    "full disk": _full,
    "slow disk": _slow,
    "unmounted disk": _unmount,
    "failed sync": _sync_fails,
    "clock": _clock,
    "proxy": _proxy,
    "everything": _everything,
}
"""They harm no copy: one may follow the other."""
DAMAGING: Mapping[str, Fault] = {"bit rot": _rot, "lost disk": _lose, "ring change": _rings}
"""Before and after each of them all copies are good."""


@dataclass(slots=True)
class Result:
    """What a run did and found."""

    seed: int
    plan: list[str] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    ambiguous: float = 0.0
    stale_listings: int = 0
    stale_s_max: float = 0.0
    settle_s: list[float] = field(default_factory=list)
    took_s: float = 0.0
    violations: list[str] = field(default_factory=list)

    def add(self, history: History) -> None:
        """The figures of what clients did."""
        self.operations.update(one.kind for one in history.operations)
        self.acknowledged = sum(one.outcome == "ok" for one in history.of("put", "post", "delete"))
        self.ambiguous = history.ambiguous
        behind = checkers.listings(history, strict=[])
        self.stale_listings, self.stale_s_max = behind.stale, behind.stale_s_max

    def lines(self) -> list[str]:
        """For a reader."""
        faults = ", ".join(f"{name} {count}" for name, count in sorted(self.faults.items()))
        operations = ", ".join(f"{name} {count}" for name, count in sorted(self.operations.items()))
        return [
            f"seed {self.seed}: {sum(self.operations.values())} operations ({operations}), of which {self.acknowledged} changes"
            f" acknowledged and {100 * self.ambiguous:.1f} % of unknown outcome, in {self.took_s:.1f} s",
            f"  {sum(self.faults.values())} faults: {faults}",
            f"  settled in {max(self.settle_s, default=0.0):.1f} s at most; listings behind under faults: {self.stale_listings}, by"
            f" {self.stale_s_max:.1f} s at most",
            f"  {len(self.violations)} violations",
            *(f"    {line}" for line in self.violations[:20]),
        ]


@dataclass(slots=True)
class Thrash:
    """One run. The same seed chooses the same faults and operations; when they meet is up to the machine."""

    cluster: Cluster
    seed: int
    windows: int = 6
    window_s: float = 2.0
    settle_timeout_s: float = 60.0
    clients: int = 5
    keys: int = 16
    kinds: Mapping[str, Fault] = field(default_factory=lambda: {**PASSING, **DAMAGING})

    async def run(self) -> Result:
        """Load and faults, then rest, then the judgement."""
        result, started = Result(self.seed), time.monotonic()
        rng = random.Random(self.seed)  # noqa: S311 - a run that can be repeated
        account = self.cluster.storage_url.rpartition("/v1/")[2]
        urls = [f"{endpoint}/v1/{account}" for endpoint in self.cluster.endpoints]
        load = Load(urls, self.cluster.token, CONTAINER, self.clients, self.keys, self.seed)
        await load.start()
        try:
            for _ in range(self.windows):
                await self._window(load, rng, result)
            await load.pause()
            await self._settle(result)
            await self._judge(load, result)
        except ClusterError as error:  # it did not come to rest
            result.violations += str(error).splitlines()
        finally:
            await load.stop()
        result.took_s = time.monotonic() - started
        result.add(load.history)
        return result

    async def _window(self, load: Load, rng: random.Random, result: Result) -> None:
        kind = rng.choice(sorted(self.kinds))
        scene = Scene(self.cluster, rng.choice(self.cluster.nodes), rng)
        result.plan.append(f"{kind} of {scene.victim}")
        result.faults[kind] += 1
        if kind in DAMAGING:
            await load.pause()
            await self._settle(result)
            load.resume()
        ends_at = time.monotonic() + self.window_s
        await self.kinds[kind](scene)
        await asyncio.sleep(max(0.0, ends_at - time.monotonic()))
        await self.cluster.restore()
        if kind in DAMAGING:
            await load.pause()
            await self._settle(result)
            load.resume()
        else:
            await asyncio.sleep(rng.random() * self.window_s / 2)

    async def _settle(self, result: Result) -> None:
        started = time.monotonic()
        await self.cluster.settle(self.settle_timeout_s)
        result.settle_s.append(time.monotonic() - started)

    async def _judge(self, load: Load, result: Result) -> None:
        """Everything is at rest: read all, compare all."""
        listing = await load.read_all()
        rows, told = await load.told()
        snapshot = await self.cluster.snapshot()
        result.violations += judged(load.history, listing)
        result.violations += checkers.counts(f"container {CONTAINER}", rows, told)
        result.violations += checkers.unsettled(snapshot)
        result.violations += checkers.rows_and_objects(snapshot)


def judged(history: History, last: Operation) -> list[str]:
    """What the history proves wrong; `last` is the listing after everything came to rest."""
    lines = [*checkers.registers(history), *checkers.listings(history, strict=[last]).problems]
    unread = [one for one in history.operations if one.client < 0 and not one.known]
    return lines + [f"at rest, {one.kind.upper()} of {one.key!r} answered {one.what}" for one in unread]


async def run_once(seed: int, windows: int, window_s: float) -> Result:
    """A cluster of its own for one run."""
    async with Cluster(nodes=4, devices=2, proxies=2, daemons=True, settings=SETTINGS, seed=seed) as cluster:
        return await Thrash(cluster, seed, windows, window_s).run()


def main(arguments: list[str] | None = None) -> int:
    """Runs with seeds that follow each other; the exit code is 1 when one of them found a violation."""
    parser = argparse.ArgumentParser(prog="objstore.testing.thrash", description="Random faults under load, then the judgement.")
    parser.add_argument("--seed", type=int, default=1, help="of the first run")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--windows", type=int, default=6, help="faults in each run")
    parser.add_argument("--window-s", type=float, default=2.0, help="how long each of them lasts")
    options = parser.parse_args(arguments)
    failed = 0
    for seed in range(options.seed, options.seed + options.runs):
        result = asyncio.run(run_once(seed, options.windows, options.window_s))
        print(*result.lines(), sep="\n", flush=True)  # noqa: T201 - a command's output
        failed += bool(result.violations)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
