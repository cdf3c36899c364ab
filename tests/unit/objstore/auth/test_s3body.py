"""What headers announce of a body, and bodies that are not it."""

from hashlib import sha256

import pytest

from objstore.auth.s3body import body_of
from objstore.auth.s3checks import announced_checksums, announced_trailers, decoded_size
from objstore.auth.s3payload import Payload, PayloadMode
from objstore.auth.s3refusal import RefusalCode, S3Refused
from objstore.model.checksums import ChecksumAlgorithm, checksum, checksum_text

UNSIGNED = Payload(PayloadMode.UNSIGNED, "UNSIGNED-PAYLOAD")
TRAILER = Payload(PayloadMode.CHUNKS_UNSIGNED_TRAILER, "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
DATA = b"the body"
CRC = checksum_text(checksum(ChecksumAlgorithm.CRC32, DATA))


def hashed(data: bytes) -> Payload:
    return Payload(PayloadMode.HASHED, sha256(data).hexdigest())


def code_of(payload: Payload, headers: dict[str, str], data: bytes, size: int | None = None) -> RefusalCode | None:
    try:
        body = body_of(payload, headers, size, None)
        body.feed(data)
        body.finish()
    except S3Refused as refused:
        assert DATA.hex() not in str(refused.details)
        return refused.code
    return None


def test_a_body_that_is_what_it_was_said_to_be() -> None:
    for payload in (UNSIGNED, hashed(DATA)):
        for algorithm in ChecksumAlgorithm:
            digest = checksum(algorithm, DATA)
            body = body_of(payload, {f"x-amz-checksum-{algorithm}": checksum_text(digest)}, len(DATA), None)
            assert [*body.feed(DATA[:3]), *body.feed(b""), *body.feed(DATA[3:])] == [DATA[:3], DATA[3:]]
            assert body.finish() == {algorithm: digest}
    assert code_of(UNSIGNED, {}, b"") is None


def test_a_body_that_is_not() -> None:
    assert code_of(hashed(b"other"), {}, DATA) is RefusalCode.CONTENT_SHA256_MISMATCH
    assert code_of(hashed(b"other"), {"x-amz-checksum-crc32": "AAAAAA=="}, DATA) is RefusalCode.CONTENT_SHA256_MISMATCH
    assert code_of(UNSIGNED, {"x-amz-checksum-crc32": "AAAAAA=="}, DATA) is RefusalCode.BAD_DIGEST
    for size in (0, len(DATA) - 1, len(DATA) + 1):
        assert code_of(hashed(DATA), {}, DATA, size) is RefusalCode.INCOMPLETE_BODY


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"x-amz-checksum-crc32": "bad"}, "Value for x-amz-checksum-crc32 header is invalid."),
        ({"x-amz-checksum-md5": CRC}, "The algorithm type you specified in x-amz-checksum- header is invalid."),
        ({"x-amz-checksum-crc32": CRC, "x-amz-checksum-crc32c": CRC}, "Expecting a single x-amz-checksum- header. Multiple"),
    ],
)
def test_checksums_that_are_none(headers: dict[str, str], message: str) -> None:
    with pytest.raises(S3Refused) as caught:
        body_of(UNSIGNED, headers, None, None)
    assert caught.value.code is RefusalCode.INVALID_REQUEST and message in caught.value.message


def test_checksum_headers_that_give_no_checksum() -> None:
    headers = {"x-amz-checksum-mode": "ENABLED", "x-amz-checksum-algorithm": "CRC32", "x-amz-checksum-type": "COMPOSITE"}
    assert announced_checksums(headers) == {}


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("x-amz-checksum-crc32", None),
        (" X-Amz-Checksum-CRC32,, ", None),
        ("", None),
        (",x-amz-checksum-crc32", RefusalCode.INVALID_REQUEST),
        ("x-amz-checksum-crc32, ,", RefusalCode.INVALID_REQUEST),
        ("x-amz-checksum-crc32,x-amz-checksum-sha1", RefusalCode.INVALID_REQUEST),
        ("x-amz-checksum-crc32,x-amz-checksum-crc32", RefusalCode.INVALID_REQUEST),
        ("x-amz-checksum-crc32,host", RefusalCode.INVALID_REQUEST),
        ("x-amz-checksum-mode", RefusalCode.INVALID_REQUEST),
        ("x-amz-trailer-signature", RefusalCode.INVALID_REQUEST),
        ("content-length", RefusalCode.INVALID_REQUEST),
    ],
)
def test_announced_trailers(value: str, code: RefusalCode | None) -> None:
    if code is None:
        assert announced_trailers({"x-amz-trailer": value}) == (("x-amz-checksum-crc32",) if value else ())
        return
    with pytest.raises(S3Refused) as caught:
        announced_trailers({"x-amz-trailer": value})
    assert caught.value.code is code


def refusal_of(payload: Payload, headers: dict[str, str], size: int | None = None) -> S3Refused:
    with pytest.raises(S3Refused) as caught:
        body_of(payload, headers, size, None)
    return caught.value


def test_a_checksum_that_was_promised() -> None:
    """`x-amz-sdk-checksum-algorithm` says which one is sent."""
    for name in ("CRC32", "crc32"):
        assert code_of(UNSIGNED, {"x-amz-sdk-checksum-algorithm": name, "x-amz-checksum-crc32": CRC}, DATA) is None
    other = refusal_of(UNSIGNED, {"x-amz-sdk-checksum-algorithm": "CRC32C", "x-amz-checksum-crc32": CRC})
    assert (other.code, other.message) == (
        RefusalCode.INVALID_REQUEST,
        "Value for x-amz-sdk-checksum-algorithm header is invalid.",
    )
    none = refusal_of(hashed(DATA), {"x-amz-sdk-checksum-algorithm": "CRC32"})
    assert none.message == (
        "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found."
    )


def test_which_refusal_comes_first() -> None:
    """Too many checksums, a trailer where none can be, another algorithm than promised."""
    crc, trailer, promised = {"x-amz-checksum-crc32": CRC}, {"x-amz-trailer": "x-amz-checksum-crc32"}, {
        "x-amz-sdk-checksum-algorithm": "sha256"
    }  # fmt: skip
    twice = {"x-amz-trailer": "x-amz-checksum-crc32,x-amz-checksum-crc32"}
    many = refusal_of(hashed(DATA), crc | twice | promised)
    assert many.message == "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
    assert refusal_of(hashed(DATA), crc | trailer | promised).message == "Expecting a single x-amz-checksum- header"
    assert refusal_of(hashed(DATA), trailer | promised).code is RefusalCode.MALFORMED_TRAILER
    assert refusal_of(TRAILER, trailer | promised).message == "Value for x-amz-sdk-checksum-algorithm header is invalid."


@pytest.mark.parametrize("text", ["invalid", "", "unsigned-payload", "é", "\udcff", sha256(b"").hexdigest().upper()])
def test_a_hash_that_is_of_no_body(text: str) -> None:
    """The client is told the text that it sent."""
    body = body_of(Payload(PayloadMode.HASHED, text), {}, len(DATA), None)
    body.feed(DATA)
    with pytest.raises(S3Refused) as caught:
        body.finish()
    assert caught.value.code is RefusalCode.CONTENT_SHA256_MISMATCH
    assert caught.value.details == {
        "ClientComputedContentSHA256": text,
        "S3ComputedContentSHA256": sha256(DATA).hexdigest(),
    }
    assert code_of(Payload(PayloadMode.HASHED, sha256(DATA).hexdigest().upper()), {}, DATA) is None


@pytest.mark.parametrize("text", ["STREAMING-UNSIGNED-PAYLOAD-TRAILER", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"])
def test_chunks_that_nothing_can_sign(text: str) -> None:
    payload = Payload(PayloadMode.HASHED, text)
    assert refusal_of(payload, {}, 8).status == 411
    short = refusal_of(payload, {"x-amz-decoded-content-length": "5"}, 8)
    assert (short.code, short.details) == (
        RefusalCode.INCOMPLETE_BODY,
        {"NumberBytesExpected": "5", "NumberBytesProvided": "8"},
    )
    assert code_of(payload, {"x-amz-decoded-content-length": "8"}, DATA, 8) is RefusalCode.CONTENT_SHA256_MISMATCH


def test_trailers_where_none_can_be() -> None:
    for payload in (UNSIGNED, hashed(DATA), Payload(PayloadMode.CHUNKS_SIGNED, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")):
        assert code_of(payload, {"x-amz-trailer": "x-amz-checksum-crc32"}, DATA) is RefusalCode.MALFORMED_TRAILER


@pytest.mark.parametrize("value", [None, "", "-1", "+1", "1.0", "0x1", "1 ", "١", "9" * 19])
def test_decoded_lengths_that_are_none(value: str | None) -> None:
    assert decoded_size({"x-amz-decoded-content-length": "008"}) == 8
    with pytest.raises(S3Refused) as caught:
        decoded_size({} if value is None else {"x-amz-decoded-content-length": value})
    assert caught.value.status == 411


def test_a_chunked_body_with_its_checksum_in_a_header() -> None:
    headers = {"x-amz-decoded-content-length": "8", "x-amz-checksum-crc32": CRC}
    encoded = b"8\r\nthe body\r\n0\r\n\r\n"
    assert code_of(TRAILER, headers, encoded) is None
    assert code_of(TRAILER, headers | {"x-amz-checksum-crc32": "AAAAAA=="}, encoded) is RefusalCode.BAD_DIGEST
    assert code_of(TRAILER, headers | {"x-amz-trailer": "x-amz-checksum-crc32"}, encoded) is RefusalCode.INVALID_REQUEST
    assert code_of(TRAILER, {}, encoded) is RefusalCode.MISSING_CONTENT_LENGTH
