"""Fault tests: their figures at the end of the run."""

import pytest

from tests.faults.figures import PROPERTY, Count, Tally

TALLY = "faults tally"


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Tally(), TALLY)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    tally = config.pluginmanager.get_plugin(TALLY)
    if isinstance(tally, Tally):
        for line in tally.lines():
            terminalreporter.write_line(line)


@pytest.fixture
def count(record_property) -> Count:  # type: ignore[no-untyped-def]
    """Adds numbers to a heading's sums."""

    def add(heading: str, **numbers: int) -> None:
        record_property(PROPERTY, (heading, numbers))

    return add
