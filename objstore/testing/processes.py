"""The processes of a cluster under test: started as the supervisor starts them, then killed, paused, started again one by one."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal

from objstore.app.spawn import Launch, spawn
from objstore.app.supervisor import listen_beside, listen_on
from objstore.testing import janitor
from objstore.testing.failures import ClusterError
from objstore.testing.layout import Member

State = Literal["down", "running", "paused"]
START_TIMEOUT_S = 30.0
END_TIMEOUT_S = 15.0
LOG_LINES_SHOWN = 15


class Janitor:
    """Our end of the program that cleans up."""

    def __init__(self, directory: str, *, keep: bool) -> None:
        """`keep`: leave the directory, end the processes."""
        command = [sys.executable, "-I", "-S", os.path.abspath(janitor.__file__), directory]
        # A session of its own: no signal of a terminal or a runner's process group reaches it.
        self._program = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)  # noqa: S603 - our own
        if keep:
            self.keep()

    def keep(self) -> None:
        """The directory stays."""
        self._tell("keep")

    def watch(self, pid: int) -> None:
        """One more process to end."""
        self._tell(f"pid {pid}")

    def _tell(self, line: str) -> None:
        assert self._program.stdin is not None
        self._program.stdin.write(line.encode() + b"\n")
        self._program.stdin.flush()

    def finish(self) -> None:
        """Let it do its work. Blocks until it is done."""
        assert self._program.stdin is not None
        self._program.stdin.close()
        self._program.wait(END_TIMEOUT_S)


class NodeProcess:
    """One member's process, or its absence. For one event loop."""

    def __init__(self, member: Member, janitor: Janitor) -> None:
        self.member = member
        self.state: State = "down"
        self.trouble = ""
        """Why it could not be replaced when it asked for that."""
        self.in_place = asyncio.Event()
        """Unset while a new process that it asked for in its place does not serve yet."""
        self.in_place.set()
        self.started_s = 0.0
        """Monotonic time of the last start."""
        self._janitor = janitor
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._said = b""
        self._watching: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """0 when there is no process."""
        return self._process.pid if self._process is not None else 0

    @property
    def exit_code(self) -> int | None:
        """Of the last process, as subprocess gives it; None while it lives, or when there was none yet."""
        return self._process.poll() if self._process is not None else None

    @property
    def died(self) -> bool:
        """It ended without being told to."""
        return self.state != "down" and self.exit_code is not None

    def log(self) -> str:
        """All that its processes printed."""
        try:
            with open(self.member.log, errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def launch(self, environment: Mapping[str, str], listener: socket.socket | None = None) -> None:
        """Start it; `ready` waits for it. `listener` for a first start that has one already. Raises ClusterError, OSError."""
        if self.state != "down" and not self.died:
            raise ClusterError(f"{self.member.name} runs already")
        self._forget()
        member = self.member
        # Until a storage process is ready its address refuses, as after a crash: the socket is bound here and listens there.
        taken = listener or listen_on(member.listen_ip, member.port, at_once=False)
        beside = listen_beside(member.listen_ip, member.port) if member.kind == "storage" else None
        with taken, beside or contextlib.nullcontext(), open(member.log, "ab", buffering=0) as log:
            launch = Launch(
                member.kind,
                member.name,
                member.config,
                listeners=[taken] if beside is None else [taken, beside],
                output=log,
                errors=log,
                environment=environment,
            )
            self._process, self._control = spawn(launch)
        self._control.setblocking(False)
        self._janitor.watch(self._process.pid)
        self.state = "running"
        self.started_s = time.monotonic()

    async def ready(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Until it serves. Raises ClusterError with the end of its log."""
        said = ""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while said != "ready" and (said := await self._word()):
                    continue
        if said != "ready":
            await self.kill()
            end = "\n".join(self.log().splitlines()[-LOG_LINES_SHOWN:])
            raise ClusterError(f"{self.member.name} did not become ready; its log ends with:\n{end}")

    def watch(self, replace: Callable[["NodeProcess"], Awaitable[None]]) -> None:
        """Do what a supervisor does: when it asks for a new process in its place, `replace` gives it one."""

        async def listen() -> None:
            while word := await self._word():
                if word == "replace":
                    self.in_place.clear()
                    try:
                        await replace(self)
                    except ClusterError as error:
                        self.trouble = str(error)
                    finally:
                        self.in_place.set()
                    return

        self._watching = asyncio.create_task(listen())

    async def _word(self) -> str:
        """The next thing it says; "" when it has ended."""
        while b"\n" not in self._said and self._control is not None:
            try:
                data = await asyncio.get_running_loop().sock_recv(self._control, 64)
            except OSError:
                data = b""
            if not data:
                return ""
            self._said += data
        word, _, self._said = self._said.partition(b"\n")
        return word.decode()

    async def kill(self) -> None:
        """SIGKILL; gone when this returns. Nothing happens to one that is down."""
        self._leave_alone()
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        await self._reap()

    async def stop(self) -> None:
        """SIGTERM; after END_TIMEOUT_S, SIGKILL."""
        self._leave_alone()
        if self._process is not None and self._process.poll() is None:
            self.resume()
            self._process.send_signal(signal.SIGTERM)
            try:
                await asyncio.to_thread(self._process.wait, END_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.send_signal(signal.SIGKILL)
        await self._reap()

    async def _reap(self) -> None:
        if self._process is not None:
            await asyncio.to_thread(self._process.wait)
        self.state = "down"
        self._forget()

    def pause(self) -> None:
        """SIGSTOP: its sockets stay open, nothing answers. Raises ClusterError when it is down."""
        self._require_running()
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        self.state = "paused"

    def resume(self) -> None:
        """SIGCONT, if it is paused."""
        if self.state == "paused" and self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self.state = "running"

    def _require_running(self) -> None:
        if self.state == "down" or self.died:
            raise ClusterError(f"{self.member.name} is down: restart it first")

    def _leave_alone(self) -> None:
        """Nobody replaces it from now on, unless it is done just now."""
        if self._watching is not None and self._watching is not asyncio.current_task():
            self._watching.cancel()
            self._watching = None

    def _forget(self) -> None:
        self._said = b""
        if self._control is not None:
            self._control.close()
            self._control = None
