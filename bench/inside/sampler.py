"""Notes where each thread is, once per so much CPU time that this thread itself used.

Each thread has a timer on its own CPU clock, which sends a signal to just this thread; `faulthandler` answers it in C, at once,
without the interpreter's lock, by writing the thread's Python stack into the thread's file. So a thread in a system call or in a
C library is seen as often as one that runs Python, and one that waits is never seen. Needs Linux, but neither ptrace nor root.
"""

import ctypes
import errno
import faulthandler
import signal
import sys
import threading
from dataclasses import dataclass
from itertools import chain, repeat
from types import FrameType
from typing import IO, Any

from bench.inside import control

INTERVAL_S = 0.002
"""Of CPU time. The kernel looks at such clocks when its own ticks, 100 to 1,000 times a second, so there may be fewer samples."""
CLOCK_THREAD_CPUTIME_ID = 3
SIGEV_THREAD_ID = 4


class _Event(ctypes.Structure):
    """struct sigevent, 64 bytes."""

    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signal", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("thread", ctypes.c_int),
        ("rest", ctypes.c_byte * 44),
    )


class _Times(ctypes.Structure):
    """struct itimerspec."""

    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("first_s", ctypes.c_long),
        ("first_ns", ctypes.c_long),
    )


@dataclass(frozen=True, slots=True)
class _Thread:
    name: str
    native_id: int
    timer: ctypes.c_void_p
    file: IO[bytes]


class Sampler:
    """Of one process. A thread joins by calling `join`; `on` and `off` are for one thread, that of the control socket."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._joining = threading.Lock()
        self._threads: list[_Thread] = []
        self._armed = False
        # A signal for each thread, since faulthandler writes what one signal asks for into one file.
        self._signals = chain(range(signal.SIGRTMIN + 1, signal.SIGRTMAX), repeat(int(signal.SIGRTMAX)))

    def join(self) -> None:
        """From now on the calling thread is sampled whenever sampling is on."""
        me = threading.current_thread()
        if me.name == control.THREAD:
            return
        with self._joining:
            number = next(self._signals)
            native_id = threading.get_native_id()
            file = (control.directory() / f"{native_id}.stacks").open("ab", buffering=0)
            faulthandler.register(number, file, all_threads=False)
            timer = ctypes.c_void_p()
            event = _Event(signal=number, notify=SIGEV_THREAD_ID, thread=native_id)
            if self._libc.timer_create(CLOCK_THREAD_CPUTIME_ID, ctypes.byref(event), ctypes.byref(timer)):
                raise OSError(ctypes.get_errno(), "timer_create")
            self._threads.append(_Thread(me.name, native_id, timer, file))
            if self._armed:
                self._set(timer, INTERVAL_S)

    def _set(self, timer: ctypes.c_void_p, interval_s: float) -> None:
        nanoseconds = int(interval_s * 1e9)
        times = _Times(0, nanoseconds, 0, nanoseconds)
        if self._libc.timer_settime(timer, 0, ctypes.byref(times), None) and ctypes.get_errno() != errno.ESRCH:
            raise OSError(ctypes.get_errno(), "timer_settime")  # ESRCH: the thread has ended, and its clock with it

    def on(self) -> None:
        """Sample from now on."""
        self._all(INTERVAL_S)

    def off(self) -> None:
        """No more samples."""
        self._all(0.0)

    def _all(self, interval_s: float) -> None:
        with self._joining:
            self._armed = interval_s > 0
            for thread in self._threads:
                self._set(thread.timer, interval_s)

    def threads(self) -> dict[int, str]:
        """Native id -> name, of all that joined."""
        return {thread.native_id: thread.name for thread in self._threads}


def start() -> None:
    """In this process; every thread joins when it starts."""
    sampler = Sampler()
    sampler.join()

    def begins(_frame: FrameType, _event: str, _argument: Any) -> None:
        sys.setprofile(None)  # all that was wanted of it is this one call, in the new thread
        sampler.join()

    threading.setprofile(begins)
    control.serve({"on": sampler.on, "off": sampler.off, "threads": sampler.threads})
