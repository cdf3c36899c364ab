"""Whatever way a body is signed, one whose signature, framing or checksum is wrong stores nothing (security test S8)."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import sha256

import pytest

from objstore.testing.blocking import BlockingCluster
from tests.cluster.s3raw import (
    CRC_TRAILER,
    SIGNED_CHUNKS,
    SIGNED_TRAILER,
    UNSIGNED,
    UNSIGNED_TRAILER,
    Raw,
    call,
    crc_text,
    encoded,
    exchange,
    sign,
)
from tests.faults.figures import Count

CHUNKS = [b"a" * 8192, b"b" * 8193, b"the last one"]
PAYLOAD = b"".join(CHUNKS)
HASH = sha256(PAYLOAD).hexdigest()
ECDSA = "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"
MODES = [HASH, UNSIGNED, SIGNED_CHUNKS, SIGNED_TRAILER, UNSIGNED_TRAILER]
STREAMING = [SIGNED_CHUNKS, SIGNED_TRAILER, UNSIGNED_TRAILER]
STRANGE = [ECDSA, f"{ECDSA}-TRAILER", "STREAMING-UNSIGNED-PAYLOAD", "UNSIGNED", "unsigned-payload", "", "a" * 63, "g" * 64]

Spoil = Callable[[Raw, str], Raw]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with BlockingCluster(nodes=3, devices=1, network_faults=False) as cluster:
        call(cluster.endpoint, "PUT", "/cells")
        yield cluster.endpoint


def target_of(endpoint: str, part: bool) -> str:
    """A key that nobody wrote; for a part, that of an upload of its own."""
    key = f"/cells/{os.urandom(6).hex()}"
    if not part:
        return key
    answer = call(endpoint, "POST", f"{key}?uploads")
    id_ = answer.body.partition(b"<UploadId>")[2].partition(b"<")[0].decode()
    assert answer.status == 200 and id_
    return f"{key}?partNumber=1&uploadId={id_}"


def request_of(endpoint: str, target: str, mode: str, query: bool = False, **how: str) -> Raw:
    """A good request, or what would be one if the mode could be."""
    headers = {}
    if mode in STREAMING or mode.startswith("STREAMING"):
        headers = {"x-amz-decoded-content-length": str(len(PAYLOAD)), "content-encoding": "aws-chunked"}
    if mode.endswith("-TRAILER"):
        headers["x-amz-trailer"] = CRC_TRAILER
    raw = sign(endpoint, "PUT", target, PAYLOAD, headers, payload=mode or "-", query=query, **how)
    if query and mode != UNSIGNED:
        raw = raw.having("x-amz-content-sha256", mode)
    if not mode:
        raw = raw.having("x-amz-content-sha256", "")
    if mode in STREAMING:
        raw = raw.carrying(b"".join(encoded(raw, mode, CHUNKS)))
    return raw


def stored(endpoint: str, target: str) -> list[str]:
    """What a read, a listing and, for a part, the list of parts show of it."""
    path, _, query = target.partition("?")
    found = []
    if query:
        parts = call(endpoint, "GET", f"{path}?{query.partition('&')[2]}")
        assert parts.status == 200, parts
        found += ["part"] if b"<Part>" in parts.body else []
    if call(endpoint, "HEAD", path).status != 404:
        found.append("object")
    key = path.removeprefix("/cells/")
    listing = call(endpoint, "GET", f"/cells?list-type=2&prefix={key}")
    assert listing.status == 200
    return found + (["listed"] if b"<Contents>" in listing.body else [])


def refused(endpoint: str, target: str, raw: Raw, statuses: tuple[int, ...] = (400, 403)) -> str:
    """The code it is refused with, having stored nothing."""
    answer = exchange(endpoint, raw)
    assert answer.status in statuses, (answer, raw.headers)
    assert answer.code, answer
    assert stored(endpoint, target) == [], answer
    return answer.code


@pytest.mark.parametrize("part", [False, True], ids=["object", "part"])
@pytest.mark.parametrize("mode", MODES, ids=lambda mode: "hash" if mode == HASH else mode)
def test_the_good_ones_are_stored(endpoint: str, mode: str, part: bool) -> None:
    """So the refusals of the other tests have one reason each."""
    target = target_of(endpoint, part)
    assert exchange(endpoint, request_of(endpoint, target, mode)).status == 200
    assert stored(endpoint, target) == (["part"] if part else ["object", "listed"])
    if not part:
        assert call(endpoint, "GET", target).body == PAYLOAD
    if mode in (HASH, UNSIGNED):
        target = target_of(endpoint, part)
        good = sign(endpoint, "PUT", target, PAYLOAD, query=True, payload=mode)
        if mode == HASH:
            good = sign(endpoint, "PUT", target, PAYLOAD, {"x-amz-content-sha256": HASH}, query=True, payload=HASH)
        assert exchange(endpoint, good).status == 200


def _seed(raw: Raw, mode: str) -> Raw:
    """Another signature of the request itself, and chunks that follow it."""
    other = f"{int(raw.signature, 16) ^ 1:064x}"
    headers = tuple((name, value.replace(raw.signature, other)) for name, value in raw.headers)
    spoilt = replace(raw, target=raw.target.replace(raw.signature, other), headers=headers, signature=other)
    return spoilt.carrying(b"".join(encoded(spoilt, mode, CHUNKS))) if mode in STREAMING else spoilt


def _zero_signature(raw: Raw, _: str) -> Raw:
    headers = tuple((name, value.replace(raw.signature, "0" * 64)) for name, value in raw.headers)
    return replace(raw, target=raw.target.replace(raw.signature, "0" * 64), headers=headers)


@pytest.mark.parametrize("part", [False, True], ids=["object", "part"])
@pytest.mark.parametrize("query", [False, True], ids=["header", "query"])
def test_a_wrong_signature_of_the_request(endpoint: str, query: bool, part: bool, count: Count) -> None:
    for mode in [*MODES, *STRANGE]:
        for spoil in (_seed, _zero_signature):
            target = target_of(endpoint, part)
            raw = spoil(request_of(endpoint, target, mode, query), mode)
            code = refused(endpoint, target, raw, (400, 403, 501))
            if mode in MODES and not query:
                assert code == "SignatureDoesNotMatch", mode
            count("S3 payload modes", refused=1)
        target = target_of(endpoint, part)
        code = refused(endpoint, target, request_of(endpoint, target, mode, query, secret="wrong"), (400, 403, 501))
        count("S3 payload modes", refused=1)


@pytest.mark.parametrize("part", [False, True], ids=["object", "part"])
@pytest.mark.parametrize("query", [False, True], ids=["header", "query"])
def test_a_mode_that_the_signature_cannot_carry(endpoint: str, query: bool, part: bool, count: Count) -> None:
    """Unknown modes, asymmetric ones, and any streaming in a query: refused though all else is right."""
    for mode in [*STRANGE, *(STREAMING if query else ())]:
        target = target_of(endpoint, part)
        code = refused(endpoint, target, request_of(endpoint, target, mode, query), (400, 403, 501))
        assert code in ("InvalidArgument", "NotImplemented", "AccessDenied", "SignatureDoesNotMatch"), (mode, code)
        assert mode not in (ECDSA, f"{ECDSA}-TRAILER") or query or code == "NotImplemented"
        count("S3 payload modes", refused=1)


@pytest.mark.parametrize("part", [False, True], ids=["object", "part"])
def test_a_mode_in_the_query_field(endpoint: str, part: bool, count: Count) -> None:
    """`X-Amz-Content-Sha256` in the query is signed there, and obeyed: no streaming, no unknown mode, no other hash."""
    for mode in [*STREAMING, *STRANGE, sha256(b"other").hexdigest()]:
        target = target_of(endpoint, part)
        joined = f"{target}{'&' if part else '?'}X-Amz-Content-Sha256={mode}"
        raw = sign(endpoint, "PUT", joined, PAYLOAD, query=True, payload=mode or "-")
        refused(endpoint, target, raw, (400, 403, 411, 501))
        count("S3 payload modes", refused=1)


@pytest.mark.parametrize("part", [False, True], ids=["object", "part"])
@pytest.mark.parametrize("query", [False, True], ids=["header", "query"])
def test_a_body_that_is_not_the_hashed_one(endpoint: str, query: bool, part: bool, count: Count) -> None:
    for body in (PAYLOAD[:-1] + b"X", PAYLOAD[:-1], PAYLOAD + b"x", b""):
        target = target_of(endpoint, part)
        headers = {"x-amz-content-sha256": HASH} if query else {}
        raw = sign(endpoint, "PUT", target, PAYLOAD, headers, query=query, payload=HASH).carrying(body)
        assert refused(endpoint, target, raw) == "XAmzContentSHA256Mismatch"
        count("S3 payload modes", refused=1)


def _chunk(at: int) -> Callable[[Raw, str], list[bytes]]:
    """One digit of a chunk's signature is another."""

    def spoil(raw: Raw, mode: str) -> list[bytes]:
        parts = encoded(raw, mode, CHUNKS)
        head, equals, rest = parts[at].partition(b"chunk-signature=")
        parts[at] = head + equals + (b"1" if rest[:1] != b"1" else b"2") + rest[1:]
        return parts

    return spoil


def _flip(at: int) -> Callable[[Raw, str], list[bytes]]:
    """One byte of a chunk is another."""

    def spoil(raw: Raw, mode: str) -> list[bytes]:
        parts = encoded(raw, mode, CHUNKS)
        parts[at] = parts[at][:-3] + b"X" + parts[at][-2:]
        return parts

    return spoil


def _reordered(raw: Raw, mode: str) -> list[bytes]:
    first, second, *rest = encoded(raw, mode, CHUNKS)
    return [second, first, *rest]


def _twice(raw: Raw, mode: str) -> list[bytes]:
    first, *rest = encoded(raw, mode, CHUNKS)
    return [first, first, *rest]


def _without(at: int) -> Callable[[Raw, str], list[bytes]]:
    def spoil(raw: Raw, mode: str) -> list[bytes]:
        parts = encoded(raw, mode, CHUNKS)
        return parts[:at] + parts[at + 1 :]

    return spoil


def _unended(raw: Raw, mode: str) -> list[bytes]:
    return encoded(raw, mode, CHUNKS)[:3]


def _unsigned(raw: Raw, _: str) -> list[bytes]:
    return encoded(raw, UNSIGNED_TRAILER, CHUNKS)


def _other_key(raw: Raw, mode: str) -> list[bytes]:
    return encoded(replace(raw, key=b"k" * 32), mode, CHUNKS)


def _more(raw: Raw, mode: str) -> list[bytes]:
    """As many as are not overlooked."""
    return [*encoded(raw, mode, CHUNKS), b"5\r\nhello\r\n0\r\n\r\n" * 100]


def _plain(*_: object) -> list[bytes]:
    return [PAYLOAD]


def _bad_crc(raw: Raw, mode: str) -> list[bytes]:
    return encoded(raw, mode, CHUNKS, {CRC_TRAILER: crc_text(b"other")})


def _no_crc(raw: Raw, mode: str) -> list[bytes]:
    return encoded(raw, mode, CHUNKS, {})


def _foreign_trailer(raw: Raw, mode: str) -> list[bytes]:
    return encoded(raw, mode, CHUNKS, {CRC_TRAILER: crc_text(PAYLOAD), "x-amz-meta-a": "b"})


def _bad_trailer_signature(raw: Raw, mode: str) -> list[bytes]:
    *parts, end = encoded(raw, mode, CHUNKS)
    head, colon, rest = end.partition(b"x-amz-trailer-signature:")
    return [*parts, head + colon + (b"1" if rest[:1] != b"1" else b"2") + rest[1:]]


def _no_trailer_signature(raw: Raw, mode: str) -> list[bytes]:
    *parts, end = encoded(raw, mode, CHUNKS)
    return [*parts, end.partition(b"x-amz-trailer-signature:")[0] + b"\r\n"]


FRAMING = {"missing end": _unended, "bytes behind the end": _more, "not encoded": _plain, "a chunk twice": _twice,
           "a chunk is missing": _without(1)}  # fmt: skip
SIGNATURES = {"first chunk": _chunk(0), "middle chunk": _chunk(1), "last chunk": _chunk(2), "zero chunk": _chunk(3),
              "byte of the first": _flip(0), "byte of the middle": _flip(1), "byte of the last": _flip(2),
              "reordered": _reordered, "no signatures": _unsigned, "another key": _other_key,
              "zero chunk is missing": _without(3)}  # fmt: skip
TRAILERS = {"wrong checksum": _bad_crc, "no checksum": _no_crc, "foreign trailer": _foreign_trailer}
TRAILER_SIGNATURES = {"wrong trailer signature": _bad_trailer_signature, "no trailer signature": _no_trailer_signature}
CELLS = {
    SIGNED_CHUNKS: FRAMING | SIGNATURES,
    SIGNED_TRAILER: FRAMING | SIGNATURES | TRAILERS | TRAILER_SIGNATURES,
    UNSIGNED_TRAILER: FRAMING | TRAILERS | {"byte of the middle": _flip(1), "reordered": _reordered},
}


@pytest.mark.parametrize("part", [False, True], ids=["object", "part"])
@pytest.mark.parametrize("mode", STREAMING)
def test_chunks_that_are_wrong(endpoint: str, mode: str, part: bool, count: Count) -> None:
    for name, spoil in CELLS[mode].items():
        target = target_of(endpoint, part)
        raw = request_of(endpoint, target, mode)
        code = refused(endpoint, target, raw.carrying(b"".join(spoil(raw, mode))))
        if name in SIGNATURES and name not in ("no signatures", "zero chunk is missing") and mode != UNSIGNED_TRAILER:
            assert code == "SignatureDoesNotMatch", name
        if name == "wrong checksum":
            assert code == "BadDigest"
        count("S3 payload modes", refused=1)


@pytest.mark.parametrize("part", [False, True], ids=["object", "part"])
@pytest.mark.parametrize("mode", STREAMING)
def test_another_decoded_length(endpoint: str, mode: str, part: bool, count: Count) -> None:
    for length in (len(PAYLOAD) - 1, len(PAYLOAD) + 1, 0, 2**63, "-1", "x", "", "+5", "1e3"):
        target = target_of(endpoint, part)
        headers = {"x-amz-decoded-content-length": str(length), "content-encoding": "aws-chunked"}
        if mode.endswith("-TRAILER"):
            headers["x-amz-trailer"] = CRC_TRAILER
        raw = sign(endpoint, "PUT", target, PAYLOAD, headers, payload=mode)
        refused(endpoint, target, raw.carrying(b"".join(encoded(raw, mode, CHUNKS))), (400, 411))
        count("S3 payload modes", refused=1)
