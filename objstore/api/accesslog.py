"""One line of the log for each request."""

import logging
from typing import Protocol

from objstore.api.request import Request

ACCESS = logging.getLogger("objstore.access")


class AccessLog(Protocol):
    """Takes note of requests. The query is left out: it may hold signatures."""

    def request(self, request: Request, status: int, sent: int, seconds: float) -> None:
        """One that was answered with `sent` bytes of body. Must not raise."""


class AccessEvents:
    """As events like all others."""

    def request(self, request: Request, status: int, sent: int, seconds: float) -> None:
        """As AccessLog."""
        if ACCESS.isEnabledFor(logging.INFO):
            record = logging.LogRecord(ACCESS.name, logging.INFO, "", 0, "request", None, None)  # no caller to look for
            record.__dict__.update(
                txn=request.txn,
                method=request.method,
                path=printable(request.path),
                status=status,
                bytes_in=request.bytes_received,
                bytes_out=sent,
                ms=round(seconds * 1000, 2),
                user=request.user,
                client=request.connection.client,
            )
            ACCESS.handle(record)


def printable(path: str) -> str:
    """A path as it stands in the log."""
    return path if path.isascii() and path.isprintable() else ascii(path)
