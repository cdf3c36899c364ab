"""Cases: the changes of one device that are cut short, written out one by one, and drawn from a seed."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tests.faults.ledger import Client
from tests.faults.recorder import World
from tests.faults.rig import CONTAINER, Subject

LARGE = bytes(range(256)) * 600  # more than one 64 KiB chunk: its checksum table has three entries
MANY_HEADERS = {f"key{number}": "v" * 200 for number in range(20)}
"""More than fits into the attribute: the version goes to the file's trailer."""

Work = Callable[[World], Awaitable[None]]


@dataclass(frozen=True)
class Case:
    """`setup` is durable before; every boundary of `act` is cut."""

    act: Work
    setup: Work | None = None
    options: dict[str, int] = field(default_factory=dict)


async def nothing(world: World) -> None:
    world.subject("a")


async def small(world: World) -> None:
    await world.client.put(world.subject("a"), b"old", 1)


async def posted(world: World) -> None:
    await small(world)
    await world.client.post(world.ledger.subjects["a"], 2, {"posted": "once"})


async def deleted(world: World) -> None:
    await small(world)
    await world.client.delete(world.ledger.subjects["a"], 2)


async def large(world: World) -> None:
    await world.client.put_large(world.subject("a"), LARGE, 1)


async def four(world: World) -> None:
    """Four objects in two partitions."""
    for number, text in enumerate("abcd"):
        await world.client.put(world.subject(text, 12 + number % 2), b"old", 1)


def one(change: Callable[[Client, Subject], Awaitable[None]]) -> Work:
    """A change of the object `a`."""

    async def act(world: World) -> None:
        await change(world.client, world.ledger.subjects["a"])

    return act


async def group_of_new(world: World) -> None:
    """Four new objects in new partitions, in one group."""
    client = world.client
    subjects = [world.subject(text, 12 + number % 2) for number, text in enumerate("abcd")]
    await asyncio.gather(*(client.put(subject, b"body of " + subject.row_name.encode(), 3) for subject in subjects))


async def mixed_group(world: World) -> None:
    """One of each kind in one group, then the next group while the first one's old files go."""
    client, of = world.client, world.ledger.subjects
    await asyncio.gather(
        client.put(of["a"], b"new", 3),
        client.post(of["b"], 3, {"k": "v"}),
        client.delete(of["c"], 3),
        client.put_large(of["d"], LARGE, 3),
    )
    await asyncio.gather(client.delete(of["a"], 4), client.put(of["b"], b"newer", 4), client.put(of["c"], b"back", 4))


async def rows_wait(world: World) -> None:
    """The container server is away: rows stay in segments, which roll over, are worked through and removed."""
    client, of = world.client, world.ledger.subjects
    world.wire.down.add(CONTAINER)
    for second, text in enumerate("abcdab", 3):
        await client.put(of[text], b"%d" % second, second)
    world.wire.down.clear()
    world.node.server.updates._down_until.clear()
    await world.node.update()
    await client.put(of["a"], b"after", 20)
    await world.node.update()


async def row_waits(world: World) -> None:
    """One row that no container server takes."""
    world.wire.down.add(CONTAINER)
    await world.client.put(world.ledger.subjects["a"], b"body", 2)


async def pushed(world: World) -> None:
    """What another replica sends: data below a newer POST, the POST, a tombstone, data after it."""
    client, subject = world.client, world.subject("a")
    await client.put(subject, b"first", 1, pushed=True)
    await client.post(subject, 5, {"late": "post"}, pushed=True)
    await client.put(subject, b"between", 3, pushed=True)
    await client.put_large(subject, LARGE, 4, pushed=True)
    await client.delete(subject, 6, pushed=True)
    await client.put_large(subject, LARGE[:100_000], 7, pushed=True)


CASES: dict[str, Case] = {
    "put": Case(one(lambda c, a: c.put(a, b"body", 1)), nothing),
    "put of nothing": Case(one(lambda c, a: c.put(a, b"", 1)), nothing),
    "put with many headers": Case(one(lambda c, a: c.put(a, b"body", 1, MANY_HEADERS)), nothing),
    "put of 60 KiB": Case(one(lambda c, a: c.put(a, LARGE[:60_000], 1)), nothing),
    "large put": Case(one(lambda c, a: c.put_large(a, LARGE, 1, MANY_HEADERS)), nothing),
    "large put of unknown size": Case(one(lambda c, a: c.put_large(a, LARGE, 1, announced=False)), nothing),
    "overwrite": Case(one(lambda c, a: c.put(a, b"new", 2)), small),
    "overwrite after a post": Case(one(lambda c, a: c.put(a, b"new", 3)), posted),
    "large over small": Case(one(lambda c, a: c.put_large(a, LARGE, 2)), small),
    "small over large": Case(one(lambda c, a: c.put(a, b"new", 2)), large),
    "post": Case(one(lambda c, a: c.post(a, 2, {"k": "v"})), small),
    "post over a post": Case(one(lambda c, a: c.post(a, 3, MANY_HEADERS)), posted),
    "delete": Case(one(lambda c, a: c.delete(a, 2)), small),
    "delete after a post": Case(one(lambda c, a: c.delete(a, 3)), posted),
    "delete of nothing": Case(one(lambda c, a: c.delete(a, 2)), nothing),
    "put after a delete": Case(one(lambda c, a: c.put(a, b"back", 3)), deleted),
    "a group of new objects": Case(group_of_new),
    "a group of each kind": Case(mixed_group, four),
    "row waits": Case(row_waits, nothing),
    "rows wait": Case(rows_wait, four, {"segment_bytes_max": 400}),
    "pushed": Case(pushed),
}


def drawn(seed: int, rounds: int = 10) -> Case:
    """A history: rounds of one to four changes at once of four objects in two partitions, the container server away at times,
    segments of the pending log that hold a few records, and passes of the updater.
    """
    rng = random.Random(seed)

    async def act(world: World) -> None:
        client, of = world.client, world.ledger.subjects
        for number in range(rounds):
            second = 10.0 + number
            if rng.random() < 0.25:
                world.wire.down ^= {CONTAINER}
                world.node.server.updates._down_until.clear()
            texts = rng.sample("abcd", rng.choice((1, 1, 2, 3, 4)))
            await asyncio.gather(*(_draw(rng, client, of[text], second) for text in texts))
            if rng.random() < 0.2:
                await world.node.update()
            if rng.random() < 0.2:
                world.node.device.index.forget("objects/12")

    return Case(act, four, {"segment_bytes_max": rng.choice((300, 900, 1 << 20))})


def _draw(rng: random.Random, client: Client, subject: Subject, second: float) -> Awaitable[None]:
    body = bytes([rng.randrange(256)]) * rng.choice((0, 5, 700, 5000))
    kinds = ["put", "put", "large", "delete"]
    if not client.ledger.last(subject).deleted:
        kinds += ["post", "post"]
    match rng.choice(kinds):
        case "put":
            return client.put(subject, body, second, {"s": str(second)}, pushed=rng.random() < 0.3)
        case "large":
            return client.put_large(subject, LARGE[: rng.choice((70_000, 150_000))], second, pushed=rng.random() < 0.3)
        case "post":
            return client.post(subject, second, rng.choice(({"p": str(second)}, MANY_HEADERS)), pushed=rng.random() < 0.3)
        case _:
            return client.delete(subject, second, pushed=rng.random() < 0.3)
