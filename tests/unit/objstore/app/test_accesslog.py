"""Access lines made in one go are those that logging would have made."""

import io
import json
import logging
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore.api.accesslog import ACCESS, AccessEvents
from objstore.app.accesslog import AccessLines, access_log
from objstore.app.config import Log
from objstore.app.logging import JsonFormatter, TextFormatter, TogetherHandler

TEXTS = st.text() | st.sampled_from(["/v1/AUTH_test/c/o", "a b", 'k=v "', "\x1b[31m", "é", "", "\ud800"])


@dataclass
class Peer:
    client: str


@dataclass
class Asked:
    """What the log needs of a request."""

    txn: str = "tx1"
    method: str = "GET"
    path: str = "/v1/AUTH_test/c/o"
    bytes_received: int = 0
    user: str = "test:tester"
    connection: Peer = field(default_factory=lambda: Peer("127.0.0.1"))


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture(autouse=True)
def level() -> None:
    ACCESS.setLevel(logging.INFO)


def by_logging(asked: Asked, status: int, sent: int, seconds: float) -> logging.LogRecord:
    kept = Kept()
    ACCESS.addHandler(kept)
    try:
        AccessEvents().request(asked, status, sent, seconds)  # type: ignore[arg-type]
    finally:
        ACCESS.removeHandler(kept)
    return kept.records[0]


@given(
    asked=st.builds(Asked, method=TEXTS, path=TEXTS, user=TEXTS, connection=st.builds(Peer, TEXTS), bytes_received=st.integers(0)),
    status=st.integers(100, 599),
    sent=st.integers(0),
    seconds=st.floats(0, 1e5),
)
def test_the_same_lines(asked: Asked, status: int, sent: int, seconds: float) -> None:
    record = by_logging(asked, status, sent, seconds)
    for as_json, formatter in ((False, TextFormatter("proxy1")), (True, JsonFormatter("proxy1"))):
        written = io.StringIO()
        AccessLines(TogetherHandler(written), "proxy1", as_json=as_json).request(asked, status, sent, seconds)  # type: ignore[arg-type]
        line, wanted = written.getvalue(), formatter.format(record)
        assert line.endswith("\n") and line.count("\n") == 1
        if as_json:
            assert {**json.loads(line), "time": ""} == {**json.loads(wanted), "time": ""}
        else:
            assert line[:-1].partition(" ")[2] == wanted.partition(" ")[2]


def test_lines_are_left_out_where_they_are_not_wanted() -> None:
    ACCESS.setLevel(logging.WARNING)
    written = io.StringIO()
    AccessLines(TogetherHandler(written), "proxy1", as_json=False).request(Asked(), 200, 0, 0.1)  # type: ignore[arg-type]
    assert written.getvalue() == ""


def test_without_a_log_of_its_own_a_process_tells_events() -> None:
    assert isinstance(access_log(Log(), "proxy1"), AccessEvents)
