"""Large objects, static and dynamic."""

import base64
import hashlib
import json
from typing import Any

import pytest
from site_under_test import Answer, Site, running_site

from objstore.api.swift.call import SwiftLimits
from objstore.api.swift.errors import Refusal
from objstore.api.swift.manifests import parse_manifest, render_raw
from objstore.model.manifest import Segment


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


async def segments(site: Site) -> list[dict[str, Any]]:
    """Five segments of ten bytes, a to e."""
    for name in "abcde":
        await site.call("PUT", f"c/seg_{name}", {"Content-Type": "t/s"}, name.encode() * 10)
    return [{"path": f"/c/seg_{name}", "etag": md5(name.encode() * 10), "size_bytes": 10} for name in "abcde"]


async def put(site: Site, manifest: Any, query: str = "", name: str = "m", fields: dict[str, str] | None = None) -> Answer:
    body = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
    return await site.call("PUT", f"c/{name}?multipart-manifest=put{query}", {"Content-Type": "a/b"} | (fields or {}), body)


async def test_static(site: Site) -> None:
    manifest = await segments(site)
    etag = md5("".join(entry["etag"] for entry in manifest).encode())
    answer = await put(site, manifest)
    assert (answer.status, answer["Etag"]) == (201, f'"{etag}"')
    read, asked = await site.call("GET", "c/m"), await site.call("HEAD", "c/m")
    assert read.body == b"".join(letter * 10 for letter in (b"a", b"b", b"c", b"d", b"e"))
    document = await site.call("GET", "c/m?multipart-manifest=get")
    for found in (read, asked):
        assert (found["Etag"], found["Content-Length"], found["Content-Type"]) == (f'"{etag}"', "50", "a/b")
        assert (found["X-Static-Large-Object"], found["X-Manifest-Etag"]) == ("True", md5(document.body))
    assert (document["Content-Type"], document["Etag"]) == ("application/json; charset=utf-8", md5(document.body))
    assert [entry["name"] for entry in json.loads(document.body)] == [entry["path"] for entry in manifest]
    listed = json.loads((await site.call("GET", "c?format=json&prefix=m")).body)[0]
    assert (listed["bytes"], listed["hash"], listed["slo_etag"]) == (50, md5(document.body), f'"{etag}"')


async def test_static_raw_can_be_put_again(site: Site) -> None:
    manifest = await segments(site)
    await put(site, [manifest[0] | {"range": "1-3"}, {"data": base64.b64encode(b"!").decode()}, manifest[1]])
    raw = await site.call("GET", "c/m?multipart-manifest=get&format=raw")
    assert (raw["Content-Type"], raw["Etag"], raw["X-Static-Large-Object"]) == ("a/b", md5(raw.body), "True")
    asked = await site.call("HEAD", "c/m?multipart-manifest=get&format=raw")
    assert (asked["Content-Length"], asked["Etag"]) == (str(len(raw.body)), raw["Etag"])
    assert [set(entry) for entry in json.loads(raw.body)] == [
        {"path", "etag", "size_bytes", "range"}, {"data"}, {"path", "etag", "size_bytes"},
    ]  # fmt: skip
    assert (await put(site, raw.body, name="again")).status == 201
    assert (await site.call("GET", "c/again")).body == b"aaa!bbbbbbbbbb"
    assert (await site.call("HEAD", "c/again"))["Etag"] == (await site.call("HEAD", "c/m"))["Etag"]


async def test_static_ranges_and_parts(site: Site) -> None:
    await put(site, await segments(site))
    found = await site.call("GET", "c/m", {"Range": "bytes=8-12"})
    assert (found.status, found.body, found["Content-Range"]) == (206, b"aabbb", "bytes 8-12/50")
    several = await site.call("GET", "c/m", {"Range": "bytes=0-0,49-49"})
    assert several["Content-Type"].startswith("multipart/byteranges; boundary=") and b"bytes 49-49/50" in several.body
    for method in ("GET", "HEAD"):
        part = await site.call(method, "c/m?part-number=2")
        assert (part.status, part["Content-Length"], part["Content-Range"]) == (206, "10", "bytes 10-19/50")
        assert (part["X-Parts-Count"], part["Etag"][0]) == ("5", '"')
        missing = await site.call(method, "c/m?part-number=6")
        assert (missing.status, missing["Content-Range"], missing["X-Parts-Count"]) == (416, "bytes */50", "5")
        assert missing["Content-Length"] == ("0" if method == "HEAD" else "44")
    for bad in ("0", "-1", "x", "1.0", "", "9999999999999999999999999"):
        answer = await site.call("GET", f"c/m?part-number={bad}")
        assert (answer.status, answer.body) == (400, b"Part number must be an integer greater than 0")


async def test_static_conditions(site: Site) -> None:
    await put(site, await segments(site))
    etag = (await site.call("HEAD", "c/m"))["Etag"]
    for field, value, status in [
        ("If-Match", etag, 200), ("If-Match", etag.strip('"'), 200), ("If-Match", f"not-{etag}", 412),
        ("If-None-Match", etag, 304), ("If-None-Match", f"not-{etag}", 200),
    ]:  # fmt: skip
        answer = await site.call("GET", "c/m", {field: value})
        assert (answer.status, answer["Etag"]) == (status, etag)


FLAWS: list[tuple[Any, str]] = [
    (b"not json", "Manifest must be valid JSON.\n"),
    (b"", "Manifest must be valid JSON.\n"),
    (b"\xff", "Manifest must be valid JSON.\n"),
    (b"[" * 100_000, "Manifest must be valid JSON.\n"),
    (b'[{"path": "/c/\\ud800"}]', "Manifest must be valid JSON.\n"),
    ({"path": "/c/a"}, "Manifest must be a list.\n"),
    ([], "A manifest needs at least 1 segment.\n"),
    (["x"], "Index 0: not a JSON object\n"),
    ([{"path": "/c/a", "teag": ""}], 'Index 0: extraneous keys "teag"\n'),
    ([{"etag": "x"}], 'Index 0: missing required key "path"\n'),
    ([{"path": "/c/a", "range": "1-2,3-4"}], "Index 0: multiple ranges (only one allowed)\n"),
    ([{"path": "/c/a", "range": "x"}], "Index 0: invalid range\n"),
    ([{"path": "/c/a", "range": 5}], "Index 0: invalid range\n"),
    ([{"path": "/c/a", "size_bytes": -1}], "Index 0: invalid size_bytes\n"),
    ([{"path": "/c/a", "size_bytes": True}], "Index 0: invalid size_bytes\n"),
    ([{"path": "/c/a", "size_bytes": 1.5}], "Index 0: invalid size_bytes\n"),
    ([{"path": "/c/a", "size_bytes": 0}], "Index 0: too small; each segment must be at least 1 byte.\n"),
    ([{"path": "/c/a", "etag": 7}], "Index 0: etag must be a string\n"),
    ([{"path": "/c/a"}, {"data": "!"}], "Index 1: data must be valid base64\n"),
    ([{"path": "/c/a"}, {"data": ""}], "Index 1: data must be base64 of at least one byte\n"),
    ([{"path": "/c/a"}, {"data": "YQ==", "path": "/c/a"}], "Index 1: an entry of inline data has no other keys\n"),
    ([{"data": "YQ=="}], "Inline data segments require at least one object-backed segment.\n"),
    ([{"path": "/c/a"}, {"data": base64.b64encode(b"x" * 65_537).decode()}], "Inline data must not exceed 65536 bytes\n"),
] + [
    ([{"path": path}], "Index 0: path does not refer to an object. Path must be of the form /container/object.\n")
    for path in ("", "/", "c", "/c", "/c/", "//o", 7, None, "/c/a\0")
]  # fmt: skip


@pytest.mark.parametrize(("manifest", "text"), FLAWS, ids=range(len(FLAWS)))
async def test_flaws_of_a_manifest(site: Site, manifest: Any, text: str) -> None:
    answer = await put(site, manifest)
    assert (answer.status, answer.body.decode()) == (400, text)
    assert (await site.call("HEAD", "c/m")).status == 404


def test_what_a_manifest_may_hold() -> None:
    body = b'[{"path": "c/%ff", "etag": null, "size_bytes": "7", "range": "-3"}, {"path": "/c/a/b", "etag": "\\"e\\""}]'
    parsed, written = parse_manifest(body, 2)
    assert parsed == [Segment("/c/%ff", "", 7, "-3"), Segment("/c/a/b", "e")]
    assert written == {"/c/%ff": "c/%ff", "/c/a/b": "/c/a/b"}
    with pytest.raises(Refusal) as caught:
        parse_manifest(body, 1)
    assert caught.value.status == 413
    assert json.loads(render_raw(parsed))[0] == {"path": "/c/%ff", "etag": "", "size_bytes": 7, "range": "-3"}


async def test_problems_of_segments_are_named(site: Site) -> None:
    manifest = await segments(site)
    wrong = [manifest[0] | {"size_bytes": 11, "etag": "0" * 32}, {"path": "c/missing"}, {"path": "/other/x"}]
    answer = await put(site, wrong)
    assert (answer.status, answer["Content-Type"]) == (400, "text/plain; charset=utf-8")
    assert answer.body.decode().split("\n") == [
        "Errors:", "/c/seg_a, Size Mismatch", "/c/seg_a, Etag Mismatch", "c/missing, 404 Not Found", "/other/x, 404 Not Found", "",
    ]  # fmt: skip
    as_json = await put(site, wrong, fields={"Accept": "application/json"})
    assert (as_json.status, len(json.loads(as_json.body)["Errors"])) == (400, 4)
    assert (await put(site, manifest, fields={"ETag": "bad"})).status == 422
    assert (await put(site, manifest, fields={"ETag": f'"{md5("".join(e["etag"] for e in manifest).encode())}"'})).status == 201
    assert (await put(site, manifest, fields={"If-None-Match": "*"})).status == 412
    assert (await put(site, manifest, fields={"If-None-Match": "not-star"})).status == 400


async def test_heartbeat(site: Site) -> None:
    manifest = await segments(site)
    answer = await put(site, manifest, "&heartbeat=on")
    assert (answer.status, answer["Content-Type"], answer["Transfer-Encoding"]) == (202, "text/plain", "chunked")
    blanks, separator, report = answer.body.partition(b"\r\n\r\n")
    assert separator and not blanks.strip() and blanks
    lines = report.decode().split("\n")
    assert {"Response Status: 201 Created", "Response Body: ", "Errors:"} <= set(lines) and lines[-1] == ""
    assert {"Etag", "Last Modified"} <= {line.partition(":")[0] for line in lines}
    wrong = await put(site, [*manifest, {"path": "no/such"}], "&heartbeat=on", fields={"Accept": "application/json"})
    assert json.loads(wrong.body) == {
        "Response Status": "400 Bad Request",
        "Response Body": "Bad Request\nThe server could not comply with the request since it is either malformed or otherwise "
        "incorrect.",
        "Errors": [["no/such", "404 Not Found"]],
    }
    mismatch = json.loads((await put(site, manifest, "&heartbeat=on", fields={"Accept": "application/json", "ETag": "x"})).body)
    assert (mismatch["Response Status"], mismatch["Errors"]) == ("422 Unprocessable Entity", [])
    assert mismatch["Response Body"] == "Unprocessable Entity\nUnable to process the contained instructions"


async def test_blanks_come_while_it_takes() -> None:
    async with running_site(swift_limits=SwiftLimits(yield_every_s=0.05)) as site:
        await site.call("PUT", "c")
        manifest = await segments(site)
        put_manifest = site.store.put_manifest

        async def slow(*args: Any) -> Any:
            await site.edge._clock.sleep(0.4)
            return await put_manifest(*args)

        site.store.put_manifest = slow  # type: ignore[method-assign]
        blanks = (await put(site, manifest, "&heartbeat=on")).body.partition(b"\r\n\r\n")[0]
        assert 4 <= len(blanks) <= 10 and not blanks.strip()


@pytest.mark.parametrize("accept", ["", "application/json"])
async def test_delete_with_segments(site: Site, accept: str) -> None:
    manifest = await segments(site)
    await put(site, manifest[:2], name="sub")
    await put(site, [{"path": "/c/sub"}, manifest[2], {"data": "YQ=="}])
    await site.call("DELETE", "c/seg_c")
    answer = await site.call("DELETE", "c/m?multipart-manifest=delete", {"Accept": accept} if accept else {})
    assert answer.status == 200
    if accept:
        assert json.loads(answer.body) == {
            "Number Deleted": 4, "Number Not Found": 1, "Response Body": "", "Response Status": "200 OK", "Errors": [],
        }  # fmt: skip
    else:
        assert answer.body.decode() == (
            "Number Deleted: 4\nNumber Not Found: 1\nResponse Body: \nResponse Status: 200 OK\nErrors:\n"
        )
    assert (await site.call("GET", "c")).body == b"seg_d\nseg_e\n"


async def test_delete_with_segments_of_what_is_none(site: Site) -> None:
    await site.call("PUT", "c/o", None, b"x")
    assert (await site.call("DELETE", "c/o?multipart-manifest=delete")).status == 400
    assert (await site.call("DELETE", "c/none?multipart-manifest=delete")).status == 404
    await put(site, await segments(site))
    assert (await site.call("DELETE", "c/m")).status == 204
    assert b"seg_a\n" in (await site.call("GET", "c")).body


async def test_copies(site: Site) -> None:
    await put(site, await segments(site), fields={"X-Object-Meta-A": "1"})
    await site.call("COPY", "c/m", {"Destination": "c/flat"})
    flat = await site.call("HEAD", "c/flat")
    assert "X-Static-Large-Object" not in flat and flat["Content-Length"] == "50"
    kept = await site.call("COPY", "c/m?multipart-manifest=get", {"Destination": "c/kept"})
    assert kept["Etag"] == (await site.call("HEAD", "c/m"))["Etag"]
    found = await site.call("HEAD", "c/kept")
    assert (found["X-Static-Large-Object"], found["Content-Type"], found["X-Object-Meta-A"]) == ("True", "a/b", "1")
    await site.call("COPY", "c/m?part-number=1", {"Destination": "c/part"})
    assert (await site.call("GET", "c/part")).body == b"a" * 10


async def test_dynamic(site: Site) -> None:
    await segments(site)
    await site.call("PUT", "c/d", {"X-Object-Manifest": "c/seg%5F", "Content-Type": "a/d"}, b"own")
    read, asked = await site.call("GET", "c/d"), await site.call("HEAD", "c/d")
    assert len(read.body) == 50 and asked["Content-Length"] == "50"
    etag = md5("".join(md5(letter.encode() * 10) for letter in "abcde").encode())
    assert read["Etag"] == asked["Etag"] == f'"{etag}"' and asked["X-Object-Manifest"] == "c/seg%5F"
    assert "X-Manifest-Etag" not in asked
    own = await site.call("GET", "c/d?multipart-manifest=get")
    assert (own.body, own["Etag"], own["Content-Type"]) == (b"own", md5(b"own"), "a/d")
    several = await site.call("GET", "c/d", {"Range": "bytes=0-1,8-9"})
    assert (several.status, len(several.body)) == (200, 50)
    beyond = await site.call("GET", "c/d", {"Range": "bytes=99-"})
    assert (beyond.status, beyond["Content-Range"]) == (416, "bytes */50")
    assert (await site.call("GET", "c/d", {"If-None-Match": etag})).status == 304
    await site.call("POST", "c/d", {"X-Object-Meta-A": "1"})
    assert "X-Object-Manifest" not in await site.call("HEAD", "c/d")
