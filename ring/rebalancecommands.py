"""The ring builder's commands that assign partitions: rebalance, and plan, which only says what rebalance would do."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from copy import deepcopy

from ring import report
from ring.builder import Rebalanced, RingBuilder
from ring.builderfile import Files
from ring.options import EXIT_DONE, EXIT_WARNING, CommandParser

BALANCE_WARN_PERCENT = 5.0
CHANGE_WORTH_PERCENT = 1.0
RULE = "-" * 79


def plan(files: Files, arguments: Sequence[str]) -> int:
    """What a rebalance would do, without doing it."""
    parser = CommandParser("plan", "[--seed SEED]", "Shows what a rebalance would change. Nothing is written.")
    parser.add_argument("-s", "--seed", help="seed to use")
    seed = _seed(parser.parse(arguments).seed)
    before = files.load()
    after = deepcopy(before)
    result = after.rebalance(seed, files.now_s)
    for line in report.plan_lines(before, after, result):
        print(line)
    return EXIT_DONE


def rebalance(files: Files, arguments: Sequence[str]) -> int:
    """Assign partitions to devices, and write the ring."""
    parser = CommandParser("rebalance", "[--force] [--seed SEED]", "Assigns partitions to devices, moving as few as it can.")
    parser.add_argument("-f", "--force", action="store_true", help="write the ring even if nothing worth it has changed")
    parser.add_argument("-s", "--seed", help="seed to use; the same builder and seed give the same ring")
    parser.add_argument("-d", "--debug", action="store_true", help="show what changes by device")
    parser.add_argument("--format-version", type=int, choices=(1,), default=1, help="of the ring file: 1, which every Swift reads")
    parsed = parser.parse(arguments)
    builder = files.load()
    before = deepcopy(builder)
    result = builder.rebalance(_seed(parsed.seed), files.now_s)
    builder.check()
    if not parsed.force and not _worth_saving(before, builder, result):
        _tell_why_not(before, result, files.now_s)
        return EXIT_WARNING
    if parsed.debug:
        for line in report.plan_lines(before, builder, result):
            print(line)
    print(report.rebalance_line(builder, result))
    files.save(builder)
    builder.to_ring().save(files.ring, files.now_s)
    return _rebalance_notes(builder)


def _worth_saving(before: RingBuilder, after: RingBuilder, result: Rebalanced) -> bool:
    if result.removed_devices or list(map(len, before.rows)) != list(map(len, after.rows)):
        return True
    if not result.assigned or before.changed:
        return bool(result.assigned)
    balance_change = abs(report.balance(before) - report.balance(after))
    dispersion_change = abs(report.dispersion(before).percent - report.dispersion(after).percent)
    return max(balance_change, dispersion_change) >= CHANGE_WORTH_PERCENT


def _tell_why_not(before: RingBuilder, result: Rebalanced, now_s: float) -> None:
    if result.assigned:
        print("Cowardly refusing to save rebalance as it did not change at least 1%.")
        return
    print("No partitions could be reassigned.")
    wait_s = before.wait_s(now_s)
    if wait_s:
        remaining = f"{wait_s // 3600}:{wait_s // 60 % 60:02}:{wait_s % 60:02}"
        hours = before.min_part_hours
        print(f"The time between rebalances must be at least min_part_hours: {hours} hours ({remaining} remaining)")
    else:
        print("There is no need to do so at this time")


def _rebalance_notes(builder: RingBuilder) -> int:
    percent, balance = report.dispersion(builder).percent, report.balance(builder)
    if percent > 0:
        note = f"NOTE: Dispersion of {percent:.6f} indicates some parts are\n      not optimally dispersed.\n\n"
        note += "      You may want to adjust some device weights, increase\n      the overload or review the dispersion report."
    elif balance > BALANCE_WARN_PERCENT and balance / 100.0 > builder.overload:
        note = f"NOTE: Balance of {balance:.2f} indicates you should push this\n"
        note += f"      ring, wait at least {builder.min_part_hours} hours, and rebalance/repush."
    else:
        return EXIT_DONE
    print(f"{RULE}\n{note}\n{RULE}")
    return EXIT_WARNING


def _seed(text: str | None) -> int | None:
    """A number is itself; any other text is hashed, so that it gives the same seed everywhere."""
    if text is None:
        return None
    if text.isascii() and text.isdigit() and len(text) < 19:
        return int(text)
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()[:8], "big")
