"""`make bench-peers`: installs the peers, starts each, measures all in turn, prints a table.

    python -m bench.peers [--quick] [--rounds N] [--only ours,swift] [--only-work put,get] [--write-docs]
    python -m bench.peers --report FILE [--write-docs]

Sides: ours, ours-s3, swift, seaweed-fsync, seaweed. Figures and settings go to a JSON file; `--report` prints the table of an
earlier run from there. The section of docs/performance.md is written anew only with `--write-docs`. Exit code: 0 when all
was measured.
"""

import argparse
import dataclasses
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.peers import document, install, table
from bench.peers.accounting import free_bytes
from bench.peers.load import Client, WrongAnswer
from bench.peers.objstore import Objstore
from bench.peers.plan import Bench, Figures
from bench.peers.processes import NotStarted, Ports
from bench.peers.seaweed import SeaweedFS
from bench.peers.sides import Server, Side
from bench.peers.swift import Swift
from bench.peers.works import FULL, NAMES, QUICK, Scale, Work

LAST = install.HOME / "last.json"
ENVIRONMENTS = {"swift": "swift", "seaweed": "seaweed", "seaweed-fsync": "seaweed"}


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="under two minutes: few kinds of work, one round")
    parser.add_argument("--rounds", type=int, help="how often everything is measured; the median counts")
    parser.add_argument("--seconds", type=float, help="how long one load takes at most")
    parser.add_argument("--keys", type=int, help="objects that small reads go over")
    parser.add_argument("--only", default="", metavar="SIDES", help=f"of {', '.join(servers(1))} and ours-s3, comma separated")
    parser.add_argument("--only-work", default="", metavar="KINDS", help=f"of {', '.join(NAMES)}, comma separated")
    parser.add_argument("--workers", type=int, default=1, help="our proxy workers (default 1, as `objstore dev` has on two cores)")
    parser.add_argument("--data", type=Path, default=install.HOME / "data", help="where all keep their data: one disk for all")
    parser.add_argument("--json", type=Path, default=LAST, metavar="FILE", help="where the figures go")
    parser.add_argument("--report", type=Path, metavar="FILE", help="print the table of an earlier run, and measure nothing")
    parser.add_argument("--write-docs", action="store_true", help="write the table and the plots into docs/")
    return parser.parse_args()


def servers(workers: int) -> dict[str, Server]:
    """All there are."""
    ports = Ports()
    found: list[Server] = [Objstore(workers), Swift(ports), SeaweedFS(True, ports), SeaweedFS(False, ports)]
    return {server.name: server for server in found}


def scale_of(args: argparse.Namespace) -> Scale:
    """The quick or the full measure, with what was asked for otherwise."""
    named = {name: getattr(args, name) for name in ("rounds", "seconds", "keys")}
    return dataclasses.replace(QUICK if args.quick else FULL, **{name: value for name, value in named.items() if value})


def make_sides(found: list[Server], only: list[str]) -> list[Side]:
    """A side for each API of each server."""
    sides = []
    for server in found:
        apis = server.dialects()
        for api, dialect in apis.items():
            second = len(apis) > 1 and api == "S3"
            title = f"{server.title} ({api})" if len(apis) > 1 else server.title
            sides.append(Side(f"{server.name}-s3" if second else server.name, title, server, dialect))
    return [side for side in sides if not only or side.name in only]


def measure(args: argparse.Namespace, where: Path) -> dict[str, object]:
    """Start, measure, stop; the report. After each round it is in the file already, lest all be lost with the rest of a run."""
    only = [name for name in args.only.split(",") if name]
    kinds = [name for name in args.only_work.split(",") if name]
    scale = scale_of(args)
    chosen = [server for name, server in servers(args.workers).items() if not only or name in only or f"{name}-s3" in only]
    unknown = {*only} - {*servers(1), "ours-s3"} | {*kinds} - {*NAMES}
    if unknown or not chosen:
        raise SystemExit(f"there is no {', '.join(sorted(unknown)) or 'side to measure'}")
    install.install(sorted({ENVIRONMENTS[server.name] for server in chosen if server.name in ENVIRONMENTS}))
    if free_bytes(where) < scale.free:
        raise SystemExit(f"{where}: {free_bytes(where) >> 30} GiB free, {scale.free >> 30} GiB are needed")
    begun = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - begun:6.0f} s  {text}", flush=True)

    def wanted(work: Work) -> bool:
        return not kinds or work.kind in kinds

    try:
        start(chosen, where, say)
        sides = make_sides(chosen, only)
        (where / "client").mkdir()
        bench = Bench(sides, Client(where / "client"), scale, wanted, say)
        bench.run(lambda: keep(args.json, report_of(scale, sides, bench.figures)))
    finally:
        say("stopping ...")
        with ThreadPoolExecutor(len(chosen)) as pool:
            list(pool.map(lambda server: server.stop(), chosen))
    return report_of(scale, sides, bench.figures)


def keep(path: Path, report: dict[str, object]) -> None:
    """Write the figures down."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1))


def report_of(scale: Scale, sides: list[Side], figures: Figures) -> dict[str, object]:
    """The figures, and what they are of."""
    return {
        "when": time.strftime("%Y-%m-%d"),
        "scale": dataclasses.asdict(scale),
        "machine": {"cores": len(os.sched_getaffinity(0)), "python": platform.python_version()},
        "sides": {
            side.name: {
                "title": side.title,
                "server": side.server.name,
                "durability": side.server.durability,
                "setup": side.server.setup,
            }
            for side in sides
        },
        **dataclasses.asdict(figures),
    }


def start(chosen: list[Server], where: Path, say: Callable[[str], None]) -> None:
    """Start all at once, each in a directory of its own."""
    say("starting " + ", ".join(server.title for server in chosen) + " ...")

    def one(server: Server) -> None:
        (where / server.name).mkdir()
        server.start(where / server.name)
        say(f"started: {server.title}")

    with ThreadPoolExecutor(len(chosen)) as pool:
        list(pool.map(one, chosen))


def show(args: argparse.Namespace, report: dict[str, object]) -> None:
    """Print the table; write it into the documents if that was asked for."""
    print("\n" + table.terminal(report), flush=True)
    if args.write_docs:
        document.write(report)


def main() -> int:
    """See above."""
    args = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C: leave by what stops the servers
    if args.report:
        report = json.loads(args.report.read_text())
        show(args, report)
        return 0
    args.data.mkdir(parents=True, exist_ok=True)
    where = Path(tempfile.mkdtemp(prefix="run-", dir=args.data)).resolve()
    try:
        report = measure(args, where)
        keep(args.json, report)
        show(args, report)
    except (NotStarted, WrongAnswer) as failure:
        raise SystemExit(str(failure)) from failure
    finally:
        shutil.rmtree(where, ignore_errors=True)  # after the table, since it takes minutes
    return 1 if report["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
