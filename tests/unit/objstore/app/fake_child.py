"""A stand-in for a process under the supervisor: same arguments, same promises, nothing inside.

It prints a line per event. The config argument chooses how it behaves: "good", "stubborn" (ignores SIGTERM), "failing".
"""

import argparse
import fcntl
import os
import signal
import socket
import sys
import threading
import time


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind")
    for name in ("config", "name", "slot", "control-fd", "listen-fds"):
        parser.add_argument(f"--{name}", default="")
    parser.add_argument("--takeover", action="store_true")
    options = parser.parse_args()
    if options.config == "failing":
        sys.exit("cannot start")
    ended = threading.Event()
    signal.signal(signal.SIGTERM, signal.SIG_IGN if options.config == "stubborn" else lambda *_: ended.set())
    control = socket.socket(fileno=int(options.control_fd))

    def watch() -> None:
        control.recv(1)
        say("orphaned", options.name)
        ended.set()

    threading.Thread(target=watch, daemon=True).start()
    say("started", options.name, os.getpid(), options.slot)
    control.sendall(b"prepared\n")
    with open(f"{options.name}.lock", "w") as device:
        if options.kind == "storage":
            fcntl.flock(device, fcntl.LOCK_EX)  # a successor waits here for its predecessor, as for a device
        control.sendall(b"ready\n")
        serve(options.name, ended)


def serve(name: str, ended: threading.Event) -> None:
    while not ended.is_set():
        time.sleep(0.02)
    say("ended", name)


if __name__ == "__main__":
    main()
