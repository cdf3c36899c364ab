"""GET and HEAD of objects: conditions, ranges, parts of a response."""

import email.parser

import pytest
from site_under_test import Answer, Site

from objstore.api.conditional import parse_conditions, parse_tags
from objstore.api.dates import http_date, parse_http_date
from objstore.model.conditions import NO_CONDITIONS

ETAG = "0cc175b9c0f1b6a831c399e269772661"  # of b"a"
BODY = bytes(range(256)) * 4


async def put(site: Site, body: bytes = BODY, **fields: str) -> Answer:
    return await site.call("PUT", "c/o", {name.replace("_", "-"): value for name, value in fields.items()}, body)


def test_tags() -> None:
    assert parse_tags('"a", W/"b", c, *') == {"a", "b", "c", "*"}
    assert parse_tags('not-"a"') == {'not-"a"'}
    assert parse_tags('""') == {""} and parse_tags('"') == {'"'}
    assert len(parse_tags('",' * 4_000)) <= 2


def test_conditions() -> None:
    assert parse_conditions({"range": "x"}) is NO_CONDITIONS
    found = parse_conditions({"if-match": '"a"', "if-none-match": "*", "if-modified-since": "Sun, 22 Nov 2026 22:27:58 GMT"})
    assert (found.if_match, found.if_none_match, found.modified_since_s) == ({"a"}, {"*"}, 1_795_386_478)
    assert parse_conditions({"if-unmodified-since": "never"}).unmodified_since_s is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Sun, 22 Nov 2026 22:27:58 GMT", 1_795_386_478),
        ("Sunday, 22-Nov-26 22:27:58 GMT", 1_795_386_478),
        ("Sun Nov 22 22:27:58 2026", 1_795_386_478),
        ("", None),
        ("yesterday", None),
        ("Sun, 32 Nov 2026 22:27:58 GMT", None),
        ("Sun, 22 Nov 2026 25:27:58 GMT", None),
        ("9" * 10_000, None),
        ("Sun, 22 Nov 99999999999999999999 22:27:58 GMT", None),
        (" ," * 31, None),
    ],
)
def test_dates(text: str, seconds: int | None) -> None:
    assert parse_http_date(text) == seconds
    if seconds is not None:
        assert http_date(seconds) == "Sun, 22 Nov 2026 22:27:58 GMT"


async def test_head_is_get_without_a_body(site: Site) -> None:
    await put(site, Content_Type="text/x", X_Object_Meta_Color="blue", Content_Disposition="attachment", Cache_Control="private")
    read, asked = await site.call("GET", "c/o"), await site.call("HEAD", "c/o")
    changing = {"X-Trans-Id", "X-Openstack-Request-Id", "Date"}
    assert [f for f in read.fields if f[0] not in changing] == [f for f in asked.fields if f[0] not in changing]
    assert asked["Content-Length"] == "1024" and asked["X-Object-Meta-Color"] == "blue"
    assert asked["Content-Disposition"] == "attachment" and asked["Cache-Control"] == "private"


async def test_conditional_reads(site: Site) -> None:
    modified = (await put(site, b"a"))["Last-Modified"]
    long_ago = "Sun, 06 Nov 1994 08:49:37 GMT"
    for field, value, status in [
        ("If-Match", ETAG, 200), ("If-Match", f'"{ETAG}"', 200), ("If-Match", "*", 200), ("If-Match", f'"x", "{ETAG}"', 200),
        ("If-Match", "bogus", 412), ("If-Match", f'not-"{ETAG}"', 412),
        ("If-None-Match", ETAG, 304), ("If-None-Match", "*", 304), ("If-None-Match", "bogus", 200),
        ("If-None-Match", f'not-"{ETAG}"', 200),
        ("If-Modified-Since", modified, 304), ("If-Modified-Since", long_ago, 200), ("If-Modified-Since", "nonsense", 200),
        ("If-Unmodified-Since", modified, 200), ("If-Unmodified-Since", long_ago, 412),
    ]:  # fmt: skip
        for method in ("GET", "HEAD"):
            answer = await site.call(method, "c/o", {field: value})
            assert answer.status == status, (field, value)
            assert answer["Etag"] == ETAG
            assert status == 412 or answer["Accept-Ranges"] == "bytes"


RANGES = {
    "bytes=0-4": (0, 5), "bytes=-5": (1019, 1024), "bytes=1020-": (1020, 1024), "bytes=-2000": (0, 1024),
    "bytes=1000-5000": (1000, 1024), "BYTES = 0 - 999": (0, 1000), "bytes=0-999 ": (0, 1000), "bytes=0-0,5000-": (0, 1),
}  # fmt: skip


@pytest.mark.parametrize("text", RANGES)
async def test_one_range(site: Site, text: str) -> None:
    await put(site)
    start, end = RANGES[text]
    answer = await site.call("GET", "c/o", {"Range": text})
    assert (answer.status, answer.body) == (206, BODY[start:end])
    assert answer["Content-Range"] == f"bytes {start}-{end - 1}/1024"


@pytest.mark.parametrize("text", ["0-4", "parsecs=8-12", "bytes", "bytes=a-b", "bytes=5-4", "bytes=0-4,x", "bytes=٥-٩"])
async def test_no_range(site: Site, text: str) -> None:
    await put(site)
    answer = await site.call("GET", "c/o", {"Range": text})
    assert (answer.status, answer.body) == (200, BODY)


@pytest.mark.parametrize("text", ["bytes=-0", "bytes=1024-", "bytes=99999999999999999999999-", "bytes=" + ",".join(["0-0"] * 51)])
async def test_range_not_satisfiable(site: Site, text: str) -> None:
    etag = (await put(site))["Etag"]
    answer = await site.call("GET", "c/o", {"Range": text})
    assert (answer.status, answer["Content-Range"]) == (416, "bytes */1024")
    assert answer["Etag"] == etag and answer["Accept-Ranges"] == "bytes"


async def test_several_ranges(site: Site) -> None:
    await put(site, Content_Type="text/ü")
    answer = await site.call("GET", "c/o", {"Range": "bytes=-3, 0-1, 5000-, 100-199"})
    assert answer.status == 206 and "Content-Range" not in answer
    message = email.parser.BytesParser().parsebytes(b"Content-Type: " + answer["Content-Type"].encode() + b"\r\n\r\n" + answer.body)
    parts = message.get_payload()
    assert isinstance(parts, list)
    assert [str(part["Content-Range"]) for part in parts] == ["bytes 1021-1023/1024", "bytes 0-1/1024", "bytes 100-199/1024"]
    boundary = answer["Content-Type"].partition("boundary=")[2].encode()
    bodies = [part.partition(b"\r\n\r\n")[2][:-2] for part in answer.body.split(b"--" + boundary)[1:-1]]
    assert bodies == [BODY[-3:], BODY[:2], BODY[100:200]]
    assert all("Content-Type: text/ü\r\n".encode() in part for part in answer.body.split(b"--" + boundary)[1:-1])
    assert answer.body.endswith(b"\r\n--" + boundary + b"--")


async def test_if_range(site: Site) -> None:
    stored = await put(site)
    for condition, status in [
        (f'"{stored["Etag"]}"', 206), (stored["Etag"], 206), (stored["Last-Modified"], 206),
        ('"other"', 200), ("Sun, 06 Nov 1994 08:49:37 GMT", 200), ("nonsense", 200),
    ]:  # fmt: skip
        answer = await site.call("GET", "c/o", {"Range": "bytes=0-1", "If-Range": condition})
        assert (answer.status, len(answer.body)) == (status, 2 if status == 206 else 1024), condition
    assert all(read.closed for read in site.store.reads)


async def test_head_takes_no_range(site: Site) -> None:
    await put(site)
    answer = await site.call("HEAD", "c/o", {"Range": "bytes=0-1"})
    assert (answer.status, answer["Content-Length"]) == (200, "1024")


async def test_missing(site: Site) -> None:
    for path in ("c/missing", "missing/o"):
        for method in ("GET", "HEAD", "DELETE", "POST"):
            answer = await site.call(method, path)
            assert answer.status == 404
            assert method != "HEAD" or answer["Content-Length"] == "0"
