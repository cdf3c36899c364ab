import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore.model.manifest import (
    ManifestError,
    Segment,
    decode_manifest,
    encode_manifest,
    locate,
    manifest_etag,
    normal_span,
    part_span,
    total_size,
)
from objstore.model.ranges import Span

ETAG = "0" * 32


@st.composite
def segments(draw: st.DrawFn) -> list[Segment]:
    made = []
    for i in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from(("whole", "range", "data")))
        size = draw(st.integers(1, 12))
        if kind == "data":
            made.append(Segment("", data=draw(st.binary(min_size=1, max_size=12))))
        elif kind == "whole":
            made.append(Segment(f"/c/{i}", ETAG, size, content_type="a/b", modified_s=float(i)))
        else:
            first = draw(st.integers(0, size - 1))
            last = draw(st.integers(first, size - 1))
            made.append(Segment(f"/c/{i}", ETAG, size, f"{first}-{last}", sub_manifest=draw(st.booleans())))
    return made


def contents(segment: Segment) -> bytes:
    """What the object of a segment holds: bytes that tell where they are from."""
    return segment.data or bytes((hash(segment.path) + i) % 256 for i in range(segment.size))


def whole_of(made: list[Segment]) -> bytes:
    return b"".join(contents(s)[s.taken.start : s.taken.end] for s in made)


@given(segments(), st.integers(0, 80), st.integers(0, 80))
def test_pieces_are_slices_of_the_whole(made: list[Segment], start: int, length: int) -> None:
    whole = whole_of(made)
    assert total_size(made) == len(whole)
    start, length = min(start, len(whole)), min(length, len(whole) - min(start, len(whole)))
    pieces = list(locate(made, Span(start, length)))
    found = b"".join(contents(segment)[span.start : span.end] for segment, span in pieces)
    assert found == whole[start : start + length]
    assert all(span.length > 0 for _, span in pieces)


@given(segments())
def test_the_document_keeps_everything(made: list[Segment]) -> None:
    assert decode_manifest(encode_manifest(made)) == made


@given(segments(), st.integers(-1, 8))
def test_parts(made: list[Segment], number: int) -> None:
    span = part_span(made, number)
    assert (span is not None) is (1 <= number <= len(made))
    if span is not None:
        segment = made[number - 1]
        assert whole_of(made)[span.start : span.end] == contents(segment)[segment.taken.start : segment.taken.end]


def test_the_document_looks_as_swift_shows_it() -> None:
    made = [
        Segment("/c/o.wav", "098f6bcd4621d373cade4e832627b4f6", 4, "", content_type="audio/x-wav", modified_s=1795386478.0),
        Segment("/c/copy", "098f6bcd4621d373cade4e832627b4f6", 4, "1-3", b"", True, "audio/x-wav", 1795386479.0),
        Segment("", data=b"hi"),
    ]
    assert encode_manifest(made) == (
        b'[{"name": "/c/o.wav", "bytes": 4, "hash": "098f6bcd4621d373cade4e832627b4f6", "content_type": "audio/x-wav", '
        b'"last_modified": "2026-11-22T22:27:58.000000"}, {"name": "/c/copy", "bytes": 4, '
        b'"hash": "098f6bcd4621d373cade4e832627b4f6", "content_type": "audio/x-wav", '
        b'"last_modified": "2026-11-22T22:27:59.000000", "range": "1-3", "sub_slo": true}, {"data": "aGk="}]'
    )


def test_the_etag() -> None:
    data = hashlib.md5(b"hi").hexdigest()
    text = f"{ETAG}{ETAG}:1-3;{data}"
    made = [Segment("/c/a", ETAG, 9), Segment("/c/b", ETAG, 9, "1-3"), Segment("", data=b"hi")]
    assert manifest_etag(made) == hashlib.md5(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("text", "size", "span"),
    [
        ("-1048578", 4194305, "3145727-4194304"),
        ("0-", 10, "0-9"),
        ("2-100", 10, "2-9"),
        ("-100", 10, "0-9"),
        ("10-", 10, None),
        ("-0", 10, None),
    ],
)
def test_normal_spans(text: str, size: int, span: str | None) -> None:
    assert normal_span(text, size) == span


@pytest.mark.parametrize("text", ["", "x", "5-2", "1-2,3-4", "-"])
def test_what_is_no_span(text: str) -> None:
    with pytest.raises(ValueError, match="not a range"):
        normal_span(text, 10)


@pytest.mark.parametrize("document", [b"", b"{}x", b"[1]", b"[{}]", b'[{"data": "?"}]', b'[{"name": "/c/o"}]', b"\xff", b"null"])
def test_what_is_no_manifest(document: bytes) -> None:
    with pytest.raises(ManifestError):
        decode_manifest(document)


def test_names() -> None:
    assert Segment("/c/a/b").names == ("c", "a/b")
    assert Segment("c/a/b").names == ("c", "a/b")
    assert Segment("/c//a").names == ("c", "/a")
