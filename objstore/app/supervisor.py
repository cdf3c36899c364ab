"""The supervisor: keeps a set of processes running.

It stays lean (no event loop library, nothing of the store), holds the listening sockets, so that no connection is refused while a
process is replaced, and passes signals on. Each child is connected to it by a socket pair: the child says `prepared` and `ready`
on it, and takes its closing as the order to end, so that nothing survives a supervisor that was killed.

SIGTERM, SIGINT: requests under way are finished (bounded), then all ends. SIGHUP: every process is replaced by a new one.
"""

import contextlib
import errno
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import IO

from objstore.app.children import SETTLE_S, Address, Child, Plan, Spec
from objstore.app.spawn import PROGRAM, Launch, spawn
from objstore.runtime.unixsockets import bound_beside

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
POLL_MAX_S = 1.0
BACKLOG = 1024

Announce = Callable[[str, Child], None]
"""Called with "started", "ready", "ended" and the child."""


@dataclass(slots=True)
class Running:
    """The live process of one child."""

    child: Child
    process: "subprocess.Popen[bytes]"
    control: socket.socket
    said: bytes = b""


@dataclass(slots=True)
class Supervisor:
    """Runs `specs` until a signal ends it.

    `listeners`: sockets that listen already; `open_listeners` adds what is missing. `hup_stops`: take SIGHUP as the end of the
    terminal. `output`: where the children's log lines go, by default this process's standard output. `program`: what a child runs.
    """

    specs: Sequence[Spec]
    listeners: dict[Address, socket.socket] = field(default_factory=dict)
    announce: Announce = lambda _event, _child: None
    on_ready: Callable[[], None] = lambda: None
    hup_stops: bool = False
    output: IO[bytes] | None = None
    program: tuple[str, ...] = PROGRAM
    settle_s: float = SETTLE_S
    plan: Plan = field(init=False)
    _beside: dict[Address, socket.socket] = field(init=False, default_factory=dict)
    _running: dict[int, Running] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.plan = Plan(self.specs, self.settle_s)

    def open_listeners(self) -> None:
        """Take every address of the specs. Raises OSError with one plain line.

        On the addresses of storage processes, and on the Unix sockets beside them, connections are refused until the first child
        listens: an open port means a node that serves.
        """
        for spec in self.specs:
            for address in spec.listen:
                if address not in self.listeners:
                    self.listeners[address] = listen_on(*address, at_once=spec.kind == "public")
                    if spec.kind == "storage" and (beside := listen_beside(*address)) is not None:
                        self._beside[address] = beside

    def close_listeners(self) -> None:
        """New connections are refused once no child has the sockets either."""
        for listener in (*self.listeners.values(), *self._beside.values()):
            listener.close()

    def run(self) -> int:
        """Blocks until all children have ended. Returns the exit code: 0 after a signal, 1 when a child could not start."""
        with contextlib.ExitStack() as stack:
            selector = stack.enter_context(selectors.DefaultSelector())
            wake = stack.enter_context(_signal_socket())
            selector.register(wake, selectors.EVENT_READ, None)
            was_ready = False
            while not self.plan.finished:
                self._act(selector)
                if self.plan.was_ready and not was_ready:
                    was_ready = True
                    self.on_ready()
                for key, _ in selector.select(self._wait_s()):
                    if key.data is None:
                        self._on_signals(wake.recv(4096))
                    else:
                        self._on_control(key.data, selector)
                self._reap(selector)
                if self.plan.stopping:
                    self.close_listeners()  # else new connections would wait for nobody
        return 1 if self.plan.failed else 0

    def _wait_s(self) -> float:
        deadline = self.plan.next_deadline()
        return POLL_MAX_S if deadline is None else min(POLL_MAX_S, max(0.0, deadline - time.monotonic()))

    def _on_signals(self, numbers: bytes) -> None:
        for number in numbers:
            if number == signal.SIGHUP and not self.hup_stops:
                self.plan.reload()
            elif number != signal.SIGCHLD:
                self.plan.stop()

    def _on_control(self, running: Running, selector: selectors.BaseSelector) -> None:
        try:
            data = running.control.recv(64)
        except OSError:
            data = b""
        if not data:
            selector.unregister(running.control)
        running.said += data
        while b"\n" in running.said:
            word, _, running.said = running.said.partition(b"\n")
            if word == b"prepared":
                self.plan.prepared(running.child)
            elif word == b"replace":
                self.plan.replace(running.child)
            elif word == b"ready":
                self.plan.ready(running.child, time.monotonic())
                self.announce("ready", running.child)

    def _reap(self, selector: selectors.BaseSelector) -> None:
        for pid, running in list(self._running.items()):
            if running.process.poll() is None:
                continue
            del self._running[pid]
            with contextlib.suppress(KeyError):
                selector.unregister(running.control)
            running.control.close()
            self.plan.ended(running.child, time.monotonic())
            self.announce("ended", running.child)

    def _act(self, selector: selectors.BaseSelector) -> None:
        actions = self.plan.due(time.monotonic())
        for child in actions.start:
            running = self._start(child)
            self._running[running.process.pid] = running
            selector.register(running.control, selectors.EVENT_READ, running)
            self.announce("started", child)
        for children, number in ((actions.terminate, signal.SIGTERM), (actions.kill, signal.SIGKILL)):
            for running in [one for one in self._running.values() if one.child in children]:
                running.process.send_signal(number)

    def _start(self, child: Child) -> Running:
        spec = child.spec
        held = (self.listeners, self._beside)
        listeners = [listeners[address] for listeners in held for address in spec.listen if address in listeners]
        launch = Launch(
            spec.kind,
            spec.name,
            spec.config,
            child.slot,
            listeners,
            takeover=child.generation > 0,
            program=self.program,
            output=self.output,
        )
        return Running(child, *spawn(launch))


def listen_on(host: str, port: int, *, at_once: bool = True) -> socket.socket:
    """A bound socket, listening `at_once` or later. Raises OSError with one plain line."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        if at_once:
            listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise OSError(
                error.errno, f"port {port} of {host} is in use: stop what listens there, or choose another port"
            ) from None
        what = "no such host" if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        raise OSError(error.errno, f"cannot listen on {host} port {port}: {what}; give an address of this machine") from None
    listener.setblocking(False)
    return listener


def listen_beside(host: str, port: int) -> socket.socket | None:
    """A Unix socket for other processes of this host, bound and not listening yet. None, and one line, where there is none to have:
    all of them use TCP then.
    """
    try:
        return bound_beside(host, port)
    except OSError as error:
        print(f"objstore: no Unix socket beside {host} port {port}, goes on without: {error.strerror or error}", file=sys.stderr)
        return None


class _signal_socket:  # noqa: N801 - a context manager
    """Signals arrive as bytes on the socket that this context gives; handlers are put back at the end."""

    def __enter__(self) -> socket.socket:
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)
        self._write.setblocking(False)
        self._old = {number: signal.signal(number, lambda *_: None) for number in SIGNALS}
        self._old_fd = signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)
        return self._read

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._old_fd)
        for number, handler in self._old.items():
            signal.signal(number, handler)
        self._read.close()
        self._write.close()
