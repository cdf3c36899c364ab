"""The main function of one process under the supervisor: build the graph for its role, say `ready`, serve until told to end.

It ends on SIGTERM, and when the supervisor's end of the control socket closes. Whatever happens, it is gone at the latest
`drain_timeout_s` and a margin after that order: a thread sees to it, even where the event loop hangs.
"""

import argparse
import asyncio
import contextlib
import gc
import logging
import os
import resource
import signal
import socket
import sys
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

import uvloop

from objstore.app.config import Config
from objstore.app.configfile import ConfigError, load_config
from objstore.app.failure import Failure
from objstore.app.logging import start_logging
from objstore.runtime.clock import SystemClock
from objstore.runtime.trimming import glibc_trim, keep_trimmed

if TYPE_CHECKING:
    from objstore.app.graph import Graph

END_MARGIN_S = 3.0
TAKEOVER_TIMEOUT_S = 60.0
GC_THRESHOLD = 20_000
"""New containers of objects between two looks of the collector at the youngest: with 700 the looks are 5 % of a request's work."""
log = logging.getLogger("objstore.process")


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code: 0 after an orderly end, 1 with one plain line when it cannot start."""
    options = _options(arguments)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        config = load_config(options.config)
        start_logging(config.log, options.name)
        _raise_descriptor_limit()
        control = socket.socket(fileno=options.control_fd)
        _end_with_supervisor(control.dup(), config.proxy.drain_timeout_s + END_MARGIN_S)
        uvloop.run(_serve(config, options, control))
    except ConfigError as error:
        for line in error.problems:
            print(f"{options.name}: {line}", file=sys.stderr)
        return 1
    except Failure as error:
        for line in error.lines:
            print(f"{options.name}: {line}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{options.name}: {error.strerror or error}", file=sys.stderr)
        return 1
    return 0


def _raise_descriptor_limit() -> None:
    """Open databases, files and connections may use as many descriptors as the system allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _serve(config: Config, options: argparse.Namespace, control: socket.socket) -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    starting = asyncio.create_task(_start(config, options, control))
    ending = asyncio.create_task(ended.wait())
    await asyncio.wait((starting, ending), return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        await asyncio.wait((starting,))
        return
    graph = starting.result()
    try:
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD, 20, 20)
        control.sendall(b"ready\n")
        log.info("ready", extra={"pid": os.getpid()})
        graph.run("memory trimming", keep_trimmed(SystemClock(), glibc_trim()))
        await ending
        log.info("ending")
    finally:
        await graph.stop()


async def _start(config: Config, options: argparse.Namespace, control: socket.socket) -> "Graph":
    listeners = [socket.socket(fileno=int(fd)) for fd in options.listen_fds.split(",") if fd]
    if options.kind == "public":  # neither kind loads what only the other one needs
        from objstore.app.publicwiring import start_public

        return await start_public(config, options.name, options.slot, listeners[0])
    from objstore.app.storagewiring import Supervision, start_storage

    def say(word: bytes) -> None:
        with contextlib.suppress(OSError):  # a supervisor that is gone ends this process anyway
            control.sendall(word)

    wait_s = TAKEOVER_TIMEOUT_S if options.takeover else 0.0
    supervision = Supervision(partial(say, b"prepared\n"), partial(say, b"replace\n"), wait_s)
    return await start_storage(config, options.name, listeners, supervision)


def _end_with_supervisor(control: socket.socket, end_within_s: float) -> None:
    """Watch the supervisor from a thread: its going away is an order to end, and the order is carried out."""

    def watch() -> None:
        while True:
            try:
                if not control.recv(64):
                    break
            except OSError:
                break
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(end_within_s)
        os._exit(1)

    threading.Thread(target=watch, name="supervisor-watch", daemon=True).start()


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="objstore.app.process", description="One process under the supervisor.")
    parser.add_argument("kind", choices=("public", "storage"))
    parser.add_argument("--config", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--slot", type=int, required=True)
    parser.add_argument("--control-fd", type=int, required=True)
    parser.add_argument("--listen-fds", default="")
    parser.add_argument("--takeover", action="store_true", help="a predecessor still has the devices: wait for them")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
