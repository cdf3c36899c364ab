"""The growth curves measure what they say: a cluster really holds as much as the size says when its costs are taken."""

import pytest

from bench.growth.clients import by_clients
from bench.growth.curves import Curve
from bench.growth.site import site
from bench.growth.stored import in_account, in_container, on_device

SECONDS = 0.15


def check(curve: Curve, sizes: list[int], series: int) -> None:
    assert len(curve.series) == series
    for points in curve.series.values():
        assert [size for size, _ in points] == sizes
        assert all(10 < cost < 1_000_000 for _, cost in points), "CPU µs of a request of any kind"


async def test_objects_in_a_container() -> None:
    check(await in_container([300, 2500], SECONDS), [300, 2500], 4)


async def test_containers_in_an_account() -> None:
    check(await in_account([100, 2300], SECONDS), [100, 2300], 5)


async def test_objects_on_a_device() -> None:
    check(await on_device([100, 200], SECONDS), [100, 200], 4)


async def test_clients() -> None:
    curve = await by_clients([40], SECONDS)
    check(curve, [40], 3)
    assert len(curve.notes) == 1


async def test_what_goes_wrong_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.growth.site.HOLDS_TRIES", 1)
    async with site(SECONDS) as here:
        await here.prepare(lambda _n: here.requests.make("PUT", "/large", b""), 1)
        with pytest.raises(SystemExit, match="did not arrive"):
            await here.holds("x-container-object-count", 5, "large")
        with pytest.raises(SystemExit, match="404"):
            await here.cost_us(lambda: here.requests.make("GET", "/none/none"), 200)
