"""Memory that the allocator holds free goes back to the system."""

import asyncio
import ctypes
from collections.abc import Callable

from objstore.runtime.interface import Clock

INTERVAL_S = 60.0
"""Between two looks. One takes some 10 ms for each 100 MiB, in which nobody else allocates; what is given back and then needed
again costs less than that.
"""


def glibc_trim() -> Callable[[], object] | None:
    """malloc_trim(3) of all that is free; None with another C library."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return None if trim is None else lambda: trim(0)


async def keep_trimmed(clock: Clock, trim: Callable[[], object] | None) -> None:
    """Until cancelled. By itself glibc gives back what is free at the end of its heap. After large bodies that came over many
    connections, most that is free lies between what is in use: half of a process's memory. How much that is it does not tell, and
    what the process takes in all does not change when memory becomes free, so `trim` is called whatever happened, in a thread.
    """
    while trim is not None:
        await clock.sleep(INTERVAL_S)
        await asyncio.to_thread(trim)
