"""`make growth`: how the CPU time of requests grows with objects in a container, objects on a device, containers in an account,
devices in the ring, and clients; and where each curve bends.

Costs are those of all server processes, of small clusters of their own without background jobs. --quick takes under three
minutes, --full some hours, and without either it is about a quarter of an hour.
"""

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable

import uvloop

from bench import marked
from bench.cluster import ROOT
from bench.growth.clients import by_clients
from bench.growth.curves import Curve
from bench.growth.lines import draw
from bench.growth.placing import by_devices
from bench.growth.stored import in_account, in_container, on_device

SIZES = {
    "rows": {"quick": [10**3, 10**4, 10**5], "usual": [10**3, 10**4, 10**5, 10**6], "full": [10**power for power in range(3, 8)]},
    "objects": {"quick": [10**3, 10**4], "usual": [10**3, 10**4, 10**5], "full": [10**power for power in range(3, 7)]},
    "containers": {"quick": [10**2, 10**3, 10**4], "usual": [10**2, 10**3, 10**4, 10**5], "full": [10**2, 10**3, 10**4, 10**5]},
    "devices": {mode: [10, 100, 1000, 10_000] for mode in ("quick", "usual", "full")},
    "clients": {"quick": [1, 10, 100, 1000], "usual": [1, 10, 100, 1000, 5000], "full": [1, 10, 100, 1000, 5000]},
}
SECONDS = {"quick": 1.2, "usual": 4.5, "full": 9.0}


async def devices(sizes: list[int], _seconds: float) -> Curve:
    return by_devices(sizes)


MEASURES: dict[str, Callable[[list[int], float], Awaitable[Curve]]] = {
    "rows": in_container,
    "objects": on_device,
    "containers": in_account,
    "devices": devices,
    "clients": by_clients,
}


async def measured(mode: str, only: list[str]) -> list[Curve]:
    """One curve after the other."""
    found = []
    for name in only:
        print(f"{name}: {', '.join(f'{size:,}' for size in SIZES[name][mode])}", flush=True)
        began = time.monotonic()
        found.append(await MEASURES[name](SIZES[name][mode], SECONDS[mode]))
        print(f"  {time.monotonic() - began:.0f} s", flush=True)
    return found


def write(curves: list[Curve], mode: str) -> None:
    """Plots, and the section of docs/performance.md."""
    plots = ROOT / "docs" / "plots"
    plots.mkdir(exist_ok=True)
    parts = [f"Measured on {marked.circumstances()}, {mode} mode, {SECONDS[mode]:g} s of load for each figure."]
    for curve in curves:
        (plots / f"{curve.name}.svg").write_text(draw(curve))
        parts += [f"![{curve.title}](plots/{curve.name}.svg)", marked.markdown(*curve.table())]
        if curve.notes:
            parts.append("\n".join(f"* {note}" for note in curve.notes))
    marked.write("growth", "\n\n".join(parts))


def main() -> None:
    """Parse, measure, show."""
    parser = argparse.ArgumentParser(prog="bench.growth", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    modes = parser.add_mutually_exclusive_group()
    modes.add_argument("--quick", dest="mode", action="store_const", const="quick", default="usual", help="under three minutes")
    modes.add_argument("--full", dest="mode", action="store_const", const="full", help="to 10,000,000 objects in a container")
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(MEASURES), help=f"of {','.join(MEASURES)}")
    parser.add_argument("--write-docs", action="store_true", help="put tables and plots into docs/performance.md")
    args = parser.parse_args()
    if unknown := set(args.only) - set(MEASURES):
        parser.error(f"there is no curve {', '.join(sorted(unknown))}")
    uvloop.install()
    curves = asyncio.run(measured(args.mode, args.only))
    for curve in curves:
        print(f"\n{curve.title}\n{marked.plain(*curve.table())}")
        print("\n".join(curve.notes))
    if args.write_docs:
        write(curves, args.mode)


if __name__ == "__main__":
    main()
