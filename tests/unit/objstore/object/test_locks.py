import asyncio

import pytest

from objstore.model.errors import Code, NodeError
from objstore.object.locks import ObjectLocks


async def test_one_at_a_time_in_order_of_arrival() -> None:
    locks = ObjectLocks()
    seen: list[int] = []
    inside = 0

    async def work(n: int) -> None:
        nonlocal inside
        async with locks.of("key"):
            inside += 1
            assert inside == 1
            await asyncio.sleep(0)
            seen.append(n)
            inside -= 1

    await asyncio.gather(*(work(n) for n in range(20)))
    assert seen == list(range(20))
    assert locks._held == {}


async def test_different_keys_do_not_wait_for_each_other() -> None:
    locks = ObjectLocks()
    async with locks.of("a"), asyncio.timeout(1), locks.of("b"):
        pass


async def test_an_error_inside_gives_the_lock_back() -> None:
    locks = ObjectLocks()
    with pytest.raises(ValueError, match="x"):
        async with locks.of("a"):
            raise ValueError("x")
    async with asyncio.timeout(1), locks.of("a"):
        pass


async def test_the_queue_is_bounded() -> None:
    locks = ObjectLocks(waiters_max=1)
    async with locks.of("a"):
        waiting = asyncio.ensure_future(locks.acquire("a"))
        await asyncio.sleep(0)
        with pytest.raises(NodeError) as caught:
            await locks.acquire("a")
        assert caught.value.code is Code.BUSY
    await waiting
    locks.release("a")
    assert locks._held == {}


@pytest.mark.parametrize("just_woken", [False, True])
async def test_a_cancelled_waiter_does_not_keep_its_turn(just_woken: bool) -> None:
    locks = ObjectLocks()
    await locks.acquire("a")
    first, second = asyncio.ensure_future(locks.acquire("a")), asyncio.ensure_future(locks.acquire("a"))
    await asyncio.sleep(0)
    if just_woken:
        locks.release("a")
        first.cancel()
    else:
        first.cancel()
        await asyncio.sleep(0)
        locks.release("a")
    async with asyncio.timeout(1):
        await second
    assert first.cancelled()
    locks.release("a")
    assert locks._held == {}
