"""Memory that is free goes back to the system, again and again."""

import asyncio
import os
import subprocess
import sys

import pytest

from objstore.runtime.trimming import INTERVAL_S, glibc_trim, keep_trimmed
from tests.unit.objstore.tables.rig import ManualClock

FRAGMENTED = """
import resource
from objstore.runtime.trimming import glibc_trim

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

blocks = [bytes(100_000) for _ in range(1000)]
blocks = blocks[::10]
before = resident()
glibc_trim()()
print(before - resident())
"""


async def test_it_is_done_again_and_again() -> None:
    clock, trimmed = ManualClock(), asyncio.Semaphore(0)
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(keep_trimmed(clock, lambda: loop.call_soon_threadsafe(trimmed.release)))
    for _ in range(3):
        await clock.slept.wait()
        clock.slept.clear()
        assert trimmed.locked()
        await clock.pass_time(INTERVAL_S)
        await trimmed.acquire()
    task.cancel()


async def test_another_c_library_is_left_alone() -> None:
    await keep_trimmed(ManualClock(), None)


def test_what_is_free_between_blocks_in_use_goes_back() -> None:
    if glibc_trim() is None:
        pytest.skip("not run: this C library has no malloc_trim")
    environment = {**os.environ, "MALLOC_ARENA_MAX": "1"}
    found = subprocess.run([sys.executable, "-c", FRAGMENTED], env=environment, capture_output=True, text=True, check=True)
    assert int(found.stdout) > 30_000_000
