"""Random faults under load: the cluster is broken and healed again and again while clients work, then judged.

python -m objstore.testing.thrash --seed 7 --runs 3
"""

import argparse
import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from objstore.testing import checkers
from objstore.testing.atlas import DAMAGING, PASSING, Fault, Scene
from objstore.testing.cluster import Cluster
from objstore.testing.failures import ClusterError
from objstore.testing.history import History, Operation
from objstore.testing.load import Load

AMBIGUOUS_MAX = 0.25
"""With more operations of unknown outcome a run says too little. Faults that leave no majority make many: each refusal is one."""
CONTAINER = "load"
VIOLATIONS_SHOWN = 20
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
    kept: str = ""
    """Where history and logs of a run with violations are."""

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
            *(f"    {line}" for line in self.violations[:VIOLATIONS_SHOWN]),
            *([f"  history and logs: {self.kept}"] if self.kept else []),
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
        account = self.cluster.storage_url.rpartition("/v1/")[2]
        urls = [f"{endpoint}/v1/{account}" for endpoint in self.cluster.endpoints]
        load = Load(urls, self.cluster.token, CONTAINER, self.clients, self.keys, self.seed)
        await load.start()
        try:
            for number, (kind, victim) in enumerate(planned(self.seed, self.windows, self.kinds, self.cluster.nodes)):
                result.plan.append(f"{kind} of {victim}")
                result.faults[kind] += 1
                rng = random.Random(f"{self.seed} {number}")  # noqa: S311 - a run that can be repeated
                await self._window(load, kind, Scene(self.cluster, victim, rng), result)
            await load.pause()
            await self._settle(result)
            await self._judge(load, result)
        except ClusterError as error:  # it did not come to rest
            result.violations += str(error).splitlines()
        finally:
            await load.stop()
        result.took_s = time.monotonic() - started
        result.add(load.history)
        if result.violations:
            self._keep(load.history, result)
        if result.ambiguous > AMBIGUOUS_MAX:
            result.violations.append(f"{100 * result.ambiguous:.1f} % of all operations are of unknown outcome: too many to judge")
        return result

    async def _window(self, load: Load, kind: str, scene: Scene, result: Result) -> None:
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
            await asyncio.sleep(scene.rng.random() * self.window_s / 2)

    def _keep(self, history: History, result: Result) -> None:
        """For whoever looks into it: what clients saw, and the cluster's files with the logs of all nodes."""
        self.cluster.keep()
        result.kept = self.cluster.directory
        with open(f"{result.kept}/history.jsonl", "w") as file:
            file.writelines(f"{line}\n" for line in history.lines())

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


def planned(seed: int, windows: int, kinds: Iterable[str], nodes: Sequence[str]) -> list[tuple[str, str]]:
    """The faults of a run and their victims, in order."""
    rng = random.Random(seed)  # noqa: S311 - a run that can be repeated
    names = sorted(kinds)
    return [(rng.choice(names), rng.choice(nodes)) for _ in range(windows)]


def judged(history: History, last: Operation) -> list[str]:
    """What the history proves wrong; `last` is the listing after everything came to rest."""
    lines = [*checkers.registers(history), *checkers.listings(history, strict=[last]).problems]
    unread = [one for one in history.operations if one.client < 0 and not one.known]
    return lines + [f"at rest, {one.kind.upper()} of {one.key!r} answered {one.what}" for one in unread]


async def run_once(seed: int, windows: int, window_s: float, kinds: Mapping[str, Fault] | None = None) -> Result:
    """A cluster of its own for one run, with all kinds of faults unless some are given."""
    async with Cluster(nodes=4, devices=2, proxies=2, daemons=True, settings=SETTINGS, seed=seed) as cluster:
        return await Thrash(cluster, seed, windows, window_s, kinds=kinds or {**PASSING, **DAMAGING}).run()


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
