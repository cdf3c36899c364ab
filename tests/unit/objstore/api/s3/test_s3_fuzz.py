"""Whatever comes in, the S3 API's parsers answer with a value or with a refusal of their own, and quickly (S19, S22)."""

import random
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from objstore.api.s3.address import bucket_of_host, check_bucket_name
from objstore.api.s3.call import md5_of
from objstore.api.s3.deletes import _read
from objstore.api.s3.errors import CODES, S3Error
from objstore.api.s3.headers import kept_headers, override_fields, user_metadata
from objstore.api.s3.objects import copy_source, read_conditions, source_conditions, write_conditions
from objstore.api.s3.xml import escape, parse
from objstore.auth.awschunked import ChunkDecoder
from objstore.auth.s3auth import S3Authenticator
from objstore.auth.s3body import body_of
from objstore.auth.s3checks import announced, announced_checksums, announced_trailers, decoded_size
from objstore.auth.s3dates import format_basic, format_extended, parse_basic, parse_date
from objstore.auth.s3facts import S3Facts
from objstore.auth.s3payload import Payload, PayloadMode, parse_payload
from objstore.auth.s3refusal import S3Refused
from objstore.auth.sigv4doctor import diagnose, first_difference
from objstore.auth.sigv4keys import ChunkSigner, Scope
from objstore.model.errors import StoreError
from objstore.model.octets import text_of
from objstore.model.ranges import parse_ranges
from tests.unit.objstore.auth.s3signing import KEY, REGION, SECRET, random_sent

EXAMPLES = 200
WORDS = st.sampled_from(
    ["AWS4-HMAC-SHA256", "AWS", " ", ",", "=", "/", ";", ":", "Credential=", "SignedHeaders=host", "Signature=", "us-east-1", "s3",
     "aws4_request", "20130524", "T000000Z", "bytes=", "-", "0", "9" * 20, "chunked", "*", '"', "W/", "GMT", "Thu, 01 Jan 1970",
     "%", "%2F", "%ff", "[", "]", ".", "..", "\u0661", "\x00", "a", "?versionId=", "x-amz-checksum-crc32",
     "x-amz-trailer-signature"]
)  # fmt: skip
TEXT = st.one_of(st.binary(max_size=60).map(text_of), st.lists(WORDS, max_size=12).map("".join))
NAMES = st.sampled_from(
    ["authorization", "x-amz-date", "date", "host", "x-amz-content-sha256", "x-amz-trailer", "x-amz-decoded-content-length",
     "x-amz-checksum-crc32", "x-amz-checksum-sha256", "x-amz-checksum-x", "x-amz-meta-a", "content-md5", "if-match",
     "if-none-match", "if-modified-since", "if-unmodified-since", "x-amz-copy-source-if-match", "content-encoding", "range"]
)  # fmt: skip
HEADERS = st.dictionaries(NAMES, TEXT, max_size=6)
FIELDS = st.sampled_from(
    ["X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature",
     "X-Amz-Content-Sha256", "AWSAccessKeyId", "Expires", "Signature", "uploadId", "", "a"]
)  # fmt: skip
ASCII = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="?#"), max_size=40)
QUERY = st.lists(
    st.tuples(FIELDS, st.one_of(ASCII, st.sampled_from(["AWS4-HMAC-SHA256", "host", "1", "20130524T000000Z"]))), max_size=8
)
MODES = st.sampled_from([mode for mode in PayloadMode if mode.chunked])
SIGNER = ChunkSigner(b"k" * 32, "20130524T000000Z", Scope("20130524", "us-east-1"), "0" * 64)


def answered(work: Callable[[], object]) -> bool:
    """Whether it gave a value; else it refused with a code of S3's. Anything else is raised."""
    try:
        work()
    except S3Refused as refused:
        assert 400 <= refused.status < 600 and refused.message
        return False
    except S3Error as error:
        assert error.code in CODES and error.text
        return False
    except StoreError as error:
        assert error.text
        return False
    return True


@settings(max_examples=EXAMPLES, deadline=None)
@given(HEADERS, QUERY, st.sampled_from(["GET", "PUT", ""]), ASCII)
def test_signatures(headers: dict[str, str], query: list[tuple[str, str]], method: str, path: str) -> None:
    """No noise is anybody: it is anonymous, or refused. The doctor reads it all the same."""
    facts = S3Facts(method, "/" + path, "&".join(f"{name}={value}" for name, value in query), headers)
    server = S3Authenticator(REGION)

    def work() -> None:
        claim = server.claim_of(facts)
        if claim is not None:
            server.verify(claim, KEY, facts, 1.4e9)

    before = "authorization" in headers or any(name in dict(query) for name in ("X-Amz-Signature", "Signature", "AWSAccessKeyId"))
    assert not (answered(work) and before)


def test_signatures_that_were_good() -> None:
    """Broken anywhere, then diagnosed: whether it is still proven or not, nobody stumbles."""
    rng, server = random.Random(19), S3Authenticator(REGION)
    for _ in range(700):
        sent = random_sent(rng)
        at = rng.randrange(len(sent.target))
        sent.target = sent.target[:at] + chr(rng.randrange(0x21, 0x7F)) + sent.target[at + rng.randrange(2) :]
        name, value = rng.choice(sent.headers)
        cut = rng.randrange(len(value) + 1)
        sent.headers.append((name, value[:cut] + rng.choice(["", " ", ",", "\u00e4", "=", "/"]) + value[cut + 1 :]))
        facts = sent.facts()

        def work(facts: S3Facts = facts, now: float = sent.now) -> None:
            claim = server.claim_of(facts)
            if claim is not None and hasattr(claim, "scope"):
                assert SECRET + "\n" not in str(diagnose(claim, facts, SECRET))
                server.verify(claim, KEY, facts, now)

        answered(work)


@settings(max_examples=EXAMPLES, deadline=None)
@given(HEADERS, MODES, TEXT)
def test_headers(headers: dict[str, str], mode: PayloadMode, text: str) -> None:
    read_headers(headers, mode, text)


def read_headers(headers: dict[str, str], mode: PayloadMode, text: str) -> None:
    for work in (
        lambda: announced_checksums(headers),
        lambda: announced_trailers(headers),
        lambda: announced(headers, mode),
        lambda: decoded_size(headers),
        lambda: parse_payload(text, streaming=True),
        lambda: body_of(Payload(mode, text), headers, 1, SIGNER),
        lambda: md5_of(headers),
        lambda: user_metadata(headers),
        lambda: kept_headers(headers),
        lambda: override_fields({"response-expires": text}),
        lambda: read_conditions(headers),
        lambda: source_conditions(headers),
        lambda: write_conditions(headers),
        lambda: copy_source(text, "AUTH_a"),
        lambda: bucket_of_host(text, ("s3.example.org",)),
        lambda: bucket_of_host(text + ".s3.example.org", ("s3.example.org",)),
        lambda: check_bucket_name(text),
        lambda: parse_ranges(text),
    ):
        answered(work)
    first_difference(text, "".join(headers))


@settings(max_examples=EXAMPLES, deadline=None)
@given(TEXT)
def test_dates(text: str) -> None:
    read_dates(text)


def read_dates(text: str) -> None:
    seconds = parse_date(text)
    if seconds is not None:
        format_extended(seconds)
    basic = parse_basic(text)
    assert basic is None or format_basic(basic) == text


MARKUP = st.sampled_from(
    ["<Delete>", "</Delete>", "<Object>", "</Object>", "<Key>", "</Key>", "<Quiet>", "</Quiet>", "<ETag>", "&#1;", "&amp;", "&x;",
     "<!DOCTYPE x>", "<!--", "-->", "<![CDATA[", "]]>", "<?xml version='1.0' encoding='utf-16'?>", "<a:b xmlns:a='c'>", "\x00"]
)  # fmt: skip
XML = st.lists(st.one_of(MARKUP, st.text(max_size=5)), max_size=14).map("".join)
BODIES = st.one_of(
    XML.map(lambda text: text.encode("utf-8", "surrogatepass")),
    XML.map(lambda text: text.encode("utf-16", "replace")),
    st.binary(max_size=80),
)


@settings(max_examples=EXAMPLES, deadline=None)
@given(BODIES)
def test_documents(body: bytes) -> None:
    answered(lambda: parse(body, "Delete"))
    if answered(lambda: _read(body)):
        wanted, _ = _read(body)
        assert wanted and all(key for key, _ in wanted)
    escape(body.decode("latin-1"))


FRAMING = st.sampled_from(
    [b"0\r\n", b"\r\n", b"a;chunk-signature=", b"5\r\nhello\r\n", b"0;chunk-signature=" + b"0" * 64 + b"\r\n", b"-1\r\n", b";;;",
     b"x-amz-checksum-crc32:AAAAAA==\r\n", b"x-amz-trailer-signature:" + b"0" * 64 + b"\r\n", b"0x5\r\n", b" 5 \r\n",
     b"ffffffffffffffff\r\n"]
)  # fmt: skip


@settings(max_examples=EXAMPLES, deadline=None)
@given(MODES, st.lists(st.one_of(st.binary(max_size=30), FRAMING), max_size=10), st.integers(0, 40))
def test_chunks(mode: PayloadMode, pieces: list[bytes], size: int) -> None:
    """Never more than was announced, and whole only when it is."""
    decoder = ChunkDecoder(
        mode, size, ("x-amz-checksum-crc32",) if mode.has_trailers else (), SIGNER if mode.signs_chunks else None
    )
    got = 0

    def work() -> None:
        nonlocal got
        for piece in pieces:
            got += sum(map(len, decoder.feed(piece)))
        decoder.finish()

    whole = answered(work)
    assert got <= size
    if whole:
        assert got == size and not mode.signs_chunks


LONG = ["," * 8_000, '"' * 8_000, "a/" * 4_000, " " * 8_000, "bytes=" + "0-0," * 2_000, "Sun, " * 1_600, "a." * 4_000, "[" * 8_000,
        "%41" * 2_600, "=" * 8_000, ";" * 8_000, "\u0661" * 4_000, "a-" * 4_000, "a" * 8_000, ":" * 8_000, "0" * 8_000]  # fmt: skip


@pytest.mark.parametrize("value", LONG, ids=lambda value: f"{value[:6]!r}")
def test_no_value_takes_long(value: str) -> None:
    """The quickest of three: collecting garbage, and other threads, count as well."""
    names, took_s = ("if-match", "if-none-match", "x-amz-trailer", "content-md5"), []
    for _ in range(3):
        started = time.process_time()
        read_headers(dict.fromkeys(names, value), PayloadMode.CHUNKS_SIGNED, value)
        read_dates(value)
        answered(lambda: S3Authenticator(REGION).claim_of(S3Facts("GET", "/", "", {"authorization": "AWS4-HMAC-SHA256 " + value})))
        escape(value)
        took_s.append(time.process_time() - started)
    assert min(took_s) < 0.1


def test_no_pattern_repeats_what_repeats() -> None:
    """A quantifier over a group that ends in a quantifier takes exponential time on some text, unless the group begins with what
    its inside cannot hold: that is looked at by hand.
    """
    known = {r"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*"}
    root = Path(__file__).resolve().parents[5] / "objstore"
    for path in [*(root / "api" / "s3").glob("*.py"), *(root / "auth").glob("*.py")]:
        for pattern in re.findall(r"re\.compile\(r?[\"'](.*?)[\"']\)", path.read_text()):
            assert pattern in known or not re.search(r"[+*}]\)[+*{]", pattern), (path.name, pattern)
