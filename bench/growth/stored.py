"""Costs against what is stored: objects in a container, objects on a device, containers in an account."""

from collections.abc import Callable, Iterator
from itertools import count

from bench.growth.curves import Curve
from bench.growth.site import Site, site
from objstore.formats.messages import MergeContainerRows, MergeObjectRows
from objstore.model.rows import ContainerRow, ObjectRow
from objstore.model.timestamps import from_seconds

GROUP_ROWS = 2000
STAMP = from_seconds(1_700_000_000.0)
ETAG = "d41d8cd98f00b204e9800998ecf8427e"
READ = 200
CONTAINERS = 16
FILLERS = 64


async def in_container(sizes: list[int], seconds: float) -> Curve:
    """Objects in one container. Rows are merged into its replicas as replication does it; the objects that are read are real."""
    curve = Curve(
        "growth-rows", "CPU time per request by objects in the container", "objects in the container", "CPU µs per request"
    )
    async with site(seconds) as here:
        make = here.requests.make
        await here.prepare(lambda _n: make("PUT", "/large", b""), 1)
        await here.prepare(lambda n: here.requests.make("PUT", f"/large/read-{n:04d}", here.requests.body), READ)
        where, filled = here.placement.container("AUTH_test", "large"), READ
        for size in sizes:
            for start in range(filled, size, GROUP_ROWS):
                rows = [
                    ObjectRow(f"flat/{n:09d}", STAMP, False, 4096, ETAG, "image/jpeg", STAMP, STAMP)
                    for n in range(start, min(size, start + GROUP_ROWS))
                ]
                await here.tell(where.replicas, lambda one, rows=rows: MergeObjectRows(one.target, where.hash, where.name, rows))
            await here.holds("x-container-object-count", size, "large")
            filled = size
            middle = f"flat/{size // 2:09d}"
            await measure(
                curve,
                here,
                size,
                {
                    "PUT of a new object": (
                        lambda size=size: make(
                            "PUT", f"/large/flat/{here.number() * 7919 % size:09d}-{here.number()}", here.requests.body
                        ),
                        201,
                    ),
                    "GET": (reader(here, "GET", "/large/read-{:04d}"), 200),
                    "list of 100 at the beginning": (lambda: make("GET", "/large?format=json&limit=100"), 200),
                    "list of 100 in the middle": (
                        lambda middle=middle: make("GET", f"/large?format=json&limit=100&marker={middle}"),
                        200,
                    ),
                },
            )
    return curve


def reader(here: Site, method: str, path: str, objects: int = READ) -> Callable[[], bytes]:
    """Reads objects in turn."""
    numbers = count()
    return lambda: here.requests.make(method, path.format(next(numbers) % objects))


async def measure(curve: Curve, here: Site, size: int, costs: dict[str, tuple[Callable[[], bytes], int]]) -> None:
    """Each cost, at this size."""
    for name, (make, expected) in costs.items():
        curve.add(name, size, await here.cost_us(make, expected))


async def on_device(sizes: list[int], seconds: float) -> Curve:
    """Objects on one device, spread over some containers: real ones, put as clients do, so in a cluster of one node and one
    replica, which makes that three times as fast.
    """
    curve = Curve(
        "growth-objects",
        "CPU time per request by objects on the device (one replica)",
        "objects on the device",
        "CPU µs per request",
    )
    async with site(seconds, nodes=1, replicas=1) as here:
        make, body, filled = here.requests.make, here.requests.body, 0

        def path(n: int) -> str:
            return f"/c{n % CONTAINERS}/object-{n:08d}"

        await here.prepare(lambda n: make("PUT", f"/c{n}", b""), CONTAINERS)
        for size in sizes:
            await here.prepare(lambda n, filled=filled: make("PUT", path(filled + n), body), size - filled, FILLERS)
            filled = size
            deleted: Iterator[int] = count(size)
            puts = count(size)
            scattered = count()
            await measure(
                curve,
                here,
                size,
                {
                    "GET": (lambda size=size, scattered=scattered: make("GET", path(next(scattered) * 7919 % size)), 200),
                    "HEAD": (lambda size=size, scattered=scattered: make("HEAD", path(next(scattered) * 7919 % size)), 200),
                    "PUT of a new object": (lambda puts=puts: make("PUT", path(next(puts)), body), 201),
                },
            )
            made = next(puts) - size
            await measure_deletes(curve, here, size, made, lambda deleted=deleted: make("DELETE", path(next(deleted))))
    return curve


async def measure_deletes(curve: Curve, here: Site, size: int, made: int, make: Callable[[], bytes]) -> None:
    """What was put beyond the size goes again, and that is measured, too."""
    before = here.cpu_s()
    await here.prepare(lambda _n: make(), made)
    curve.add("DELETE", size, (here.cpu_s() - before) / made * 1e6)


async def in_account(sizes: list[int], seconds: float) -> Curve:
    """Containers in one account: rows of containers that never hear of it, and real ones that are made."""
    curve = Curve(
        "growth-containers", "CPU time per request by containers in the account", "containers in the account", "CPU µs per request"
    )
    async with site(seconds) as here:
        make = here.requests.make
        await here.prepare(lambda _n: make("PUT", "/large", b""), 1)
        await here.prepare(lambda n: make("PUT", f"/large/read-{n:04d}", here.requests.body), READ)
        where, filled = here.placement.account("AUTH_test"), 1
        for size in sizes:
            for start in range(filled, size, GROUP_ROWS):
                rows = [ContainerRow(f"flat-{n:08d}", STAMP) for n in range(start, min(size, start + GROUP_ROWS))]
                await here.tell(where.replicas, lambda one, rows=rows: MergeContainerRows(one.target, where.hash, where.name, rows))
            await here.holds("x-account-container-count", size)
            filled = size
            middle = f"flat-{size // 2:08d}"
            await measure(
                curve,
                here,
                size,
                {
                    "PUT of a new container": (lambda: make("PUT", f"/new-{here.number():06d}", b""), 201),
                    "PUT of a new object": (lambda: make("PUT", f"/large/new-{here.number()}", here.requests.body), 201),
                    "GET": (reader(here, "GET", "/large/read-{:04d}"), 200),
                    "HEAD of the account": (lambda: make("HEAD", ""), 204),
                    "list of 100 in the middle": (
                        lambda middle=middle: make("GET", f"?format=json&limit=100&marker={middle}"),
                        200,
                    ),
                },
            )
    return curve
