"""What the head filter changes, and what it must not change."""

import pytest
from site_under_test import Site, head

from objstore.api.utf8headers import NameCodec, rewrite_head
from objstore.runtime.rng import SystemRng

NAME = "X-Object-Meta-Ü".encode()


def codec() -> NameCodec:
    return NameCodec(SystemRng())


@pytest.mark.parametrize("name", [NAME, b"x-CONTAINER-meta-\xff", "X-Account-Meta-☃-☃".encode()])
def test_a_metadata_name_comes_back_in_lower_case(name: bytes) -> None:
    one = codec()
    encoded = one.encode(name)
    assert encoded is not None and encoded.isascii() and encoded.startswith(one.mark.encode())
    assert one.decode(encoded.decode()) == name.lower()


@pytest.mark.parametrize(
    "name", [b"X-Other-\xc3\x9c", b"X-Object-Meta-\xc3\x9c ", b"X-Object-Meta-\xc3\nX", b"X-Object-Meta-\xc3\rX", b"\xc3",
             b" X-Object-Meta-\xc3", b"X-Object-Meta-\xc3\x00", b"X-Object-Meta-\xc3(", b"X-Object-Sysmeta-\xc3",
             b"X-Remove-Container-Meta-\xc3", b"Transfer-Encoding\xc2\xa0"]
)  # fmt: skip
def test_any_other_name_is_left_to_the_parser(name: bytes) -> None:
    assert codec().encode(name) is None


def test_two_processes_have_two_marks() -> None:
    assert codec().mark != codec().mark


def test_only_names_and_the_target_change() -> None:
    before = b"PUT /v1/\xe2\x98\x83?a=\xff HTTP/1.1\r\nHost: x\r\nX-Object-Meta-A: \xc3\x9c\r\n" + NAME + b": v:\xc3\r\n\r\n"
    one = codec()
    after = rewrite_head(before, one)
    encoded = one.encode(NAME)
    assert encoded is not None
    assert after == (
        b"PUT /v1/%E2%98%83?a=%FF HTTP/1.1\r\nHost: x\r\nX-Object-Meta-A: \xc3\x9c\r\n" + encoded + b": v:\xc3\r\n\r\n"
    )


async def test_a_name_goes_in_and_out(site: Site) -> None:
    fields = {"X-Object-Meta-Ü": "grün", "X-Object-Meta-plain": "x"}
    assert (await site.call("PUT", "c/o", fields, b"body")).status == 201
    answer = await site.call("HEAD", "c/o")
    assert answer["X-Object-Meta-Ü".encode().decode("latin-1")] == "grün".encode().decode("latin-1")
    assert answer["X-Object-Meta-Plain"] == "x"
    assert not any("x-utf8" in name.lower() for name in answer.names())
    assert [name.isascii() for name, _ in answer.fields] == [True] * (len(answer.fields) - 1) + [False], "odd names come last"


async def test_in_any_split(site: Site) -> None:
    token = site.token()
    request = head("PUT", "/v1/AUTH_test/c/ü", {"X-Auth-Token": token, "X-Object-Meta-Ü": "v", "Content-Length": "2"}) + b"ab"
    wire = await site.connect()
    for cut in range(1, len(request), 7):
        wire.send(request[:cut])
        await wire.writer.drain()
        await site.pause()
        wire.send(request[cut:])
        answer = await wire.answer()
        assert answer.status == 201, cut
    found = await site.call("HEAD", "c/%C3%BC")
    assert found["X-Object-Meta-Ü".encode().decode("latin-1")] == "v"


async def test_byte_by_byte(site: Site) -> None:
    request = head("PUT", "/v1/AUTH_test/c/o", {"X-Auth-Token": site.token(), "X-Object-Meta-Ü": "v", "Content-Length": "1"})
    wire = await site.connect()
    for _ in range(2):
        for byte in request + b"x":
            wire.send(bytes([byte]))
            await wire.writer.drain()
        assert (await wire.answer()).status == 201
    assert "X-Object-Meta-Ü".encode().decode("latin-1") in await site.call("HEAD", "c/o")


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_looks_like_a_head_is_not_touched(site: Site, chunked: bool) -> None:
    body = b"GET / HTTP/1.1\r\n" + NAME + b": v\r\n\r\n" + NAME + b": v\r\n\r\n"
    fields = {"X-Auth-Token": site.token()}
    if chunked:
        sent = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        request = head("PUT", "/v1/AUTH_test/c/o", fields | {"Transfer-Encoding": "chunked"})
    else:
        sent = body
        request = head("PUT", "/v1/AUTH_test/c/o", fields | {"Content-Length": str(len(body))})
    wire = await site.connect()
    for cut in range(0, len(sent), 9):
        wire.send(request + sent[:cut])
        await wire.writer.drain()
        await site.pause()
        wire.send(sent[cut:])
        assert (await wire.answer()).status == 201
        assert (await site.call("GET", "c/o")).body == body
    wire.send(head("PUT", "/v1/AUTH_test/c/o2", fields | {"X-Object-Meta-Ü": "v", "Content-Length": "0"}))
    assert (await wire.answer()).status == 201, "the next head is found again"


async def test_a_body_behind_33_pipelined_requests_is_not_touched(site: Site) -> None:
    """aiohttp's parser stops after 32 requests and keeps the rest to itself: the filter cannot see where heads begin."""
    token = site.token()
    body = NAME + b": v\r\n\r\n"
    wire = await site.connect()
    wire.send(head("GET", "/healthcheck") * 40)
    wire.send(head("PUT", "/v1/AUTH_test/c/o", {"X-Auth-Token": token, "Content-Length": str(len(body))}))
    await wire.writer.drain()
    wire.send(body)
    assert [(await wire.answer()).status for _ in range(41)] == [200] * 40 + [201]
    assert (await site.call("GET", "c/o")).body == body


async def test_other_names_with_high_bytes_are_refused(site: Site) -> None:
    answer = await site.raw(head("GET", "/healthcheck")[:-2] + b"X-Oth\xc3\xa9r: v\r\n\r\n")
    assert (answer.status, answer["Connection"]) == (400, "close")
    assert answer.body == b"Malformed request"


async def test_a_guessed_mark_is_just_a_header(site: Site) -> None:
    name = f"X-Utf8-{'0' * 32}-{NAME.hex()}"
    assert (await site.call("PUT", "c/o", {name: "v"}, b"")).status == 201
    assert not any("meta" in found.lower() for found in (await site.call("HEAD", "c/o")).names())


async def test_the_target_is_what_the_client_meant(site: Site) -> None:
    fields = {"X-Auth-Token": site.token()}
    assert (await site.raw(head("PUT", "/v1/AUTH_test/☃", fields | {"Content-Length": "0"}))).status == 201
    assert (await site.call("GET", "")).body == "c\n☃\n".encode()
    for target in (b"/v1/AUTH_test/\xff", b"/v1/AUTH_test/c/\xed\xa0\x80", b"/v1/AUTH_test/c%00", b"/v1/AUTH_test/c/%C0%AF"):
        answer = await site.raw(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (answer.status, answer.body) == (412, b"Invalid UTF8 or contains NULL")
