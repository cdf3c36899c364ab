"""Whatever comes in, the parsers answer with a value or with a refusal, and quickly (security tests S19, S22)."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from objstore.api.conditional import parse_conditions
from objstore.api.dates import http_date, parse_http_date
from objstore.api.request import path_segments
from objstore.api.swift.headers import account_values, container_values, object_headers, title
from objstore.api.swift.manifests import parse_manifest
from objstore.api.swift.negotiation import best_match
from objstore.api.utf8headers import NameCodec, rewrite_head
from objstore.model.errors import StoreError
from objstore.model.octets import text_of
from objstore.runtime.rng import SystemRng

WORDS = st.sampled_from(["bytes=", "*/*", ";q=", "0.5", ",", '"', "W/", "Sun, 22 Nov", "GMT", "%2F", "..", "/", "-", " ", "9" * 30])
HEADER = st.one_of(st.binary(max_size=80).map(text_of), st.lists(WORDS, max_size=12).map("".join))


@settings(max_examples=300)
@given(HEADER)
def test_header_values(value: str) -> None:
    best_match(value)
    parse_conditions(dict.fromkeys(("if-match", "if-none-match", "if-modified-since", "if-unmodified-since"), value))
    seconds = parse_http_date(value)
    if seconds is not None:
        http_date(seconds)
    for name in ("x-delete-at", "x-delete-after", "x-object-manifest"):
        try:
            object_headers({name: value}, 1e9)
        except StoreError as error:
            assert error.text


@settings(max_examples=300)
@given(st.binary(max_size=60))
def test_paths_and_names(raw: bytes) -> None:
    segments = path_segments("/" + raw.decode("latin-1").replace("?", ""), 4)
    assert segments is None or (1 <= len(segments) <= 4 and not any("\0" in segment for segment in segments))
    name = text_of(raw)
    assert title(name).lower() is not None
    container_values({"x-container-meta-" + name: name})
    account_values({"x-remove-account-" + name: name})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["path", "etag", "size_bytes", "range", "data", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=300)
@given(JSON)
def test_manifests(document: object) -> None:
    try:
        segments, _ = parse_manifest(json.dumps(document).encode(), 100)
    except StoreError as error:
        assert error.text
    else:
        assert segments


@settings(max_examples=300)
@given(
    st.lists(st.sampled_from([b"X-Object-Meta-\xc3\x9c", b": ", b"\r\n", b"\n", b"GET /\xff HTTP/1.1", b"\r", b" ", b"a", b"\xff"]))
)
def test_the_filter_keeps_lines(parts: list[bytes]) -> None:
    """Line ends stay where they are, so the parser sees the same fields."""
    head = b"".join(parts)
    after = rewrite_head(head, NameCodec(SystemRng()))
    assert after.count(b"\r\n") == head.count(b"\r\n") and after.count(b"\n") == head.count(b"\n")
    assert after.count(b"\r") == head.count(b"\r") and after.count(b":") == head.count(b":")
    assert [line.partition(b":")[2] for line in after.split(b"\r\n")][1:] == [
        line.partition(b":")[2] for line in head.split(b"\r\n")
    ][1:] or b"HTTP/1.1" in head


@pytest.mark.parametrize("value", ["," * 8_000, '"' * 8_000, "a/" * 4_000, " " * 8_000, ";q=" * 2_600, "bytes=" + "0-0," * 2_000,
                                   "Sun, " * 1_600, "W/" * 4_000, "*/*," * 2_000])  # fmt: skip
def test_no_value_takes_long(value: str) -> None:
    start = time.perf_counter()
    best_match(value)
    parse_conditions(dict.fromkeys(("if-match", "if-none-match", "if-modified-since", "if-unmodified-since"), value))
    assert time.perf_counter() - start < 0.05
