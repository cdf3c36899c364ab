"""Log lines: one per event whatever is in it, and no secrets."""

import json
import logging
import sys

import pytest

from objstore.app.logging import HIDDEN, JsonFormatter, TextFormatter, quote

NASTY = 'a\nb\rc\x1b[31m\x00\u2028 "quoted" k=v \\'


def record(message: str = "object stored", **extra: object) -> logging.LogRecord:
    made = logging.makeLogRecord(
        {"name": "objstore.object", "levelno": logging.INFO, "levelname": "INFO", "msg": message, "created": 0.5}
    )
    made.msecs = 500
    vars(made).update(extra)
    return made


def test_the_shape_of_a_line() -> None:
    line = TextFormatter("node1").format(record(txn="tx1", partition=7, seconds=0.25))
    assert line == "1970-01-01T00:00:00.500Z info node1 object object stored txn=tx1 partition=7 seconds=0.25"


@pytest.mark.parametrize("value", [NASTY, "\x7f", "é", "", "a b", "x=y", '"', "\u202e", "\ud800"])
def test_no_value_can_forge_a_line(value: str) -> None:
    line = TextFormatter("p").format(record(path=value))
    assert line.isascii() and line.isprintable()
    assert json.loads(line.partition("path=")[2]) == value


def test_no_message_can_forge_a_line() -> None:
    assert TextFormatter("p").format(record(NASTY)).isprintable()


def test_plain_values_stay_bare() -> None:
    assert [quote(v) for v in ("/v1/AUTH_test/c/o", "tx0", 12, 0.5, True)] == ["/v1/AUTH_test/c/o", "tx0", "12", "0.5", "True"]


def test_long_values_are_cut() -> None:
    assert len(quote("x" * 100_000)) < 3000


@pytest.mark.parametrize("key", ["token", "x_auth_token", "secret", "user_key", "authorization", "signature", "password", "cookie"])
@pytest.mark.parametrize("formatter", [TextFormatter("p"), JsonFormatter("p")])
def test_secrets_never_reach_the_line(formatter: logging.Formatter, key: str) -> None:
    line = formatter.format(record(**{key: "canary-5533"}))
    assert "canary" not in line
    assert HIDDEN in line


def test_errors_are_on_the_same_line() -> None:
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        line = TextFormatter("p").format(record(exc_info=sys.exc_info(), levelno=logging.ERROR))
    assert "\n" not in line
    assert 'error="ValueError: first\\nsecond"' in line
    assert "traceback=" in line


def test_json_lines() -> None:
    event = json.loads(JsonFormatter("p").format(record(txn="tx1", count=3, path=NASTY)))
    assert event == {
        **{"time": "1970-01-01T00:00:00.500Z", "level": "info", "process": "p", "part": "object", "event": "object stored"},
        **{"txn": "tx1", "count": 3, "path": NASTY},
    }
