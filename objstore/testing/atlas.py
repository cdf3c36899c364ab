"""The fault atlas of random runs: what may happen to a cluster, and what it must survive.

No more than one copy of a datum is ever damaged. What damages a copy for good (a flipped bit, a lost disk) or moves copies (a
ring change) happens when every copy is good, on one node, and the next fault comes when it is so again. Of what only comes late, or
cannot be reached, there may be any number: requests may then be refused, but nothing may be forgotten or made up.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from objstore.testing.cluster import Cluster
from objstore.testing.failures import ClusterError
from objstore.testing.holdings import Replica
from objstore.testing.snapshot import Copy

SKEW_S = 8.0
ABSENT_S = 1.0
SPOILED_MAX = 3


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
    def two(self) -> list[str]:
        """The victim and another one."""
        return [self.victim, self.rng.choice([name for name in self.cluster.nodes if name != self.victim])]

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


async def _kill_two(scene: Scene) -> None:
    await scene.cluster.kill(scene.two)


async def _pause_two(scene: Scene) -> None:
    await scene.cluster.pause(scene.two)


async def _split(scene: Scene) -> None:
    """Two halves, each with a proxy: no half may serve what the other one changes."""
    nodes, proxies = scene.cluster.nodes, scene.cluster.proxies
    half = [*scene.two, *proxies[:1]]
    await scene.cluster.partition(half, [name for name in (*nodes, *proxies) if name not in half])


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


async def _rot_of_the_newest(scene: Scene) -> None:
    """A node is cut off and misses changes; bits flip in one of the two copies that others have of them. Then it is back, and the
    node that holds the other copy is cut off: what the two still hold must not be taken for the truth.
    """
    cluster, victim = scene.cluster, scene.victim
    absent, good = scene.rng.sample([name for name in cluster.nodes if name != victim], 2)
    everyone = [*cluster.nodes, *cluster.proxies]
    await cluster.partition(absent, [name for name in everyone if name != absent], refuse=True)
    await asyncio.sleep(ABSENT_S)
    names = [thing.name for thing in (await cluster.snapshot()).named("object").values()]
    spoiled = 0
    for name in scene.rng.sample(names, len(names)):
        newest = _missed_by(cluster.replicas(name), absent, victim, good)
        if newest is None or spoiled == SPOILED_MAX:
            continue
        part = "data" if newest.size and scene.rng.random() < 0.5 else "metadata"
        try:
            cluster.corrupt(name, newest, part="data" if part == "data" else "metadata")
            spoiled += 1
        except (ClusterError, FileNotFoundError):  # a client has just replaced it
            continue
    await cluster.heal()
    await cluster.partition(good, [name for name in everyone if name != good], refuse=True)


def _missed_by(replicas: list[Replica], absent: str, victim: str, good: str) -> Replica | None:
    """The victim's newest file of an object, if `good` has the same and the absent node an older one, or none."""
    newest: dict[str, Replica] = {}
    for one in replicas:
        if one.primary is not None and (one.node not in newest or one.timestamp > newest[one.node].timestamp):
            newest[one.node] = one
    if victim not in newest or good not in newest:
        return None
    ours, theirs = newest[victim], newest[good]
    if (ours.timestamp, ours.kind) != (theirs.timestamp, theirs.kind):
        return None
    return ours if absent not in newest or newest[absent].timestamp < ours.timestamp else None


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
    "two killed": _kill_two,
    "two paused": _pause_two,
    "split": _split,
    "everything": _everything,
}
"""They harm no copy: one may follow the other."""
DAMAGING: Mapping[str, Fault] = {
    "bit rot": _rot,
    "rot of the newest": _rot_of_the_newest,
    "lost disk": _lose,
    "ring change": _rings,
}
"""Before and after each of them all copies are good. (What another node has missed is not damaged.)"""
