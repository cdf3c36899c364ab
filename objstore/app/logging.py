"""The log: one line per event on standard output, `time level part txn key=value ...`, or the same as JSON.

Values that hold anything but plain printable text are quoted, so that no name, path or header can forge a line or move a
terminal's cursor (security test S30). Keys that name a secret never reach the line (S29).
"""

import asyncio
import json
import logging
import re
import sys
import time
from contextlib import nullcontext
from functools import lru_cache
from typing import Any, TextIO

from objstore.app.config import Log

ROOT = "objstore"
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_SECRET = re.compile(r"secret|token|password|passwd|signature|authorization|credential|(^|_)key$|cookie", re.IGNORECASE)
_PLAIN = re.compile(r"[!#-<>-\[\]-~]+")
"""Printable ASCII without space, quote, equals sign and backslash."""
HIDDEN = "***"
VALUE_CHARS_MAX = 2048
WAITS_S = 0.02
WAITING_MAX = 256
KEYS_MAX = 1024


def quote(value: object) -> str:
    """A value as it stands in a text line: bare where nothing can be misread, else as a JSON string of ASCII characters."""
    if type(value) is int:
        return str(value)
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    if len(text) > VALUE_CHARS_MAX:
        text = text[:VALUE_CHARS_MAX] + "..."
    return text if _PLAIN.fullmatch(text) else json.dumps(text)


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """What the event carries beside its words: the `extra` keys, secrets hidden, and the error."""
    found: dict[str, Any] = {}
    for key, value in vars(record).items():
        show = _shown(key)
        if show is not None:
            found[key] = value if show else HIDDEN
    if record.exc_info and record.exc_info[1] is not None:
        error = record.exc_info[1]
        found["error"] = f"{type(error).__name__}: {error}"
        if record.levelno >= logging.ERROR:
            found["traceback"] = logging.Formatter().formatException(record.exc_info)
    return found


@lru_cache(maxsize=KEYS_MAX)
def _shown(key: str) -> bool | None:
    """False for a key that names a secret, None for one that is not the event's own."""
    if key in _STANDARD or key.startswith("_"):
        return None
    return not _SECRET.search(key)


class TextFormatter(logging.Formatter):
    """`2026-01-31T12:00:00.123Z info object stored txn=tx1 partition=7`"""

    def __init__(self, process: str) -> None:
        super().__init__()
        self.process = process

    def format(self, record: logging.LogRecord) -> str:
        part = record.name.removeprefix(ROOT + ".")
        words = [stamp(record.created), record.levelname.lower(), self.process, part, _words(record)]
        words += [f"{key}={quote(value)}" for key, value in fields_of(record).items()]
        return " ".join(words)


class JsonFormatter(logging.Formatter):
    """The same event as one JSON object."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self.process = process

    def format(self, record: logging.LogRecord) -> str:
        event = {
            "time": stamp(record.created),
            "level": record.levelname.lower(),
            "process": self.process,
            "part": record.name.removeprefix(ROOT + "."),
            "event": record.getMessage(),
        }
        return json.dumps(event | {key: _plain(value) for key, value in fields_of(record).items()})


def _words(record: logging.LogRecord) -> str:
    """The event's words; they may hold a name that a client chose, so control characters are escaped here too."""
    text = record.getMessage()
    return text if text.isascii() and text.isprintable() else json.dumps(text)


def _plain(value: object) -> object:
    return value if isinstance(value, (int, float, bool, type(None))) else str(value)[:VALUE_CHARS_MAX]


def stamp(seconds: float) -> str:
    """UTC with milliseconds (RFC 3339)."""
    whole = int(seconds)
    return f"{_second(whole)}.{int((seconds - whole) * 1000):03d}Z"


@lru_cache(maxsize=2)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


class TogetherHandler(logging.StreamHandler[TextIO]):
    """Writes events at once, and with them what waits: lines that `say` was given. Those of a moment are written together, as each
    write wakes whoever reads the log. All stay in order.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._waiting: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except (TypeError, ValueError, KeyError, AttributeError):  # a defect of who logs must not become one of what it does
            self.handleError(record)
            return
        self._waiting.append(line + self.terminator)
        self.flush()

    def say(self, line: str) -> None:
        """A line that needs no formatting, and may wait for a moment."""
        with self.lock or nullcontext():
            self._waiting.append(line + self.terminator)
            try:
                if len(self._waiting) == 1:
                    asyncio.get_running_loop().call_later(WAITS_S, self.flush)
                if len(self._waiting) < WAITING_MAX:
                    return
            except RuntimeError:  # no event loop here
                pass
            self.flush()

    def flush(self) -> None:
        with self.lock or nullcontext():
            lines, self._waiting = self._waiting, []
            if lines:
                try:
                    self.stream.write("".join(lines))
                except (OSError, ValueError):  # nobody reads the log any more; logging says so once, on standard error
                    self.handleError(logging.makeLogRecord({"msg": "log not written"}))
            super().flush()


def start_logging(config: Log, process: str) -> None:
    """Send all events of this process to standard output. `process` names it in every line."""
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False  # no line shows them
    handler = TogetherHandler(sys.stdout)
    handler.setFormatter(JsonFormatter(process) if config.format == "json" else TextFormatter(process))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(ROOT).setLevel(config.level.upper())
    if not config.access:
        logging.getLogger(f"{ROOT}.access").setLevel(logging.WARNING)
    logging.captureWarnings(True)
