"""A pytest plugin that appends every outcome to a file as one JSON line, at once.

A JUnit report is written only when pytest ends by itself; this log also tells what happened up to a hang or a kill.
Loaded with `-p pytest_outcome_log`; the file is named by the environment variable OUTCOME_LOG.
Runs in the private environment of the suite, so it imports nothing of the store.

Lines: {"event": "collected", "test": id}
       {"event": "broken", "test": file, "reason": text}               a file that could not be imported
       {"event": "report", "test": id, "phase": "setup|call|teardown",
        "outcome": "passed|failed|skipped", "seconds": float, "reason": text}
"""

import json
import os
from typing import Any

import pytest

LOG_VARIABLE = "OUTCOME_LOG"


def append(**line: Any) -> None:
    with open(os.environ[LOG_VARIABLE], "a", encoding="utf-8") as log:
        log.write(json.dumps(line) + "\n")


def reason_of(report: Any) -> str:
    """The head of the assertion or exception, or why the test was skipped."""
    detail = report.longrepr
    if detail is None:
        return ""
    if isinstance(detail, tuple):
        return str(detail[2]).removeprefix("Skipped: ")
    crash = getattr(detail, "reprcrash", None)
    if crash is None:
        return str(detail).strip()[-600:]
    return f"{crash.message[:600]} ({os.path.basename(crash.path)}:{crash.lineno})"


def pytest_collection_finish(session: pytest.Session) -> None:
    for item in session.items:
        append(event="collected", test=item.nodeid)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        append(event="broken", test=report.nodeid, reason=reason_of(report))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    append(
        event="report",
        test=report.nodeid,
        phase=report.when,
        outcome=report.outcome,
        seconds=round(report.duration, 3),
        reason=reason_of(report) if report.outcome != "passed" else "",
    )
