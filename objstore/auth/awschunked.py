"""Bodies in the encoding aws-chunked ("Transferring Payload in Multiple Chunks", Amazon S3 API reference), decoded as they come.

    size in hex [;chunk-signature=64 hex digits] CRLF, bytes, CRLF      any number of times
    0 [;chunk-signature=64 hex digits] CRLF                             the last chunk
    name:value CRLF                                                     where trailers are announced
    x-amz-trailer-signature:64 hex digits CRLF                          where chunks are signed and trailers announced
    CRLF

S3 takes a body without the last CRLF, where something else ended it: the last chunk, or the trailers that were announced. After
unsigned trailers and the empty line it takes what else comes for no part of the body; here that is bounded.

A chunk may be as large as the body, so a signed one is not gathered: its bytes leave as they come, but the last of them leave
only when the signature of the chunk was found genuine. So what has left may be forged until `finish` returns, but a forged chunk
is never whole, nor is the body: its receiver throws away what it has when the decoder raises, and keeps it only after `finish`.
"""

from collections.abc import Mapping, Sequence
from enum import Enum, auto
from hashlib import sha256

from objstore.auth.s3checks import NAMES, CheckedBytes, incomplete
from objstore.auth.s3payload import PayloadMode
from objstore.auth.s3refusal import RefusalCode, S3Refused
from objstore.auth.sigv4keys import ChunkSigner
from objstore.model.checksums import ChecksumAlgorithm

CHUNK_BYTES_MIN = 8192
"""S3's minimum for every chunk but the last with bytes; it also bounds the work per byte."""
HEAD_BYTES_MAX = 256
TRAILER_BYTES_MAX = 1024
TRAILER_LINES_MAX = 8
EPILOGUE_BYTES_MAX = 1024
"""Of what follows unsigned trailers and counts for nothing."""
SIZE_DIGITS_MAX = 16
SIGNATURE_TRAILER = "x-amz-trailer-signature"

_HEX = frozenset(b"0123456789abcdefABCDEF")


class _State(Enum):
    HEAD = auto()
    DATA = auto()
    AFTER_DATA = auto()
    TRAILERS = auto()
    END = auto()


_LINE_BYTES_MAX = {_State.HEAD: HEAD_BYTES_MAX, _State.AFTER_DATA: 2, _State.TRAILERS: TRAILER_BYTES_MAX}


class ChunkDecoder:
    """Decodes one body. After an error it must not be used again.

    `signer` is that of the request's own signature, None where chunks are not signed. `size_bytes` is the decoded length the client
    announced; `trailers` are the names it announced, `checksums` what headers announced (both as `s3checks` reads them).
    """

    def __init__(
        self,
        mode: PayloadMode,
        size_bytes: int,
        trailers: Sequence[str],
        signer: ChunkSigner | None,
        checksums: Mapping[str, str] | None = None,
    ) -> None:
        if not mode.chunked or mode.signs_chunks != (signer is not None):
            raise ValueError(f"no decoder for {mode}")
        if trailers and not mode.has_trailers:
            raise S3Refused(RefusalCode.MALFORMED_TRAILER)
        self._signer = signer
        self._wanted = {*trailers, SIGNATURE_TRAILER} if mode is PayloadMode.CHUNKS_SIGNED_TRAILER else set(trailers)
        self._checked = CheckedBytes(size_bytes, [NAMES[name] for name in (*trailers, *(checksums or ()))])
        self._checksums = dict(checksums or {})
        self._epilogue_left = EPILOGUE_BYTES_MAX if trailers and signer is None else 0
        self._trailers: dict[str, str] = {}
        self._trailer_lines = 0
        self._state = _State.HEAD
        self._line = b""
        self._left = 0  # bytes of this chunk that are still to come
        self._number = 0  # of this chunk, from 1
        self._before = CHUNK_BYTES_MIN  # the size of the chunk before
        self._signature = ""  # of this chunk
        self._hash = sha256()

    def feed(self, data: bytes) -> list[bytes]:
        """The payload in the next bytes of the body, in pieces. Raises S3Refused when anything is wrong with them."""
        pieces: list[bytes] = []
        at = 0
        while at < len(data):
            match self._state:
                case _State.DATA:
                    piece = data[at : at + self._left]
                    at += len(piece)
                    pieces.append(self._take(piece))
                case _State.END:
                    self._epilogue_left -= len(data) - at
                    if self._epilogue_left < 0:
                        raise incomplete()  # bytes after the end: its framing is not what it seems
                    break
                case _:
                    at = self._read_line(data, at)
        return pieces

    def finish(self) -> dict[ChecksumAlgorithm, bytes]:
        """The body is whole and genuine: the digests that headers or trailers announced and that it has.

        Raises S3Refused: IncompleteBody when the bytes ended before the body did, BadDigest for another digest.
        """
        ended = not self._line and self._wanted <= self._trailers.keys() and self._wanted != {SIGNATURE_TRAILER}
        if self._state is _State.TRAILERS and ended:
            self._end_trailers()
        if self._state is not _State.END:
            raise incomplete()
        trailers = {name: value for name, value in self._trailers.items() if name != SIGNATURE_TRAILER}
        return self._checked.digests(self._checksums | trailers)

    def _take(self, piece: bytes) -> bytes:
        self._left -= len(piece)
        self._checked.update(piece)
        if self._signer is not None:
            self._hash.update(piece)
        if not self._left:
            self._verify_chunk()
            self._state = _State.AFTER_DATA
        return piece

    def _read_line(self, data: bytes, at: int) -> int:
        """Take up to the end of the line; returns where it stopped."""
        end = data.find(b"\n", at, at + TRAILER_BYTES_MAX + 1) + 1
        stop = end or min(len(data), at + TRAILER_BYTES_MAX + 1)
        self._line += data[at:stop]
        if len(self._line) > _LINE_BYTES_MAX[self._state] + 2 * (self._state is not _State.AFTER_DATA):
            raise incomplete()
        if end:
            line, self._line = self._line, b""
            if not line.endswith(b"\r\n"):
                raise incomplete()
            self._line_complete(line[:-2])
        return stop

    def _line_complete(self, line: bytes) -> None:
        match self._state:
            case _State.HEAD:
                self._begin_chunk(line)
            case _State.AFTER_DATA if not line:
                self._state = _State.HEAD
            case _State.TRAILERS:
                self._add_trailer(line)
            case _:
                raise incomplete()

    def _begin_chunk(self, head: bytes) -> None:
        size_text, semicolon, parameter = head.partition(b";")
        size = parse_size(size_text.rstrip(b" "))
        self._signature = ""
        if self._signer is not None:
            self._signature = _chunk_signature(parameter)
        elif semicolon:
            raise incomplete()
        self._number += 1
        if size and self._before < CHUNK_BYTES_MIN:
            details = {"Chunk": str(self._number), "BadChunkSize": str(self._before)}
            raise S3Refused(RefusalCode.INVALID_CHUNK_SIZE, details=details)
        self._checked.expect(size)
        self._left = self._before = size
        self._hash = sha256()
        if size:
            self._state = _State.DATA
        else:
            self._verify_chunk()
            self._state = _State.TRAILERS

    def _verify_chunk(self) -> None:
        if self._signer is not None:
            self._verify(self._signer, self._signer.chunk_text(self._hash.hexdigest()), self._signature)

    def _verify(self, signer: ChunkSigner, text: str, signature: str) -> None:
        signer.verify(text, signature)
        self._signer = signer.after(signature)

    def _add_trailer(self, line: bytes) -> None:
        if not line:
            return self._end_trailers()
        self._trailer_lines += 1
        name, colon, value = line.decode("ascii", "replace").partition(":")
        name, value = name.strip(" ").lower(), value.strip(" ")
        signed_already = SIGNATURE_TRAILER in self._trailers
        if not colon or name not in self._wanted or signed_already or self._trailer_lines > TRAILER_LINES_MAX:
            raise S3Refused(RefusalCode.MALFORMED_TRAILER)
        if not (value.isascii() and value.isprintable()):
            raise S3Refused(RefusalCode.MALFORMED_TRAILER)
        self._trailers[name] = value  # S3 takes the last of several
        return None

    def _end_trailers(self) -> None:
        missing = self._wanted - self._trailers.keys()
        if SIGNATURE_TRAILER in missing:
            raise incomplete()
        self._checked.expect_end()
        if missing:
            raise S3Refused(RefusalCode.MALFORMED_TRAILER)
        if self._signer is not None and SIGNATURE_TRAILER in self._wanted:
            lines = [f"{name}:{value}\n" for name, value in sorted(self._trailers.items()) if name != SIGNATURE_TRAILER]
            text = self._signer.trailer_text("".join(lines).encode() or b"\n")
            self._verify(self._signer, text, self._trailers[SIGNATURE_TRAILER])
        self._state = _State.END


def parse_size(text: bytes) -> int:
    """The size of a chunk: 1 to 16 hexadecimal digits and nothing else. Raises IncompleteBody."""
    if not 0 < len(text) <= SIZE_DIGITS_MAX or not _HEX.issuperset(text):
        raise incomplete()
    return int(text, 16)


def _chunk_signature(parameter: bytes) -> str:
    """The value of `chunk-signature=value`, the only parameter; "", which is no chunk's, where another is first. Raises as S3 does:
    IncompleteBody without a parameter, or with more after the signature.
    """
    name, _, value = parameter.decode("ascii", "replace").partition("=")
    value = value.strip(" ")
    if not parameter or not value:
        raise incomplete()
    if name.strip(" ") != "chunk-signature":
        return ""
    if ";" in value:
        raise incomplete()
    return value
