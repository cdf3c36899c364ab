"""Random histories of one object that several proxies change at the same time, under conditions and without, while replicas hang,
lose answers or refuse: what the clients were told could have happened one after the other.

`OBJSTORE_RACING_SEEDS=100:300` runs other histories.
"""

import asyncio
import hashlib
import itertools
import os
import random
from dataclasses import replace
from pathlib import Path

import pytest

from objstore.formats.messages import DeleteObject, GiveBack, Prepare, PutObject
from objstore.model.conditions import ANY, NO_CONDITIONS, Conditions
from objstore.model.errors import Code, Conflict, InsufficientStorage, ObjectNotFound, PreconditionFailed, StoreError, Unavailable
from objstore.model.names import ObjectName
from objstore.proxy.bodies import InMemory
from objstore.proxy.operations import NewObject, Upload
from objstore.proxy.store import ClusterStore
from tests.unit.objstore.object.replicas import passes
from tests.unit.objstore.proxy.cluster import ACCOUNT, OWNER, QUICK, Cluster, get, named, running
from tests.unit.objstore.proxy.linear import OPEN, Step, explained

FIRST, _, LAST = os.environ.get("OBJSTORE_RACING_SEEDS", "0:60").partition(":")
HASTY = replace(QUICK, node_timeout_s=0.3, straggler_grace_s=0.03, hedge_s=0.02, inline_bytes_max=64, piece_bytes_min=64)
CLIENTS = 4
STEPS_EACH = 4


class Game:
    """Clients of one object, and all that they were told."""

    def __init__(self, cluster: Cluster, name: ObjectName, rng: random.Random, *, plain: bool, hasty: bool) -> None:
        """`plain`: some changes have no conditions. `hasty`: nobody is waited for for long."""
        self._kinds = ("swap", "swap", "swap", "remove", "read", *(("put", "delete") if plain else ()))
        self.stores = [cluster.store(HASTY if hasty else replace(HASTY, node_timeout_s=20.0)) for _ in range(3)]
        self.steps: list[Step] = []
        self.open: list[StoreError] = []
        self.name = name
        self.rng = rng
        self._numbers = itertools.count()
        self._time = itertools.count()

    async def client(self) -> None:
        known: bytes | None = None
        for _ in range(STEPS_EACH):
            store = self.rng.choice(self.stores)
            kind = self.rng.choice(self._kinds)
            began = next(self._time)
            if kind == "read":
                known = await self.read(store, known)
                continue
            body = None if kind in ("delete", "remove") else b"%d." % next(self._numbers) * self.rng.choice((1, 60))
            expected = known if kind in ("swap", "remove") else None
            told = await self._change(store, body, _conditions(expected) if kind in ("swap", "remove") else NO_CONDITIONS)
            ended = next(self._time)
            if told == "open":
                ended = OPEN
            if told in ("done", "open"):
                known = body
                if kind in ("swap", "remove"):
                    self.steps.append(Step("swap", began, ended, body, expected, told == "done"))
                else:  # made again above what it met on its way: readers may have seen it, and seen it replaced
                    self.steps += [Step("set", began, ended, body, None, certain) for certain in {told == "done", False}]
            elif told == "refused":
                self.steps.append(Step("refused", began, ended, None, expected))
                known = await self.read(store, known)

    async def _change(self, store: ClusterStore, body: bytes | None, conditions: Conditions) -> str:
        try:
            if body is None:
                await store.delete_object(OWNER, self.name, conditions)
            else:
                upload = Upload(InMemory(body), len(body))
                await store.put_object(OWNER, self.name, NewObject("text/plain"), upload, conditions)
        except PreconditionFailed:
            return "refused"
        except ObjectNotFound:
            return "nothing"  # whether it was there is not asked here
        except (Unavailable, Conflict, InsufficientStorage) as error:
            self.open.append(error)
            return "open"
        return "done"

    async def read(self, store: ClusterStore, known: bytes | None) -> bytes | None:
        began = next(self._time)
        try:
            known = await get(store, self.name)
        except ObjectNotFound:
            known = None
        except StoreError:
            return known
        self.steps.append(Step("read", began, next(self._time), known))
        return known


def _conditions(expected: bytes | None) -> Conditions:
    if expected is None:
        return Conditions(if_none_match=frozenset({ANY}))
    return Conditions(if_match=frozenset({hashlib.md5(expected).hexdigest()}))


async def trouble(cluster: Cluster, rng: random.Random) -> None:
    """Never ends. One replica at a time hangs, is down, answers nobody, or refuses; or a replicator pass runs."""
    while True:
        await asyncio.sleep(rng.uniform(0.0, 0.03))
        node = rng.randrange(3)
        fault = cluster.network.fault(cluster.nodes[node].address)
        match rng.choice(("down", "hung", "deaf", "delay", "refuse", "pass")):
            case "down":
                fault.down = True
            case "hung":
                fault.hung = True
            case "deaf":
                fault.deaf = True
            case "delay":
                fault.delay_s = rng.uniform(0.0, 0.05)
            case "refuse":
                refused = rng.sample((PutObject, DeleteObject, Prepare, GiveBack), 2)
                fault.refuse.update(dict.fromkeys(refused, Code.NO_SPACE))
            case _:
                await passes(cluster, node)
        await asyncio.sleep(rng.uniform(0.0, 0.15))
        cluster.network.heal()


@pytest.mark.parametrize("seed", range(int(FIRST), int(LAST)))
async def test_what_clients_were_told_could_have_happened(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    async with running(tmp_path) as cluster:
        await passes(cluster, *range(3))
        await cluster.store().put_container(OWNER, ACCOUNT, "c", {})
        game = Game(cluster, named(cluster, "o"), rng, plain=seed % 2 == 1, hasty=seed % 4 > 0)
        troubling = asyncio.create_task(trouble(cluster, rng) if seed % 4 else asyncio.sleep(0))
        await asyncio.gather(*(game.client() for _ in range(CLIENTS)))
        troubling.cancel()
        await asyncio.wait([troubling])
        cluster.network.heal()
        for store in game.stores:
            await store.nodes.stop()
        for _ in range(2):
            await game.read(cluster.store(), None)
            await passes(cluster, *range(3))
        await game.read(cluster.store(), None)
        steps = "\n".join(map(str, sorted(game.steps, key=lambda step: step.began)))
        assert explained(game.steps), steps
        assert seed % 4 or all(isinstance(error, Conflict) for error in game.open), game.open


def test_the_judge_knows_two_winners_from_one() -> None:
    first, second = Step("swap", 0, 2, b"a"), Step("swap", 1, 3, b"b")
    assert explained([first]) and not explained([first, second])
    assert explained([first, Step("swap", 1, OPEN, b"b", certain=False)])
    again = [Step("set", 0, 9, b"a"), Step("read", 1, 2, b"a"), Step("set", 3, 4, b"b"), Step("read", 5, 6, b"a")]
    assert not explained(again) and explained([*again, Step("set", 0, 9, b"a", certain=False)])
    assert not explained(
        [Step("set", 0, 1, b"a"), Step("set", 0, 1, b"b", certain=False), Step("read", 2, 3, b"a"), Step("read", 4, 5, b"b")]
    )
    assert explained([first, Step("refused", 1, 3)]) and not explained([Step("refused", 0, 1), Step("swap", 2, 3, b"a")])
    assert not explained([Step("set", 0, 1, b"a"), Step("read", 2, 3, None)])
    assert explained([Step("set", 0, 2, b"a"), Step("read", 1, 3, None)])
