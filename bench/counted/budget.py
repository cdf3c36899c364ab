"""The budget of calls: what each kind of request made when the budget was recorded, and how much more is too much."""

import json
import sys
from pathlib import Path

from bench.counted.counting import ALL, KINDS, LIBRARIES, SYNCED, Calls, by_part, counting

FILE = Path(__file__).resolve().parents[2] / "tests" / "cluster" / "counted_work.json"
STRETCHES, STRETCHES_MAX = 8, 20
"""A loaded machine makes some more calls (a lease that is renewed, another piece of a message), never less: the least of several
stretches of the same work counts. So many, where a budget is not reached sooner.
"""
SHARE, CALLS, CALLS_MAX = 0.01, 8.0, 15.0
"""More than the budget by up to so many calls is taken for chance, in each package: 1 % and 8 calls, 15 at most."""
RPC, RPC_SHARE, ALL_SHARE = "objstore/rpc", 0.08, 0.03
ROWS = "objstore/tables"
ROWS_TIMES = 2.0
"""But how many messages arrive at once, and so with how many calls, depends on who gets to run when."""
SYNCS_MORE = 0.5
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
"""Interpreters differ in what they call: each has its budget."""

Counted = dict[str, dict[str, float]]
"""Kind of request -> package -> calls."""


def recorded() -> Counted | None:
    """The budget for this interpreter, if there is one."""
    budget: Counted | None = json.loads(FILE.read_text()).get(VERSION) if FILE.exists() else None
    return budget


def record(counted: Counted) -> None:
    """From now on this is the budget for this interpreter."""
    budgets = json.loads(FILE.read_text()) if FILE.exists() else {}
    FILE.write_text(json.dumps({**budgets, VERSION: counted}, indent=1, sort_keys=True) + "\n")


def limit(part: str, calls: float) -> float:
    """How many calls a request may make where the budget says `calls`."""
    if part == SYNCED:
        return calls + SYNCS_MORE
    if part == ROWS:
        return ROWS_TIMES * calls + CALLS_MAX  # how many rows share a transaction is up to time
    if part in (RPC, ALL):
        return calls * (1.0 + (RPC_SHARE if part == RPC else ALL_SHARE))
    return calls + min(CALLS + SHARE * calls, CALLS_MAX)


def over(counted: Counted, budget: Counted) -> list[str]:
    """A line for each package that makes more calls than it may. Libraries among themselves count in the sum alone."""
    lines = []
    for kind, parts in counted.items():
        for part, calls in parts.items():
            before = budget.get(kind, {}).get(part, 0.0)
            if part != LIBRARIES and calls > limit(part, before):
                lines.append(f"{kind}: {part} {calls:.1f}, budget {before:.1f}, {calls - before:+.1f}")
    return lines


def least(parts: dict[str, float], more: dict[str, float]) -> dict[str, float]:
    """Of two stretches. What one of them did not see at all happened by chance. The sum is that of the parts."""
    found = {part: min(calls, more[part]) for part, calls in parts.items() if part in more}
    return {**found, ALL: round(sum(found.values()) - found[ALL] - found.get(SYNCED, 0.0), 1)}


async def count(budget: Counted | None = None) -> tuple[Counted, dict[str, Calls]]:
    """The least calls of each kind, by package, and those of the last stretch; with a budget, no more stretches than it takes."""
    counted: Counted = {}
    last: dict[str, Calls] = {}
    async with counting() as one:
        for name, kind in KINDS.items():
            for _ in range(STRETCHES if budget is None else STRETCHES_MAX):
                last[name] = await one.of(kind)
                parts = by_part(last[name])
                counted[name] = least(counted[name], parts) if name in counted else parts
                if budget is not None and not over({name: counted[name]}, budget):
                    break
    return counted, last
