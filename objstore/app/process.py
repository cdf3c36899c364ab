"""The main function of one process under the supervisor: build the graph for its role, say `ready`, serve until told to end.

It ends on SIGTERM, and when the supervisor's end of the control socket closes. Whatever happens, it is gone at the latest
`drain_timeout_s` and a margin after that order: a thread sees to it, even where the event loop hangs.
"""

import argparse
import asyncio
import gc
import logging
import os
import signal
import socket
import sys
import threading
import time

import uvloop

from objstore.app.config import Config
from objstore.app.configfile import ConfigError, load_config
from objstore.app.logging import start_logging

END_MARGIN_S = 3.0
log = logging.getLogger("objstore.process")


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code: 0 after an orderly end, 1 with one plain line when it cannot start."""
    options = _options(arguments)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        config = load_config(options.config)
        start_logging(config.log, options.name)
        control = socket.socket(fileno=options.control_fd)
        _end_with_supervisor(control.dup(), config.proxy.drain_timeout_s + END_MARGIN_S)
        uvloop.run(_serve(config, options, control))
    except ConfigError as error:
        for line in error.problems:
            print(f"{options.name}: {line}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{options.name}: {error.strerror or error}", file=sys.stderr)
        return 1
    return 0


async def _serve(config: Config, options: argparse.Namespace, control: socket.socket) -> None:
    from objstore.app import wiring

    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    if options.kind == "public":
        listener = socket.socket(fileno=options.listen_fd)
        graph = await wiring.start_public(config, options.name, options.slot, listener)
    else:
        ports = [int(port) for port in options.ports.split(",")]
        graph = await wiring.start_storage(config, options.name, ports)
    try:
        gc.collect()
        gc.freeze()
        control.sendall(b"ready\n")
        log.info("ready", extra={"pid": os.getpid()})
        await ended.wait()
        log.info("ending")
    finally:
        await graph.stop()


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
    parser.add_argument("--listen-fd", type=int, default=-1)
    parser.add_argument("--ports", default="")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
