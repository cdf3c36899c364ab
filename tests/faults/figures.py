"""The figures that fault tests print: each test adds its numbers under a heading, sums go to the end of the run.

A test reports through pytest's user properties, so that the numbers of parallel workers reach the process that prints.
"""

from collections.abc import Callable

import pytest

PROPERTY = "figures"
PLUGIN = "figures of fault tests"

Count = Callable[..., None]
"""count("crash states", **{"distinct states": 12, "violations": 0})"""


class Tally:
    """A pytest plugin that sums what the tests counted, and notes what did not run."""

    def __init__(self) -> None:
        self.sums: dict[str, dict[str, int]] = {}
        self.not_run: dict[str, int] = {}
        self.failures: list[str] = []

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.failures.append(f"{report.nodeid}\n{report.longreprtext}")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failures.append(f"{report.nodeid}\n{report.longreprtext}")
        if report.skipped and isinstance(report.longrepr, tuple) and "not run" in report.longrepr[2]:
            reason = report.longrepr[2].removeprefix("Skipped: ")
            self.not_run[reason] = self.not_run.get(reason, 0) + 1
        if report.when != "teardown":
            return
        for name, value in report.user_properties:
            if name == PROPERTY:
                heading, numbers = value  # type: ignore[misc]
                sums = self.sums.setdefault(str(heading), {})
                for label, number in numbers.items():  # type: ignore[attr-defined]
                    sums[label] = sums.get(label, 0) + int(number)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for line in self.lines():
            terminalreporter.write_line(line)

    def lines(self) -> list[str]:
        """One per heading, one per reason for not running."""
        found = []
        for heading, numbers in sorted(self.sums.items()):
            found.append(f"{heading}: " + ", ".join(f"{label} {number:,}" for label, number in numbers.items()))
        return found + [f"{reason} ({count} tests)" for reason, count in self.not_run.items()]


def register(config: pytest.Config) -> None:
    """For a conftest's `pytest_configure`: sums are printed once, however many folders are run."""
    if not config.pluginmanager.has_plugin(PLUGIN):
        config.pluginmanager.register(Tally(), PLUGIN)


def counter(record_property: Callable[[str, object], None]) -> Count:
    """For a conftest's fixture: adds numbers to a heading's sums."""

    def add(heading: str, **numbers: int) -> None:
        record_property(PROPERTY, (heading, numbers))

    return add
