"""A stand-in for a process under the supervisor: same arguments, same promises, nothing inside.

It prints a line per event. The config argument chooses how it behaves: "good", "stubborn" (ignores SIGTERM), "failing".
"""

import argparse
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
    for name in ("config", "name", "slot", "control-fd", "listen-fd", "ports"):
        parser.add_argument(f"--{name}", default="-1")
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
    control.sendall(b"ready\n")
    while not ended.is_set():
        time.sleep(0.02)
    say("ended", options.name)


if __name__ == "__main__":
    main()
