"""`make counted`: how many calls of Python and C functions a request makes, by package, beside the budget that a test guards.

A small cluster answers single requests, one after the other, with a profile function in every thread of every process. What is
counted is the same on a fast and on a slow machine, idle or loaded. `--record` makes it the budget.
"""

import argparse
import asyncio

import uvloop

from bench import marked
from bench.counted import budget
from bench.counted.budget import FILE, VERSION, Counted
from bench.counted.counting import ALL, Calls


def table(counted: Counted, before: Counted) -> str:
    """Packages in rows, kinds in columns; with what has changed since the budget was recorded."""
    parts = [*sorted({part for found in counted.values() for part in found} - {ALL}), ALL]
    rows = []
    for part in parts:
        cells = []
        for kind, found in counted.items():
            calls = found.get(part, 0.0)
            change = calls - before[kind].get(part, 0.0) if kind in before else 0.0
            cells.append(f"{calls:,.1f} ({change:+,.1f})" if abs(change) >= 0.5 else f"{calls:,.1f}")
        rows.append([part, *cells])
    return marked.plain(["", *counted], rows)


def functions(calls: Calls, count: int) -> str:
    """The functions that are called most, or that call most."""
    lines = []
    for call, times in sorted(calls.items(), key=lambda one: -one[1])[:count]:
        lines.append(f"{times:9.1f}  {call.file} {call.function}{' calls ' + call.callee if call.callee else ''}")
    return "\n".join(lines)


def main() -> None:
    """Parse, count, show; record if told to. Exit code 1 when something is over the budget."""
    parser = argparse.ArgumentParser(
        prog="bench.counted", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--record", action="store_true", help=f"make this the budget for Python {VERSION}, in tests/cluster/{FILE.name}"
    )
    parser.add_argument("--functions", type=int, default=0, help="also print so many of the functions called most by each kind")
    args = parser.parse_args()
    uvloop.install()
    before = budget.recorded()
    print(f"counting, {budget.STRETCHES} stretches of each kind of request", flush=True)
    counted, calls = asyncio.run(budget.count())
    print(f"calls per request, all processes; in brackets what changed since the budget\n\n{table(counted, before or {})}")
    for kind, found in calls.items() if args.functions else ():
        print(f"\n{kind}\n{functions(found, args.functions)}")
    if args.record:
        budget.record(counted)
        print(f"\nrecorded for Python {VERSION}: {FILE}")
    elif before is None:
        print(f"\nthere is no budget for Python {VERSION}: --record makes one")
    elif lines := budget.over(counted, before):
        raise SystemExit("\n" + "\n".join(["over the budget:", *lines]))


if __name__ == "__main__":
    main()
