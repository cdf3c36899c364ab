"""What Swift's clients send and the HTTP parser refuses: bytes ≥ 0x80 in names of metadata headers, and in the request target.

`HeadFilter` stands before aiohttp's parser. A header name `X-(Account|Container|Object)-Meta-…` that holds such bytes is replaced
by an ASCII name with a random word that only this process knows, and decoded again where header names are read; such bytes in
the target are percent-encoded. Nothing else is changed, and what is changed never alters where a message begins or ends: the
parser behind sees every byte that decides framing.

A client that pipelines requests gets the parser's own strictness.
"""

from collections.abc import Sequence
from typing import Protocol
from urllib.parse import quote_from_bytes

from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader

from objstore.runtime.interface import Rng

Parsed = tuple[Sequence[tuple[RawRequestMessage, StreamReader]], bool, bytes]

_END = b"\r\n\r\n"
_PREFIXES = (b"x-object-meta-", b"x-container-meta-", b"x-account-meta-")
_TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_TARGET_SAFE = "".join(chr(c) for c in range(0x21, 0x7F))
_NOTHING: Parsed = ((), False, b"")


class HeadTooLarge(HttpProcessingError):
    """The request head is beyond the limit (431)."""

    code = 431
    message = "Request header too large"


class BodyMalformed(Exception):
    """The framing of a request's body is broken; set on its payload."""


class Parser(Protocol):
    """aiohttp's request parser, as its RequestHandler uses it."""

    def feed_data(self, data: bytes) -> Parsed: ...
    def feed_eof(self) -> object: ...
    def set_upgraded(self, val: bool) -> None: ...
    def message_consumed(self) -> None: ...
    def pause_reading(self) -> None: ...


class NameCodec:
    """The ASCII form of metadata header names that hold bytes ≥ 0x80. One per process."""

    def __init__(self, rng: Rng) -> None:
        self.mark = f"x-utf8-{rng.token_bytes(16).hex()}-"

    def encode(self, name: bytes) -> bytes | None:
        """None for a name that must be left to the parser."""
        lower = name.lower()
        if not lower.startswith(_PREFIXES) or any(c < 0x80 and c not in _TOKEN for c in name):
            return None
        return (self.mark + lower.hex()).encode("ascii")

    def decode(self, name: str) -> bytes:
        """The client's name, in lower case, of one that begins with `mark`."""
        return bytes.fromhex(name[len(self.mark) :])


def rewrite_head(head: bytes, codec: NameCodec) -> bytes:
    """`head` (whole lines, CRLF at the end) in the parser's terms."""
    lines = head.split(b"\r\n")
    for index, line in enumerate(lines):
        if line.isascii():
            continue
        name, colon, value = line.partition(b":")
        encoded = codec.encode(name) if colon and not name.isascii() else None
        if encoded is not None:
            lines[index] = encoded + colon + value
        elif line.endswith((b" HTTP/1.1", b" HTTP/1.0")) and line.count(b" ") == 2:
            method, target, version = line.split(b" ")
            lines[index] = b" ".join((method, quote_from_bytes(target, safe=_TARGET_SAFE).encode("ascii"), version))
    return b"\r\n".join(lines)


class HeadFilter:
    """A parser before the parser. `mid_head` tells whether a request head has begun and not ended."""

    def __init__(self, parser: Parser, codec: NameCodec, line_bytes_max: int, head_bytes_max: int) -> None:
        self._parser = parser
        self._codec = codec
        self._line_bytes_max = line_bytes_max
        self._head_bytes_max = head_bytes_max
        self._payload: StreamReader | None = None
        self._held = b""  # the head's last line, not yet whole
        self._head_bytes = 0  # of this head, already with the parser
        self._body_fed = 0  # bytes given to the parser since the head ended
        self._last = b""  # the last four bytes the client sent
        self._blind = False  # no telling where the next head begins
        self._strict = False  # the client pipelines
        self._in_flight = 0
        self.failed = False
        """What came behind the last request is not HTTP: nothing more can follow it."""

    @property
    def mid_head(self) -> bool:
        return bool(self._held or self._head_bytes)

    def feed_data(self, data: bytes) -> Parsed:
        """As the parser's. Raises HttpProcessingError."""
        if self._blind or self._strict or not data or self._in_body():
            self._body_fed += len(data)
            return self._pass(data, data)
        if self._held:
            data, self._held = self._held + data, b""
        end = data.find(_END)
        if self._head_bytes and data.startswith(b"\r\n"):
            cut = 2
        elif end >= 0:
            cut = end + 4
        else:
            return self._partial(data)
        self._head_bytes, total = 0, self._head_bytes + cut
        if total > self._head_bytes_max:
            raise HeadTooLarge
        self._body_fed = len(data) - cut
        return self._whole(data[:cut], data[cut:]) if len(data) > cut or not data.isascii() else self._pass(data, data)

    def _whole(self, head: bytes, rest: bytes) -> Parsed:
        """A head's end and what came behind it. The head goes first: broken bytes behind it must not hide the request, which may
        be refused for a better reason.
        """
        parsed = self._pass(head if head.isascii() else rewrite_head(head, self._codec), rest or head)
        if not rest or parsed[1]:
            return parsed
        try:
            behind = self._pass(rest, rest)
        except HttpProcessingError:
            if not parsed[0]:
                raise
            self.failed = True
            return parsed
        return (*parsed[0], *behind[0]), behind[1], behind[2]

    def _partial(self, data: bytes) -> Parsed:
        """A head without its end: whole lines go on, the last one waits for the rest of it."""
        cut = data.rfind(b"\n") + 1
        if len(data) - cut > self._line_bytes_max:
            cut = len(data)
        head, self._held = data[:cut], data[cut:]
        self._head_bytes += cut
        if self._head_bytes + len(self._held) > self._head_bytes_max:
            raise HeadTooLarge
        if not head:
            return _NOTHING
        return self._pass(head if head.isascii() else rewrite_head(head, self._codec), head)

    def _pass(self, data: bytes, sent: bytes) -> Parsed:
        """Feed the parser; `sent` ends with the last bytes the client sent."""
        try:
            parsed = self._parser.feed_data(data)
        except HttpProcessingError:
            if self._payload is not None and not self._payload.is_eof():
                self._payload.set_exception(BodyMalformed())
            raise
        messages = parsed[0]
        if messages:
            self._head_bytes = 0
            self._payload = messages[-1][1]
            self._in_flight += len(messages)
            self._strict = self._strict or self._in_flight > 1
        if sent:
            self._last = sent[-4:] if len(sent) >= 4 else (self._last + sent)[-4:]
            if self._payload is not None and self._payload.is_eof():
                self._blind = self._body_fed != self._payload.total_bytes and self._last != _END
        return parsed

    def _in_body(self) -> bool:
        return self._payload is not None and not self._payload.is_eof()

    def message_consumed(self) -> None:
        self._in_flight -= 1
        self._parser.message_consumed()

    def feed_eof(self) -> object:
        return self._parser.feed_eof()

    def set_upgraded(self, val: bool) -> None:
        self._parser.set_upgraded(val)

    def pause_reading(self) -> None:
        self._parser.pause_reading()
