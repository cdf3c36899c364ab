"""The edge itself: ids, the access log, failures of our own, connections, draining."""

import asyncio
import logging

import pytest
from site_under_test import Site, head

from objstore.api.edge import TXNS_AT_ONCE
from objstore.model.errors import Unavailable

TOKEN_PATHS = ["c/o", "c", "", "/info", "/healthcheck", "/nowhere", "/v1", "/auth/v1.0"]


@pytest.mark.parametrize("path", TOKEN_PATHS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "COPY"])
async def test_every_answer_is_whole_and_has_its_ids(site: Site, method: str, path: str) -> None:
    answer = await site.call(method, path, user=None)
    assert answer["X-Trans-Id"] == answer["X-Openstack-Request-Id"]
    assert answer["X-Trans-Id"].startswith("tx") and len(answer["X-Trans-Id"]) == 23
    assert answer["Date"].endswith(" GMT") and answer["Content-Type"]
    assert "Server" not in answer and "Connection" not in answer
    int(answer["Content-Length"])


async def test_pages(site: Site) -> None:
    assert (await site.call("GET", "/healthcheck", user=None)).body == b"OK"
    assert (await site.call("HEAD", "/healthcheck", user=None))["Content-Length"] == "2"
    metrics = await site.call("GET", "/metrics", user=None)
    assert (metrics.body, metrics["Content-Type"]) == (b"up 1\n", "text/plain; version=0.0.4")
    assert (await site.call("POST", "/info", user=None)).status == 405
    assert (await site.call("GET", "/", user=None)).status == 404
    assert (await site.call("GET", "//v1/AUTH_test")).status == 404


async def test_log_in(site: Site) -> None:
    for fields in (
        {"X-Auth-User": "test:tester", "X-Auth-Key": "testing"},
        {"X-Storage-User": "test:tester", "X-Storage-Pass": "testing"},
    ):
        for path in ("/auth/v1.0", "/auth/v1.0/"):
            answer = await site.call("GET", path, fields, user=None)
            assert answer.status == 200
            assert answer["X-Auth-Token"] == answer["X-Storage-Token"]
            assert answer["X-Storage-Url"] == "http://localhost/v1/AUTH_test"
            assert int(answer["X-Auth-Token-Expires"]) == 86_400
            listing = await site.call("GET", "/v1/AUTH_test", {"X-Auth-Token": answer["X-Auth-Token"]}, user=None)
            assert listing.status == 200


@pytest.mark.parametrize(
    ("user", "key", "realm"),
    [("test:tester", "bad", "test"), ("test:nobody", "testing", "test"), ("", "", "unknown"), ("nocolon", "x", "unknown"),
     ('"><script>:x', "y", "%22%3E%3Cscript%3E")],
)  # fmt: skip
async def test_log_in_refused(site: Site, user: str, key: str, realm: str) -> None:
    answer = await site.call("GET", "/auth/v1.0", {"X-Auth-User": user, "X-Auth-Key": key}, user=None)
    assert (answer.status, answer["Www-Authenticate"]) == (401, f'Swift realm="{realm}"')
    other = await site.call("GET", "/auth/v1.0", {"X-Auth-User": "test:tester", "X-Auth-Key": "bad"}, user=None)
    assert answer.body == other.body


async def test_a_hostile_host_field_is_not_repeated(site: Site) -> None:
    fields = {"X-Auth-User": "test:tester", "X-Auth-Key": "testing"}
    request = head("GET", "/auth/v1.0", dict(fields)).replace(b"Host: localhost", b"Host: evil/<x>")
    assert (await site.raw(request))["X-Storage-Url"] == "http://localhost/v1/AUTH_test"


@pytest.mark.parametrize("token", ["AUTH_tkforged", "x", "AUTH_tk" + "A" * 4000])
async def test_bad_tokens(site: Site, token: str) -> None:
    answer = await site.call("GET", "c", {"X-Auth-Token": token}, user=None)
    assert (answer.status, answer["Www-Authenticate"]) == (401, 'Swift realm="AUTH_test"')


async def test_the_realm_is_quoted(site: Site) -> None:
    answer = await site.call("GET", "/v1/AUTH_haxx%22%0Acontent-type:x", user=None)
    assert answer["Www-Authenticate"] == 'Swift realm="AUTH_haxx%22%0Acontent-type%3Ax"'


async def test_the_access_log(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "objstore.access")
    token = site.token()
    await site.call("PUT", "c/o?temp_url_sig=topsecret", {"X-Auth-Token": token}, b"12345", user=None)
    await site.call("GET", "c/o%0A%1b", {"X-Auth-Token": token}, user=None)
    await site.call("GET", "/auth/v1.0", {"X-Auth-User": "test:tester", "X-Auth-Key": "testing"}, user=None)
    await site.raw(b"BAD \x00\r\n\r\n")
    puts, gets, logins, bad = (vars(record) for record in caplog.records if record.name == "objstore.access")
    assert (puts["method"], puts["path"], puts["status"]) == ("PUT", "/v1/AUTH_test/c/o", 201)
    assert (puts["bytes_in"], puts["bytes_out"], puts["user"]) == (5, 0, "test:tester")
    assert puts["ms"] >= 0 and puts["client"] == "127.0.0.1" and puts["txn"].startswith("tx")
    assert gets["path"] == "/v1/AUTH_test/c/o%0A%1b"
    assert (logins["user"], logins["status"]) == ("test:tester", 200)
    assert (bad["status"], bad["path"]) in ((400, "-"), (405, "-"))
    for record in (puts, gets, logins, bad):
        assert not {"testing", "topsecret", token} & {str(value) for value in record.values()}
        assert "topsecret" not in str(record) and token not in str(record)


async def test_metrics_are_counted(site: Site) -> None:
    site.metrics.requests.clear()
    await site.call("PUT", "c/o", None, b"12345")
    await site.call("GET", "c/o")
    assert site.metrics.requests == [("PUT", 201, 5, 0), ("GET", 200, 0, 5)]


async def test_an_unexpected_failure_shows_nothing(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.store.fail = ZeroDivisionError("a secret detail")
    wire = await site.connect()
    wire.send(head("GET", "/v1/AUTH_test/c/o", {"X-Auth-Token": site.token()}))
    answer = await wire.answer()
    assert (answer.status, answer.body) == (500, b"Internal error")
    assert await wire.closed()
    failures = [record for record in caplog.records if record.name == "objstore.api"]
    assert len(failures) == 1 and vars(failures[0])["txn"] == answer["X-Trans-Id"]
    assert failures[0].exc_info is not None


async def test_a_failure_of_the_core_keeps_the_connection(site: Site) -> None:
    site.store.fail = Unavailable("too few replicas answered")
    wire = await site.connect()
    for _ in range(2):
        wire.send(head("GET", "/v1/AUTH_test/c/o", {"X-Auth-Token": site.token()}))
        answer = await wire.answer()
        assert (answer.status, answer["Retry-After"], answer.body) == (503, "1", b"too few replicas answered")


async def test_a_read_that_breaks_off_does_not_look_whole(site: Site) -> None:
    await site.call("PUT", "c/o", None, b"x" * 300_000)
    site.store.cut_reads_after = 131_072
    wire = await site.connect()
    wire.send(head("GET", "/v1/AUTH_test/c/o", {"X-Auth-Token": site.token()}))
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await wire.answer()
    assert all(read.closed for read in site.store.reads)
    site.store.cut_reads_after = 0
    assert (await site.call("GET", "c/o")).status == 503, "nothing was sent yet: there is room for an error"
    assert all(read.closed for read in site.store.reads)


async def test_a_client_that_leaves_a_large_read(site: Site) -> None:
    await site.call("PUT", "c/o", None, b"x" * 8_000_000)
    for _ in range(20):
        wire = await site.connect()
        wire.send(head("GET", "/v1/AUTH_test/c/o", {"X-Auth-Token": site.token()}))
        await wire.reader.readexactly(1000)
        wire.writer.transport.abort()
    for _ in range(100):
        if all(read.closed for read in site.store.reads):
            break
        await asyncio.sleep(0.02)
    assert len(site.store.reads) == 20 and all(read.closed for read in site.store.reads)


async def test_pipelined_requests_are_answered_in_order(site: Site) -> None:
    token = site.token()
    wire = await site.connect()
    for number in range(10):
        body = str(number).encode() * 10
        wire.send(head("PUT", f"/v1/AUTH_test/c/{number}", {"X-Auth-Token": token, "Content-Length": "10"}) + body)
        wire.send(head("GET", f"/v1/AUTH_test/c/{number}", {"X-Auth-Token": token}))
    for number in range(10):
        assert (await wire.answer()).status == 201
        assert (await wire.answer()).body == str(number).encode() * 10


async def test_http_1_0(site: Site) -> None:
    wire = await site.connect()
    wire.send(b"GET /healthcheck HTTP/1.0\r\n\r\n")
    assert (await wire.answer()).body == b"OK"
    assert await wire.closed()
    wire = await site.connect()
    for _ in range(2):
        wire.send(b"GET /healthcheck HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert (await wire.answer())["Connection"] == "keep-alive"


async def test_the_connection_field(site: Site) -> None:
    assert "Connection" not in await site.raw(head("GET", "/healthcheck"))
    assert (await site.raw(head("GET", "/healthcheck", {"Connection": "Keep-Alive"})))["Connection"] == "keep-alive"
    wire = await site.connect()
    wire.send(head("GET", "/healthcheck", {"Connection": "close"}))
    assert (await wire.answer())["Connection"] == "close"
    assert await wire.closed()


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nb", "a\rb", "a\0b"])
async def test_no_field_can_break_a_response(site: Site, value: str) -> None:
    """Values come from the parser, which refuses these; this is the second wall."""
    table = site.store._containers["AUTH_test"]["c"]
    await site.call("PUT", "c/o", None, b"x")
    table.objects["o"].version.user["a"] = value
    answer = await site.call("GET", "c/o")
    assert answer.status == 500 and "X-Object-Meta-A" not in answer


async def test_every_request_has_an_id_of_its_own(site: Site) -> None:
    wire = await site.connect()
    ids = set()
    for _ in range(2 * TXNS_AT_ONCE + 2):
        wire.send(head("GET", "/healthcheck"))
        ids.add((await wire.answer())["X-Trans-Id"])
    assert len(ids) == 2 * TXNS_AT_ONCE + 2
