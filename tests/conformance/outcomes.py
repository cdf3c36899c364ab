"""Reads the outcome log of a suite and renders it: a matrix per file, every test not passed with its reason, a total."""

import json
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

REASON_CHARS_MAX = 180
NOT_ENDED = "did not end, or was never started"


@dataclass
class Outcome:
    """One test. `status` is passed, failed or skipped; a test that was collected and never ended is failed."""

    test: str
    status: str = "failed"
    reason: str = NOT_ENDED
    seconds: float = 0.0

    @property
    def file(self) -> str:
        return os.path.basename(self.test.partition("::")[0])

    @property
    def name(self) -> str:
        return self.test.partition("::")[2].replace("::", ".")


def read_outcomes(path: str) -> list[Outcome]:
    """Outcomes in collection order. A test passes when its call passed and no phase failed."""
    found: dict[str, Outcome] = {}
    for event in read_events(path):
        outcome = found.setdefault(event["test"], Outcome(event["test"]))
        if event["event"] == "broken":
            outcome.reason = event["reason"]
        elif event["event"] == "report":
            add_phase(outcome, event)
    return list(found.values())


def read_events(path: str) -> Iterable[dict[str, str]]:
    """The log's lines; a last line cut off by a kill is left out."""
    if not os.path.exists(path):
        return
    with open(path, encoding="utf-8") as log:
        for line in log:
            if line.endswith("\n"):
                yield json.loads(line)


def add_phase(outcome: Outcome, event: dict[str, str]) -> None:
    outcome.seconds += float(event["seconds"])
    if event["outcome"] == "failed":
        in_phase = "" if event["phase"] == "call" else f"in {event['phase']}: "
        outcome.status, outcome.reason = "failed", in_phase + event["reason"]
    elif event["outcome"] == "skipped":
        outcome.status, outcome.reason = "skipped", event["reason"]
    elif event["phase"] == "call":
        outcome.status, outcome.reason = "passed", ""


def matrix(outcomes: list[Outcome]) -> str:
    """One line per file and a total: passed, failed, skipped, all, seconds."""
    files: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        files.setdefault(outcome.file, []).append(outcome)
    width = max([len(name) for name in files] + [len("total")])
    lines = [f"{'file':<{width}}  {'passed':>7} {'failed':>7} {'skipped':>7} {'total':>7} {'seconds':>8}"]
    for name, of_file in [*files.items(), ("total", outcomes)]:
        count = Counter(outcome.status for outcome in of_file)
        seconds = sum(outcome.seconds for outcome in of_file)
        numbers = f"{count['passed']:>7} {count['failed']:>7} {count['skipped']:>7} {len(of_file):>7} {seconds:>8.1f}"
        lines.append(f"{name:<{width}}  {numbers}")
    return "\n".join(lines)


def not_passed(outcomes: list[Outcome]) -> str:
    """Every skipped, then every failed test with a reason of one line; the failed come last, where a reader looks."""
    lines = []
    for status in ("skipped", "failed"):
        for outcome in outcomes:
            if outcome.status == status:
                reason = " ".join(outcome.reason.split())[:REASON_CHARS_MAX]
                lines.append(f"{status.upper()} {outcome.file} {outcome.name}: {reason}")
    return "\n".join(lines)


def total_line(outcomes: list[Outcome]) -> str:
    count = Counter(outcome.status for outcome in outcomes)
    return f"{count['passed']} passed, {count['failed']} failed, {count['skipped']} skipped"
