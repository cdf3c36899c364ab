"""Access lines on their way around Python's logging, which takes longer over one than an API over a request."""

import json
import logging
import time

from objstore.api.accesslog import ACCESS, AccessEvents, AccessLog, printable
from objstore.api.request import Request
from objstore.app.config import Log
from objstore.app.logging import TogetherHandler, quote, stamp


def access_log(config: Log, process: str) -> AccessLog:
    """What the edge of this process tells of requests, in the log that `start_logging` has begun."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, TogetherHandler):
            return AccessLines(handler, process, as_json=config.format == "json")
    return AccessEvents()


class AccessLines:
    """The same lines as those of AccessEvents, made in one go."""

    def __init__(self, handler: TogetherHandler, process: str, *, as_json: bool) -> None:
        self._handler = handler
        self._process = process
        self._line = self._json if as_json else self._text

    def request(self, request: Request, status: int, sent: int, seconds: float) -> None:
        """As AccessLog."""
        if ACCESS.isEnabledFor(logging.INFO):
            self._handler.say(self._line(request, status, sent, round(seconds * 1000, 2)))

    def _text(self, request: Request, status: int, sent: int, ms: float) -> str:
        return (
            f"{stamp(time.time())} info {self._process} access request txn={request.txn} method={quote(request.method)}"
            f" path={quote(printable(request.path))} status={status} bytes_in={request.bytes_received} bytes_out={sent} ms={ms:.6g}"
            f" user={quote(request.user)} client={quote(request.connection.client)}"
        )

    def _json(self, request: Request, status: int, sent: int, ms: float) -> str:
        event = {
            **{"time": stamp(time.time()), "level": "info", "process": self._process, "part": "access", "event": "request"},
            **{"txn": request.txn, "method": request.method, "path": printable(request.path), "status": status},
            **{"bytes_in": request.bytes_received, "bytes_out": sent, "ms": ms},
            **{"user": request.user, "client": request.connection.client},
        }
        return json.dumps(event)
