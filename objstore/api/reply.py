"""Responses: what a handler returns, and its bytes on the wire.

A response holds exactly the header fields a handler names, plus those every response has. Head and a small body leave in one
write.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus

from objstore.api.request import Request
from objstore.model.octets import Octets, bytes_of

Fields = list[tuple[str, str]]

JOIN_BYTES_MAX = 65_536
"""A body up to this size is copied behind its head, to leave in one write."""

_REASONS = {status.value: status.phrase for status in HTTPStatus} | {408: "Request Timeout", 416: "Requested Range Not Satisfiable",
            422: "Unprocessable Entity", 499: "Client Disconnect", 507: "Insufficient Storage"}  # fmt: skip
_BODYLESS = frozenset({204, 304})


class BadField(ValueError):
    """A response field that would break the response apart."""


class CutShort(Exception):
    """A stream did not give as many bytes as it announced."""


@dataclass(slots=True)
class Reply:
    """One response. Either `body`, or `stream` of `length` bytes (None: not known, sent chunked).

    `close` ends the connection after it. `done` is awaited once the response is sent or has failed. A HEAD response takes
    `length`, or the length of `body`, and sends neither.
    """

    status: int
    fields: Fields = field(default_factory=list)
    body: bytes = b""
    stream: AsyncIterator[Octets] | None = None
    length: int | None = None
    close: bool = False
    done: Callable[[], Awaitable[None]] | None = None

    @property
    def content_length(self) -> int | None:
        return self.length if self.stream is not None or self.length is not None else len(self.body)


def reason_of(status: int) -> str:
    return _REASONS.get(status, "Unknown")


def status_line(status: int) -> str:
    """`404 Not Found`"""
    return f"{status} {reason_of(status)}"


def head_bytes(reply: Reply, request: Request, date: str, keep_alive: bool) -> bytes:
    """The status line and all fields, up to and including the empty line. Raises BadField."""
    version = "1.1" if request.version >= (1, 1) else "1.0"
    lines = [f"HTTP/{version} {reply.status} {reason_of(reply.status)}"]
    lines += [f"{name}: {value}" for name, value in reply.fields]
    length = reply.content_length
    if length is not None:
        if reply.status != 304 or length:
            lines.append(f"Content-Length: {length}")
    elif version == "1.1":
        lines.append("Transfer-Encoding: chunked")
    lines.append(f"X-Trans-Id: {request.txn}\r\nX-Openstack-Request-Id: {request.txn}\r\nDate: {date}")
    if not keep_alive:
        lines.append("Connection: close")
    elif version == "1.0" or "keep-alive" in request.headers.get("connection", "").lower():
        lines.append("Connection: keep-alive")
    text = "\r\n".join(lines)
    if not text.isascii():
        lines.sort(key=_is_named_oddly)
        text = "\r\n".join(lines)
    breaks = len(lines) + 1  # one less than lines, and two in the line of ids
    if text.count("\n") != breaks or text.count("\r") != breaks or "\0" in text:
        raise BadField(f"{request.txn}: a response field holds a line break or a NUL")
    return bytes_of(text + "\r\n\r\n")


def _is_named_oddly(line: str) -> bool:
    """Whether a field's name is more than ASCII. Such fields come last: Python's own HTTP client reads none behind one."""
    return not line.partition(":")[0].isascii()


async def send(reply: Reply, request: Request, date: str, keep_alive: bool) -> int:
    """Write the response; returns the bytes of body sent. Sets `request.responded` as soon as a byte of it is out.

    Raises ConnectionError when the client is gone, BadField, CutShort, and what the stream raises. A stream that fails with
    its first piece leaves room for another response; later on, only the connection can be dropped.
    """
    head = head_bytes(reply, request, date, keep_alive)
    write = request.writer.write
    if reply.stream is not None and request.method != "HEAD" and reply.status not in _BODYLESS:
        return await _send_stream(reply, reply.stream, request, head)
    if request.method == "HEAD" or reply.status in _BODYLESS:
        request.responded = True
        await write(head)
        return 0
    if reply.length is not None and len(reply.body) != reply.length:
        raise CutShort(f"{len(reply.body)} of {reply.length} bytes")
    request.responded = True
    if len(reply.body) <= JOIN_BYTES_MAX:
        await write(head + reply.body)
    else:
        await write(head)
        await write(reply.body)
    return len(reply.body)


async def _send_stream(reply: Reply, stream: AsyncIterator[Octets], request: Request, head: bytes) -> int:
    write = request.writer.write
    chunked = reply.length is None and request.version >= (1, 1)
    sent = 0
    pending = head
    async for piece in stream:
        if not piece:
            continue
        request.responded = True
        sent += len(piece)
        if chunked:
            await write(b"%s%x\r\n%s\r\n" % (pending, len(piece), piece))
        elif len(piece) <= JOIN_BYTES_MAX:
            await write(pending + piece)
        else:
            if pending:
                await write(pending)
            await write(piece)
        pending = b""
    if reply.length is not None and sent != reply.length:
        raise CutShort(f"{sent} of {reply.length} bytes")
    request.responded = True
    if chunked:
        pending += b"0\r\n\r\n"
    if pending:
        await write(pending)
    return sent
