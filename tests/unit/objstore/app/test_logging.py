"""Log lines: one per event whatever is in it, and no secrets."""

import asyncio
import io
import json
import logging
import sys

import pytest

from objstore.app.logging import HIDDEN, WAITING_MAX, WAITS_S, JsonFormatter, TextFormatter, TogetherHandler, quote

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


class Writes(io.StringIO):
    """Notes what is written at once."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []

    def write(self, text: str) -> int:
        self.pieces.append(text)
        return super().write(text)


def together() -> tuple[Writes, TogetherHandler]:
    written = Writes()
    handler = TogetherHandler(written)
    handler.setFormatter(logging.Formatter("%(path)s"))
    return written, handler


async def test_lines_of_a_moment_are_written_together() -> None:
    written, handler = together()
    handler.say("/1")
    handler.say("/2")
    assert written.pieces == []
    await asyncio.sleep(2 * WAITS_S)
    assert written.pieces == ["/1\n/2\n"]
    handler.say("/3")
    await asyncio.sleep(2 * WAITS_S)
    assert written.pieces == ["/1\n/2\n", "/3\n"]


async def test_an_event_leaves_at_once_with_all_that_waits() -> None:
    written, handler = together()
    handler.say("/1")
    handler.handle(record(path="/2"))
    assert written.pieces == ["/1\n/2\n"]


async def test_many_lines_do_not_wait_for_the_moment_to_end() -> None:
    written, handler = together()
    for number in range(WAITING_MAX):
        handler.say(f"/{number}")
    assert len(written.pieces) == 1 and written.getvalue().count("\n") == WAITING_MAX


async def test_none_is_kept_back_by_the_end() -> None:
    written, handler = together()
    handler.say("/1")
    handler.flush()
    assert written.getvalue() == "/1\n"


def test_lines_outside_of_an_event_loop_are_written_at_once() -> None:
    written, handler = together()
    handler.say("/1")
    assert written.getvalue() == "/1\n"
