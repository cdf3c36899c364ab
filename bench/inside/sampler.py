"""Notes where each thread is, once per so much CPU time that this thread itself used.

Each thread has a timer on its own CPU clock, which signals when it has run for a while; a thread that waits is never seen. The
signal is answered in Python, which does so in the main thread at the next safe point: after the call in C that is under way, a
system call for example, and before its caller goes on. So what the kernel and libraries do counts for who called them. If it was
another thread's timer, this one looks where that thread is by then: at its system call, or where it waits to go on with Python
behind it. To look from C at once, as faulthandler can, would see threads at any moment, and crash at a wrong one: one in ten
thousand, measured. Needs Linux, but neither ptrace nor root.
"""

import ctypes
import dis
import errno
import signal
import sys
import threading
from collections import Counter
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any

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


Stack = tuple[CodeType, ...]
"""Innermost first."""


@dataclass(frozen=True, slots=True)
class _Thread:
    name: str
    ident: int
    native_id: int
    timer: ctypes.c_void_p


class Sampler:
    """Of one process, made in its main thread. Other threads join by calling `join`; the commands are for the control thread."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._joining = threading.Lock()
        self._threads: dict[int, _Thread] = {}
        """By the signal of its timer."""
        self._armed = False
        self._seen: Counter[tuple[int, Stack]] = Counter()
        self._begins: dict[CodeType, int] = {}
        self._signals = iter(range(signal.SIGRTMIN + 1, signal.SIGRTMAX + 1))
        for number in range(signal.SIGRTMIN + 1, signal.SIGRTMAX + 1):
            signal.signal(number, self._time_is_up)
            signal.siginterrupt(number, False)

    def join(self) -> None:
        """From now on the calling thread is sampled whenever sampling is on. More threads than there are signals are not."""
        me = threading.current_thread()
        with self._joining:
            number = next(self._signals, None)
            if me.name == control.THREAD or number is None:
                return
            timer = ctypes.c_void_p()
            event = _Event(signal=number, notify=SIGEV_THREAD_ID, thread=threading.get_native_id())
            if self._libc.timer_create(CLOCK_THREAD_CPUTIME_ID, ctypes.byref(event), ctypes.byref(timer)):
                raise OSError(ctypes.get_errno(), "timer_create")
            self._threads[number] = _Thread(me.name, threading.get_ident(), threading.get_native_id(), timer)
            if self._armed:
                self._set(timer, INTERVAL_S)

    def _time_is_up(self, number: int, frame: FrameType | None) -> None:
        """In the main thread, which is in `frame`."""
        thread = self._threads[number]
        if thread.ident != threading.get_ident():
            frame = sys._current_frames().get(thread.ident)
        elif frame is not None and frame.f_lasti <= self._begin_of(frame.f_code):
            frame = frame.f_back  # it only begins: the time went by in whoever called it, the event loop above all
        codes = []
        while frame is not None:
            codes.append(frame.f_code)
            frame = frame.f_back
        self._seen[number, tuple(codes)] += 1

    def _begin_of(self, code: CodeType) -> int:
        """Where in a function signals are looked at before it has done anything."""
        begin = self._begins.get(code)
        if begin is None:
            offsets = (one.offset for one in dis.get_instructions(code) if one.opname == "RESUME")
            begin = self._begins[code] = next(offsets, -1)
        return begin

    def _set(self, timer: ctypes.c_void_p, interval_s: float) -> None:
        nanoseconds = int(interval_s * 1e9)
        times = _Times(0, nanoseconds, 0, nanoseconds)
        if self._libc.timer_settime(timer, 0, ctypes.byref(times), None) and ctypes.get_errno() != errno.ESRCH:
            raise OSError(ctypes.get_errno(), "timer_settime")  # ESRCH: the thread has ended, and its clock with it

    def on(self) -> None:
        """Forget what was seen, and sample from now on."""
        self._seen = Counter()
        self._all(INTERVAL_S)

    def off(self) -> None:
        """No more samples."""
        self._all(0.0)

    def _all(self, interval_s: float) -> None:
        with self._joining:
            self._armed = interval_s > 0
            for thread in self._threads.values():
                self._set(thread.timer, interval_s)

    def threads(self) -> dict[int, str]:
        """Native id -> name, of all that joined."""
        return {thread.native_id: thread.name for thread in self._threads.values()}

    def seen(self) -> list[tuple[int, list[tuple[str, str]], int]]:
        """Native id of a thread, file and function of each frame of a stack, innermost first, and how often that was seen."""
        return [
            (self._threads[number].native_id, [(code.co_filename, code.co_qualname) for code in stack], count)
            for (number, stack), count in self._seen.copy().items()
        ]


def start() -> None:
    """In this process; every thread joins when it starts."""
    sampler = Sampler()
    sampler.join()

    def begins(_frame: FrameType, _event: str, _argument: Any) -> None:
        sys.setprofile(None)  # all that was wanted of it is this one call, in the new thread
        sampler.join()

    threading.setprofile(begins)
    control.serve({"on": sampler.on, "off": sampler.off, "threads": sampler.threads, "seen": sampler.seen})
