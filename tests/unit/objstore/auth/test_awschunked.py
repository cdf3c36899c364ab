"""Bodies in aws-chunked: decoded at any split, refused at any truncation and after any change."""

import random
import time
import zlib
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from hmac import digest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore.auth.awschunked import CHUNK_BYTES_MIN, EPILOGUE_BYTES_MAX, ChunkDecoder
from objstore.auth.s3payload import PayloadMode
from objstore.auth.s3refusal import RefusalCode, S3Refused
from objstore.auth.sigv4keys import ChunkSigner, Scope
from objstore.model.checksums import ChecksumAlgorithm

KEY, DATE, SCOPE, SEED = b"k" * 32, "20130524T000000Z", "20130524/us-east-1/s3/aws4_request", "5e" * 32
CRC_TRAILER = "x-amz-checksum-crc32"
CHUNKS = [random.Random(1).randbytes(CHUNK_BYTES_MIN), random.Random(2).randbytes(CHUNK_BYTES_MIN + 1), b"the last\r\n0\r\n"]
PAYLOAD = b"".join(CHUNKS)
MODES = [mode for mode in PayloadMode if mode.chunked]
SIGNED = [PayloadMode.CHUNKS_SIGNED, PayloadMode.CHUNKS_SIGNED_TRAILER]
TRAILED = [PayloadMode.CHUNKS_SIGNED_TRAILER, PayloadMode.CHUNKS_UNSIGNED_TRAILER]


def hmac_hex(*lines: str) -> str:
    return digest(KEY, "\n".join(lines).encode(), sha256).hex()


def crc(payload: bytes) -> str:
    return b64encode(zlib.crc32(payload).to_bytes(4, "big")).decode()


def encoded_parts(mode: PayloadMode, chunks: list[bytes], trailers: dict[str, str] | None = None) -> Iterator[bytes]:
    """A client's encoding, written from the documentation and independent of the decoder: one item per chunk, then the end."""
    previous = SEED
    for chunk in [*chunks, b""]:
        head = f"{len(chunk):x}"
        if mode in SIGNED:
            previous = hmac_hex(
                "AWS4-HMAC-SHA256-PAYLOAD", DATE, SCOPE, previous, sha256(b"").hexdigest(), sha256(chunk).hexdigest()
            )
            head += f";chunk-signature={previous}"
        yield head.encode() + b"\r\n" + (chunk + b"\r\n" if chunk else b"")
    end = b""
    if mode in TRAILED:
        trailers = {CRC_TRAILER: crc(b"".join(chunks))} if trailers is None else trailers
        end = "".join(f"{name}:{value}\r\n" for name, value in trailers.items()).encode()
        if mode in SIGNED:
            canonical = "".join(f"{name}:{value}\n" for name, value in sorted(trailers.items()))
            signature = hmac_hex("AWS4-HMAC-SHA256-TRAILER", DATE, SCOPE, previous, sha256(canonical.encode()).hexdigest())
            end += f"x-amz-trailer-signature:{signature}\r\n".encode()
    yield end + b"\r\n"


def encoded(mode: PayloadMode, chunks: list[bytes] = CHUNKS, trailers: dict[str, str] | None = None) -> bytes:
    return b"".join(encoded_parts(mode, chunks, trailers))


def decoder(mode: PayloadMode, size: int = len(PAYLOAD), trailers: tuple[str, ...] = (CRC_TRAILER,)) -> ChunkDecoder:
    scope = Scope("20130524", "us-east-1")
    signer = ChunkSigner(KEY, DATE, scope, SEED, "the:key", b"PUT\n/") if mode in SIGNED else None
    return ChunkDecoder(mode, size, trailers if mode in TRAILED else (), signer)


def decode(mode: PayloadMode, body: bytes, size: int = len(PAYLOAD), trailers: tuple[str, ...] = (CRC_TRAILER,)) -> bytes:
    one = decoder(mode, size, trailers)
    payload = b"".join(one.feed(body))
    one.finish()
    return payload


def refused(mode: PayloadMode, body: bytes, size: int = len(PAYLOAD), trailers: tuple[str, ...] = (CRC_TRAILER,)) -> RefusalCode:
    with pytest.raises(S3Refused) as caught:
        decode(mode, body, size, trailers)
    return caught.value.code


def test_the_example_of_the_documentation() -> None:
    """66,560 bytes in two chunks: "Example: PUT Object", Transferring Payload in Multiple Chunks, API reference."""
    signer = ChunkSigner(
        bytes.fromhex("dbb893acc010964918f1fd433add87c70e8b0db6be30c1fbeafefa5ec6ba8378"),
        DATE,
        Scope("20130524", "us-east-1"),
        "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
    )
    body = (
        b"10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n" + b"a" * 65536 + b"\r\n"
        b"400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n" + b"a" * 1024 + b"\r\n"
        b"0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n"
    )
    one = ChunkDecoder(PayloadMode.CHUNKS_SIGNED, 66560, (), signer)
    assert b"".join(one.feed(body)) == b"a" * 66560
    one.finish()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("chunks", [CHUNKS, CHUNKS[:1], [b"small"], [], [PAYLOAD]])
def test_every_mode(mode: PayloadMode, chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    one = decoder(mode, len(whole))
    assert b"".join(one.feed(encoded(mode, chunks))) == whole
    digests = one.finish()
    assert digests == ({ChecksumAlgorithm.CRC32: zlib.crc32(whole).to_bytes(4, "big")} if mode in TRAILED else {})


@pytest.mark.parametrize("mode", MODES)
def test_every_split(mode: PayloadMode) -> None:
    chunks = [b"a" * CHUNK_BYTES_MIN, b"the last"]
    body, whole = encoded(mode, chunks), b"".join(chunks)
    in_the_first_chunk = range(200, CHUNK_BYTES_MIN - 200)  # all alike
    for at in range(len(body) + 1):
        if at not in in_the_first_chunk:
            one = decoder(mode, len(whole))
            assert b"".join([*one.feed(body[:at]), *one.feed(b""), *one.feed(body[at:])]) == whole
            one.finish()


@pytest.mark.parametrize("mode", MODES)
def test_byte_by_byte(mode: PayloadMode) -> None:
    one = decoder(mode)
    body = encoded(mode)
    assert b"".join(piece for at in range(len(body)) for piece in one.feed(body[at : at + 1])) == PAYLOAD
    one.finish()


@pytest.mark.parametrize("mode", MODES)
@given(cuts=st.lists(st.integers(0, 18000), max_size=8))
def test_any_pieces(mode: PayloadMode, cuts: list[int]) -> None:
    body, one, at, payload = encoded(mode), decoder(mode), 0, b""
    for cut in [*sorted(cuts), len(body)]:
        payload += b"".join(one.feed(body[at:cut]))
        at = max(at, cut)
    assert payload == PAYLOAD
    one.finish()


@pytest.mark.parametrize("mode", MODES)
def test_every_truncation(mode: PayloadMode) -> None:
    chunks = [b"a" * CHUNK_BYTES_MIN, b"the last"]
    body, whole = encoded(mode, chunks), b"".join(chunks)
    began = time.process_time()
    for at in range(len(body)):
        if at == len(body) - 2:  # only the last CRLF is missing
            assert decode(mode, body[:at], len(whole)) == whole
        elif at < 200 or at > CHUNK_BYTES_MIN - 200:
            assert refused(mode, body[:at], len(whole)) is RefusalCode.INCOMPLETE_BODY, at
    assert time.process_time() - began < 5


@pytest.mark.parametrize("mode", SIGNED)
@pytest.mark.parametrize("which", range(4))
def test_a_wrong_signature(mode: PayloadMode, which: int) -> None:
    """Of the first, a middle, the last chunk and the empty one: the bytes of a forged chunk never leave as a whole."""
    parts = list(encoded_parts(mode, CHUNKS))
    at = parts[which].index(b"=") + 10
    parts[which] = parts[which][:at] + (b"0" if parts[which][at : at + 1] != b"0" else b"1") + parts[which][at + 1 :]
    one, payload = decoder(mode), b""
    with pytest.raises(S3Refused) as caught:
        for byte in range(0, len(body := b"".join(parts)), 100):
            payload += b"".join(one.feed(body[byte : byte + 100]))
    assert (caught.value.code, caught.value.status) == (RefusalCode.SIGNATURE_DOES_NOT_MATCH, 403)
    assert caught.value.details["StringToSign"].startswith("AWS4-HMAC-SHA256-PAYLOAD\n")
    assert caught.value.details["AWSAccessKeyId"] == "the:key" and caught.value.details["CanonicalRequest"] == "PUT\n/"
    genuine = b"".join(CHUNKS[:which])
    assert payload.startswith(genuine) and len(payload) < len(genuine) + len([*CHUNKS, b"x"][which])


@pytest.mark.parametrize("mode", SIGNED)
def test_every_byte_of_a_signed_body_counts(mode: PayloadMode) -> None:
    body = encoded(mode, [b"payload"])
    letters = 0
    for at in range(len(body)):
        other = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
        try:
            assert decode(mode, other, 7) == b"payload" and other.lower() == body.lower()
            letters += 1
        except S3Refused:
            pass
    assert letters == 0


@pytest.mark.parametrize("mode", SIGNED)
def test_chunks_in_another_order(mode: PayloadMode) -> None:
    first, second, last, zero, end = encoded_parts(mode, [CHUNKS[0], CHUNKS[0], CHUNKS[2]])
    size = 2 * len(CHUNKS[0]) + len(CHUNKS[2])
    decode(mode, first + second + last + zero + end, size, ()) if mode is PayloadMode.CHUNKS_SIGNED else None
    for body in (second + first + last + zero + end, first + first + last + zero + end, first + last + zero + end):
        assert refused(mode, body, size) in (RefusalCode.SIGNATURE_DOES_NOT_MATCH, RefusalCode.INCOMPLETE_BODY)
    assert refused(mode, second + first + last + zero + end, size) is RefusalCode.SIGNATURE_DOES_NOT_MATCH


@pytest.mark.parametrize("mode", MODES)
def test_a_missing_end(mode: PayloadMode) -> None:
    *chunks, _, end = encoded_parts(mode, CHUNKS)
    assert refused(mode, b"".join(chunks)) is RefusalCode.INCOMPLETE_BODY
    assert refused(mode, b"".join([*chunks, end])) is RefusalCode.INCOMPLETE_BODY
    assert refused(mode, b"") is RefusalCode.INCOMPLETE_BODY


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("after", [b"\r\n", b"0\r\n", b"bonus: trailer\r\n", b"\xff\0", b"x" * EPILOGUE_BYTES_MAX])
def test_what_follows_the_end(mode: PayloadMode, after: bytes) -> None:
    """S3 overlooks it after unsigned trailers."""
    body = encoded(mode)
    if mode is PayloadMode.CHUNKS_UNSIGNED_TRAILER:
        assert decode(mode, body + after) == PAYLOAD
        assert refused(mode, body + after + b"x" * EPILOGUE_BYTES_MAX) is RefusalCode.INCOMPLETE_BODY
        assert refused(mode, encoded(mode, CHUNKS, {}) + after, trailers=()) is RefusalCode.INCOMPLETE_BODY
    else:
        assert refused(mode, body + after) is RefusalCode.INCOMPLETE_BODY


def test_the_last_crlf_may_be_missing() -> None:
    unsigned, signed = PayloadMode.CHUNKS_UNSIGNED_TRAILER, PayloadMode.CHUNKS_SIGNED_TRAILER
    assert decode(unsigned, encoded(unsigned, CHUNKS, {})[:-2], trailers=()) == PAYLOAD
    for body in (encoded(unsigned)[:-3], encoded(unsigned)[:-4], encoded(unsigned, CHUNKS, {})[:-1]):
        assert refused(unsigned, body) is RefusalCode.INCOMPLETE_BODY
    assert refused(unsigned, encoded(unsigned, CHUNKS, {CRC_TRAILER: crc(b"other")})[:-2]) is RefusalCode.BAD_DIGEST
    body = encoded(signed)
    forged = body[:-3].replace(b"x-amz-trailer-signature:", b"x-amz-trailer-signature:0")[:-1] + b"\r\n"
    assert refused(signed, forged) is RefusalCode.SIGNATURE_DOES_NOT_MATCH
    # where no trailer was announced the empty line comes first
    assert refused(signed, encoded(signed, CHUNKS, {})[:-2], trailers=()) is RefusalCode.INCOMPLETE_BODY


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [0, 1, len(PAYLOAD) - 1, len(PAYLOAD) + 1, 1 << 50])
def test_another_decoded_length(mode: PayloadMode, size: int) -> None:
    with pytest.raises(S3Refused) as caught:
        decode(mode, encoded(mode), size)
    assert caught.value.code is RefusalCode.INCOMPLETE_BODY
    assert caught.value.details["NumberBytesExpected"] == str(size)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "size",
    [b"", b"-7", b"+7", b"0x7", b" 7", b"7_", b"g",
     b"\xd9\xa1", b"7.0", b"00000000000000007", b"FFFFFFFFFFFFFFFF1", b"7\t", b"7\0"],
)  # fmt: skip
def test_sizes_that_are_none(mode: PayloadMode, size: bytes) -> None:
    body = encoded(mode, [b"payload"])
    assert decode(mode, body.replace(b"7", b"07", 1), 7) == b"payload"
    assert refused(mode, size + body.removeprefix(b"7"), 7) is RefusalCode.INCOMPLETE_BODY


@pytest.mark.parametrize("mode", MODES)
def test_the_framing(mode: PayloadMode) -> None:
    body = encoded(mode, [b"payload"])
    after = b"payload\r\n"
    changes = [(b"\r\n", b"\n"), (b"\r\n", b"\r"), (b"\r\n", b" \r\r\n"), (b"7", b"FFFFFFFFFFFFFFFF")]
    changes += [
        (after, other) for other in (b"payload\n", b"payload", b"payload\r", b"payload\r\n\r\n", b"payloadx\r\n", b"payload\r\r\n")
    ]
    for old, new in changes:
        assert refused(mode, body.replace(old, new, 1), 7) in (RefusalCode.INCOMPLETE_BODY, RefusalCode.SIGNATURE_DOES_NOT_MATCH), (
            new
        )


@pytest.mark.parametrize("mode", MODES)
def test_no_line_is_gathered_without_bound(mode: PayloadMode) -> None:
    one = decoder(mode)
    with pytest.raises(S3Refused):
        for _ in range(100):
            one.feed(b"0" * 50)
            assert len(one._line) < 2000
    assert refused(mode, b"7;" + b"x" * 1_000_000 + b"\r\n") is RefusalCode.INCOMPLETE_BODY


@pytest.mark.parametrize(
    ("parameter", "code"),
    [
        ("", RefusalCode.INCOMPLETE_BODY),
        (";", RefusalCode.INCOMPLETE_BODY),
        (";chunk-signature=", RefusalCode.INCOMPLETE_BODY),
        (";chunk-signature", RefusalCode.INCOMPLETE_BODY),
        (";chunk-signature={};extra=x", RefusalCode.INCOMPLETE_BODY),
        (";extra=x;chunk-signature={}", RefusalCode.SIGNATURE_DOES_NOT_MATCH),
        (";extra={}", RefusalCode.SIGNATURE_DOES_NOT_MATCH),
        (";chunk-signature=invalid", RefusalCode.SIGNATURE_DOES_NOT_MATCH),
        (";chunk-signature={}0", RefusalCode.SIGNATURE_DOES_NOT_MATCH),
        (";chunk-signature=\u00e4", RefusalCode.SIGNATURE_DOES_NOT_MATCH),
    ],
)
def test_parameters_of_a_chunk(parameter: str, code: RefusalCode) -> None:
    body = encoded(PayloadMode.CHUNKS_SIGNED, [b"payload"])
    signature = body[len("7;chunk-signature=") :][:64].decode()
    old = f";chunk-signature={signature}"
    spaced = f" ; chunk-signature = {signature} "
    assert decode(PayloadMode.CHUNKS_SIGNED, body.replace(old.encode(), spaced.encode(), 1), 7) == b"payload"
    assert refused(PayloadMode.CHUNKS_SIGNED, body.replace(old.encode(), parameter.format(signature).encode(), 1), 7) is code
    unsigned = encoded(PayloadMode.CHUNKS_UNSIGNED_TRAILER, [b"payload"])
    assert refused(PayloadMode.CHUNKS_UNSIGNED_TRAILER, unsigned.replace(b"7", b"7;x=y", 1), 7) is RefusalCode.INCOMPLETE_BODY


@pytest.mark.parametrize("mode", MODES)
def test_only_the_last_chunk_may_be_small(mode: PayloadMode) -> None:
    chunks = [b"a" * CHUNK_BYTES_MIN, b"a" * (CHUNK_BYTES_MIN - 1), b"b"]
    with pytest.raises(S3Refused) as caught:
        decode(mode, encoded(mode, chunks), 2 * CHUNK_BYTES_MIN)
    assert caught.value.code is RefusalCode.INVALID_CHUNK_SIZE
    assert caught.value.details == {"Chunk": "3", "BadChunkSize": str(CHUNK_BYTES_MIN - 1)}


@pytest.mark.parametrize("mode", TRAILED)
@pytest.mark.parametrize(
    ("trailers", "code"),
    [
        ({CRC_TRAILER: crc(b"other")}, RefusalCode.BAD_DIGEST),
        ({CRC_TRAILER: "bad"}, RefusalCode.INVALID_REQUEST),
        ({CRC_TRAILER: ""}, RefusalCode.INVALID_REQUEST),
        ({}, RefusalCode.MALFORMED_TRAILER),
        ({"x-amz-checksum-crc32c": crc(PAYLOAD)}, RefusalCode.MALFORMED_TRAILER),
        ({CRC_TRAILER: crc(PAYLOAD), "x-amz-meta-a": "b"}, RefusalCode.MALFORMED_TRAILER),
        ({CRC_TRAILER: crc(PAYLOAD), "x-amz-checksum-sha1": "b"}, RefusalCode.MALFORMED_TRAILER),
        ({CRC_TRAILER: "x" * 2000}, RefusalCode.INCOMPLETE_BODY),
        ({"no colon \u00e4": ""}, RefusalCode.MALFORMED_TRAILER),
        ({CRC_TRAILER: "\x00"}, RefusalCode.MALFORMED_TRAILER),
        ({CRC_TRAILER: "\u00e4"}, RefusalCode.MALFORMED_TRAILER),
    ],
)
def test_bad_trailers(mode: PayloadMode, trailers: dict[str, str], code: RefusalCode) -> None:
    assert refused(mode, encoded(mode, CHUNKS, trailers)) is code


def test_spaces_and_case_in_trailers() -> None:
    body = encoded(PayloadMode.CHUNKS_UNSIGNED_TRAILER)
    value = crc(PAYLOAD).encode()
    assert decode(PayloadMode.CHUNKS_UNSIGNED_TRAILER, body.replace(b"crc32:" + value, b"CRC32 : " + value + b" ")) == PAYLOAD
    several = body.replace(b"x-amz-checksum", b"x-amz-checksum-crc32:bad\r\nx-amz-checksum")
    assert decode(PayloadMode.CHUNKS_UNSIGNED_TRAILER, several) == PAYLOAD  # S3 takes the last
    many = body.replace(b"x-amz-checksum", b"x-amz-checksum-crc32:bad\r\n" * 8 + b"x-amz-checksum")
    assert refused(PayloadMode.CHUNKS_UNSIGNED_TRAILER, many) is RefusalCode.MALFORMED_TRAILER


def test_the_signature_of_trailers() -> None:
    mode = PayloadMode.CHUNKS_SIGNED_TRAILER
    body = encoded(mode)
    at = body.index(b"x-amz-trailer-signature:")
    signature = body[at:-2]
    assert refused(mode, body[:at] + b"\r\n") is RefusalCode.INCOMPLETE_BODY
    assert refused(mode, body[:at] + signature[:-3] + b"\r\n\r\n") is RefusalCode.SIGNATURE_DOES_NOT_MATCH
    trailer_at = body.index(CRC_TRAILER.encode())
    swapped = body[:trailer_at] + signature + body[trailer_at:at] + b"\r\n"
    assert refused(mode, swapped) is RefusalCode.MALFORMED_TRAILER
    forged = body.replace(crc(PAYLOAD).encode(), crc(b"other").encode())
    assert refused(mode, forged) is RefusalCode.SIGNATURE_DOES_NOT_MATCH
    unsigned = PayloadMode.CHUNKS_UNSIGNED_TRAILER
    assert refused(unsigned, encoded(unsigned)[:-2] + signature + b"\r\n") is RefusalCode.MALFORMED_TRAILER


def test_no_trailers_announced() -> None:
    unsigned, signed = PayloadMode.CHUNKS_UNSIGNED_TRAILER, PayloadMode.CHUNKS_SIGNED_TRAILER
    assert decode(unsigned, encoded(unsigned, CHUNKS, {}), trailers=()) == PAYLOAD
    assert refused(unsigned, encoded(unsigned), trailers=()) is RefusalCode.MALFORMED_TRAILER
    assert refused(signed, encoded(signed), trailers=()) is RefusalCode.MALFORMED_TRAILER
    assert refused(signed, encoded(PayloadMode.CHUNKS_SIGNED), trailers=()) is RefusalCode.INCOMPLETE_BODY
    with pytest.raises(S3Refused) as caught:  # that it does not end counts for more than its length
        decode(signed, encoded(PayloadMode.CHUNKS_SIGNED), len(PAYLOAD) + 1, ())
    assert caught.value.details == {}


def test_a_mode_needs_what_it_verifies_with() -> None:
    signer = ChunkSigner(KEY, DATE, Scope("20130524", "us-east-1"), SEED)
    for mode, given_signer in [
        (PayloadMode.CHUNKS_SIGNED, None),
        (PayloadMode.CHUNKS_UNSIGNED_TRAILER, signer),
        (PayloadMode.HASHED, None),
    ]:
        with pytest.raises(ValueError, match="no decoder"):
            ChunkDecoder(mode, 1, (), given_signer)
    with pytest.raises(S3Refused):
        ChunkDecoder(PayloadMode.CHUNKS_SIGNED, 1, (CRC_TRAILER,), signer)


@given(body=st.binary(max_size=400), mode=st.sampled_from(MODES))
def test_noise_is_refused(body: bytes, mode: PayloadMode) -> None:
    with pytest.raises(S3Refused):
        decode(mode, body)


@pytest.mark.parametrize("mode", MODES)
def test_nothing_leaves_of_a_chunk_that_is_too_large(mode: PayloadMode) -> None:
    one = decoder(mode, 8)
    with pytest.raises(S3Refused) as caught:
        one.feed(encoded(mode, [b"nine bytes"])[:90])
    assert caught.value.details == {"NumberBytesExpected": "8", "NumberBytesProvided": "10"}
