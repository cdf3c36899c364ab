"""Reader threads: bounded, in parallel, and honest about errors."""

import asyncio
import threading

import pytest

from objstore.model.errors import Code, NodeError
from objstore.runtime.readers import ReaderPool


async def test_in_parallel() -> None:
    pool = ReaderPool("test", threads=3, waiting_max=10)
    together = threading.Barrier(3)
    await asyncio.wait_for(asyncio.gather(*(pool.run(lambda: together.wait(5)) for _ in range(3))), 5)
    pool.close()


async def test_bounded() -> None:
    pool = ReaderPool("test", threads=1, waiting_max=2)
    gate = threading.Event()
    waiting = [asyncio.ensure_future(pool.run(lambda: gate.wait(5))) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(NodeError) as refused:
        await pool.run(lambda: None)
    assert refused.value.code == Code.BUSY
    gate.set()
    await asyncio.gather(*waiting)
    assert await pool.run(lambda: 5) == 5
    pool.close()


async def test_cancelled_calls_free_their_place() -> None:
    pool = ReaderPool("test", threads=1, waiting_max=1)
    gate = threading.Event()
    waiting = asyncio.ensure_future(pool.run(lambda: gate.wait(5)))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    gate.set()
    for _ in range(100):
        try:
            assert await pool.run(lambda: 5) == 5
            break
        except NodeError:
            await asyncio.sleep(0.01)
    else:
        pytest.fail("the place was never freed")
    pool.close()


async def test_errors_pass_through_and_the_thread_lives_on() -> None:
    pool = ReaderPool("test", threads=1, waiting_max=10)

    def fail() -> None:
        raise FileNotFoundError("gone")

    with pytest.raises(FileNotFoundError, match="gone"):
        await pool.run(fail)
    with pytest.raises(SystemExit):
        await pool.run(lambda: (_ for _ in ()).throw(SystemExit))
    assert await pool.run(lambda: 1) == 1
    pool.close()
    with pytest.raises(NodeError):
        await pool.run(lambda: 1)
