"""Bodies that are made to hurt whoever reads them: documents with entities, without bound, in odd encodings; packed bodies; bodies
that end too soon (security tests S17, S18, S23).
"""

import gzip
import os
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from objstore.testing.blocking import BlockingCluster
from tests.cluster.s3raw import (
    CRC_TRAILER,
    SIGNED_CHUNKS,
    SIGNED_TRAILER,
    UNSIGNED_TRAILER,
    Answer,
    Wire,
    call,
    encoded,
    exchange,
    sign,
)
from tests.faults.figures import Count

CPU_S_MAX = 0.3
"""S17 wants 50 ms of the parser; this is the whole way of a request, with whatever else the proxy does meanwhile."""
GROWTH_BYTES_MAX = 32 * 2**20
CLIENT_TIMEOUT_S = 2.0
DTD = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">%s]>'
LAUGHS = DTD % b"".join(b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(9))


@pytest.fixture(scope="module")
def cluster() -> Iterator[BlockingCluster]:
    settings = {"proxy": {"client_timeout_s": CLIENT_TIMEOUT_S}}
    with BlockingCluster(nodes=3, devices=1, network_faults=False, settings=settings) as running:
        call(running.endpoint, "PUT", "/bucket")
        call(running.endpoint, "PUT", "/bucket/canary", b"alive")
        yield running


def processes(cluster: BlockingCluster) -> list[int]:
    """The proxy and the workers below it."""
    top = cluster.pid(cluster.proxies[0])
    found = [top]
    for pid in found:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as children:
                found += [int(child) for child in children.read().split()]
    return found


def rss_bytes(cluster: BlockingCluster) -> int:
    total = 0
    for pid in processes(cluster):
        with open(f"/proc/{pid}/statm") as statm:
            total += int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return total


def cpu_s(cluster: BlockingCluster) -> float:
    ticks = 0
    for pid in processes(cluster):
        with open(f"/proc/{pid}/stat") as stat:
            ticks += sum(map(int, stat.read().rpartition(")")[2].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def upload(endpoint: str) -> str:
    """The target that completes an upload of one part, and the part's document."""
    key = f"/bucket/{os.urandom(5).hex()}"
    id_ = call(endpoint, "POST", f"{key}?uploads").body.partition(b"<UploadId>")[2].partition(b"<")[0].decode()
    assert call(endpoint, "PUT", f"{key}?partNumber=1&uploadId={id_}", b"part").status == 200
    return f"{key}?uploadId={id_}"


def part_of(endpoint: str, target: str) -> bytes:
    etag = call(endpoint, "GET", target).body.partition(b"<ETag>")[2].partition(b"<")[0]
    return b"<Part><PartNumber>1</PartNumber><ETag>" + etag + b"</ETag></Part>"


DOCUMENTS = {
    "Delete": ("POST", "/bucket?delete"),
    "CompleteMultipartUpload": ("POST", ""),
    "CreateBucketConfiguration": ("PUT", ""),
}
GOOD = {
    "Delete": b"<Object><Key>canary</Key></Object>",
    "CompleteMultipartUpload": b"",
    "CreateBucketConfiguration": b"<LocationConstraint>us-east-1</LocationConstraint>",
}


def attacks(root: str, good: bytes) -> dict[str, bytes]:
    """By name; each holds a good document, so that only the attack can be why it is refused."""
    name = root.encode()
    plain = b"<%b>%b</%b>" % (name, good, name)
    entity = b"<%b>%b<Quiet>&%%b;</Quiet></%b>" % (name, good, name)
    return {
        "file": b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>' + entity % b"a",
        "http": b'<!DOCTYPE x [<!ENTITY a SYSTEM "http://127.0.0.1:1/">]>' + entity % b"a",
        "parameter entity": b'<!DOCTYPE x [<!ENTITY %% a SYSTEM "file:///etc/passwd"> %%a;]>' + plain,
        "external subset": b'<!DOCTYPE x SYSTEM "file:///etc/passwd">' + plain,
        "public subset": b'<!DOCTYPE x PUBLIC "-//W3C//DTD XHTML 1.0//EN" "http://127.0.0.1:1/x.dtd">' + plain,
        "billion laughs": LAUGHS + entity % b"j",
        "quadratic": b'<!DOCTYPE x [<!ENTITY a "%b">]>' % (b"a" * 20_000) + entity % b"a" + b"<!-- -->",
        "unused entity": DTD % b"" + plain,
        "attribute list": b'<!DOCTYPE x [<!ATTLIST x y CDATA "z">]>' + plain,
        "empty doctype": b"<!DOCTYPE x>" + plain,
        "undefined entity": entity % b"undefined",
        "utf-16 doctype": ('<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE x>' + plain.decode()).encode("utf-16"),
        "utf-7": b'<?xml version="1.0" encoding="UTF-7"?>' + plain.replace(b"<", b"+ADw-"),
        "unknown encoding": b'<?xml version="1.0" encoding="no-such"?>' + plain,
        "100,000 deep": b"<%b>" % name + b"<a>" * 100_000 + good + b"</a>" * 100_000 + b"</%b>" % name,
        "300,000 elements": b"<%b>%b" % (name, good) + b"<a/>" * 300_000 + b"</%b>" % name,
        "another root": b"<Other>" + good + b"</Other>",
        "two roots": plain + plain,
        "cut": plain[:-3],
        "no document": b"\x00\xff" * 50,
        "not closed": b"<" * 500,
    }


@pytest.mark.parametrize("attack", attacks("x", b""))
@pytest.mark.parametrize("root", DOCUMENTS)
def test_documents_that_are_made_to_hurt(cluster: BlockingCluster, root: str, attack: str, count: Count) -> None:
    endpoint = cluster.endpoint
    method, target = DOCUMENTS[root]
    good = GOOD[root]
    if root == "CompleteMultipartUpload":
        target = upload(endpoint)
        good = part_of(endpoint, target)
    elif root == "CreateBucketConfiguration":
        target = f"/new-{os.urandom(5).hex()}"
    raw = sign(endpoint, method, target, attacks(root, good)[attack])
    before, used_s = rss_bytes(cluster), cpu_s(cluster)
    answer = exchange(endpoint, raw)
    took_s = cpu_s(cluster) - used_s
    assert (answer.status, answer.code) == (400, "MalformedXML"), answer
    assert took_s < CPU_S_MAX
    assert rss_bytes(cluster) - before < GROWTH_BYTES_MAX
    assert b"root:" not in answer.body
    assert call(endpoint, "GET", "/bucket/canary").body == b"alive"
    if root == "CreateBucketConfiguration":
        assert call(endpoint, "HEAD", target).status == 404
    count("S3 documents", attacks_refused=1)


def test_good_documents(cluster: BlockingCluster) -> None:
    """Namespaces, attributes, comments, other encodings and XInclude's elements are no attack: they have no effect."""
    endpoint = cluster.endpoint
    for n, text in enumerate(
        (
            "<Delete><Object><Key>{}</Key></Object></Delete>",
            '<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/" a="b"><!-- c --><Object><Key>{}</Key></Object></Delete>',
            '<Delete xmlns:xi="http://www.w3.org/2001/XInclude"><Object><Key>{}</Key>'
            '<xi:include href="/etc/passwd" parse="text"/></Object></Delete>',
            '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n<Delete><Object><Key>&#x{:x};</Key></Object></Delete>',
        )
    ):
        key = chr(ord("a") + n)
        assert call(endpoint, "PUT", f"/bucket/{key}", b"x").status == 200
        answer = call(endpoint, "POST", "/bucket?delete", text.format(ord(key) if "{:x}" in text else key).encode())
        assert (answer.status, answer.code) == (200, ""), answer
        assert call(endpoint, "HEAD", f"/bucket/{key}").status == 404
        assert b"root:" not in answer.body


def test_documents_beyond_the_limit_are_not_read(cluster: BlockingCluster) -> None:
    """By the length that is said, and by the bytes that come."""
    endpoint = cluster.endpoint
    huge = b"<Delete>" + b" " * (5 * 2**20) + b"</Delete>"
    for method, target in (("POST", "/bucket?delete"), ("POST", upload(endpoint)), ("PUT", "/new-bucket")):
        raw = sign(endpoint, method, target, huge)
        assert exchange(endpoint, raw).code == "MalformedXML"
        chunked = raw.having("Content-Length").having("Transfer-Encoding", "chunked")
        framed = b"%x\r\n%b\r\n0\r\n\r\n" % (len(huge), huge)
        assert exchange(endpoint, replace(chunked, body=framed)).code in ("MalformedXML", "MissingContentLength")
    assert call(endpoint, "HEAD", "/new-bucket").status == 404


def test_packed_bodies_are_kept_as_they_are(cluster: BlockingCluster) -> None:
    """Content-Encoding is a label of the object: what is 40 MB unpacked is stored as its 40 KB, and read so."""
    endpoint, bomb = cluster.endpoint, gzip.compress(b"\0" * 40_000_000)
    before = rss_bytes(cluster)
    for encoding in ("gzip", "gzip, gzip", "x-gzip", "deflate", "br", "zstd"):
        assert call(endpoint, "PUT", "/bucket/bomb", bomb, {"Content-Encoding": encoding}).status == 200
        answer = call(endpoint, "GET", "/bucket/bomb")
        assert answer.body == bomb and answer.fields["content-encoding"] == encoding
    packed = gzip.compress(b"<Delete><Object><Key>canary</Key></Object></Delete>")
    answer = call(endpoint, "POST", "/bucket?delete", packed, {"Content-Encoding": "gzip"})
    assert (answer.status, answer.code) == (400, "MalformedXML")
    assert rss_bytes(cluster) - before < GROWTH_BYTES_MAX


@pytest.mark.parametrize("coding", ["gzip, chunked", "gzip,chunked", "deflate, chunked", "gzip", "x-gzip, chunked", "identity"])
def test_packed_transfers_are_refused(cluster: BlockingCluster, coding: str) -> None:
    """Whatever is asked for, and signed or not."""
    endpoint = cluster.endpoint
    packed = gzip.compress(b"hello")
    framed = b"%x\r\n%b\r\n0\r\n\r\n" % (len(packed), packed)
    for method, target in (("PUT", "/bucket/packed"), ("POST", "/bucket?delete"), ("PUT", "/packed")):
        raw = sign(endpoint, method, target, b"hello").having("Content-Length").having("Transfer-Encoding", coding)
        for body in (framed, packed):
            answer = exchange(endpoint, replace(raw, body=body))
            assert answer.status in (400, 501) and (answer.status == 400 or answer.code == "NotImplemented"), answer
            if coding.endswith("chunked"):
                assert answer.status == 501
    assert call(endpoint, "HEAD", "/bucket/packed").status == call(endpoint, "HEAD", "/packed").status == 404


def _ended(endpoint: str, data: bytes) -> Answer:
    """The answer to a request whose connection then ends on the client's side."""
    with Wire(endpoint) as wire:
        wire.send(data)
        wire.end()
        return wire.answer()


@pytest.mark.parametrize("mode", [SIGNED_CHUNKS, SIGNED_TRAILER, UNSIGNED_TRAILER])
def test_a_chunked_body_that_ends_too_soon(cluster: BlockingCluster, mode: str, count: Count) -> None:
    """At each byte: as a request whose length is that of what came, and as one whose connection ends."""
    endpoint, payload, key = cluster.endpoint, b"small body", f"short-{mode.lower()}"
    headers = {"x-amz-decoded-content-length": str(len(payload)), "content-encoding": "aws-chunked"}
    if mode.endswith("-TRAILER"):
        headers["x-amz-trailer"] = CRC_TRAILER
    raw = sign(endpoint, "PUT", f"/bucket/{key}", payload, headers, payload=mode)
    body = b"".join(encoded(raw, mode, [payload]))
    whole, used_s, started = raw.carrying(body).wire(), cpu_s(cluster), time.monotonic()
    for at in set(range(len(body))) - {len(body) - 2}:  # S3 does not miss the last CRLF
        answer = exchange(endpoint, raw.carrying(body[:at]))
        assert (answer.status, answer.code) == (400, "IncompleteBody"), (at, answer)
        if at % 4 == 0:
            answer = _ended(endpoint, whole[: len(whole) - len(body) + at])
            assert answer.status in (0, 400) and answer.code in ("", "IncompleteBody"), (at, answer)
        count("S3 bodies cut short", refused=2 if at % 4 == 0 else 1)
    assert cpu_s(cluster) - used_s < max(2.0, 0.02 * len(body)), "no busy loop"
    assert time.monotonic() - started < 30
    assert call(endpoint, "HEAD", f"/bucket/{key}").status == 404
    assert key.encode() not in call(endpoint, "GET", "/bucket?list-type=2").body
    assert exchange(endpoint, raw.carrying(body)).status == 200


def test_a_body_that_never_comes_is_given_up(cluster: BlockingCluster) -> None:
    """The client stops in the middle and keeps the connection open: within the client's timeout it is told so, or cut off."""
    endpoint, payload = cluster.endpoint, b"small body"
    headers = {"x-amz-decoded-content-length": str(len(payload)), "content-encoding": "aws-chunked"}
    raw = sign(endpoint, "PUT", "/bucket/stalled", payload, headers, payload=SIGNED_CHUNKS)
    body = b"".join(encoded(raw, SIGNED_CHUNKS, [payload]))
    whole, used_s, started = raw.carrying(body).wire(), cpu_s(cluster), time.monotonic()
    wires = [Wire(endpoint) for _ in range(6)]
    for wire, left in zip(wires, (1, 2, 5, 40, len(body) - 1, len(body)), strict=True):
        wire.send(whole[:-left])
    for wire in wires:
        with wire:
            answer = wire.answer()
            assert answer.status in (0, 400, 408) and answer.code in ("", "RequestTimeout", "IncompleteBody"), answer
    assert time.monotonic() - started < 3 * CLIENT_TIMEOUT_S + 2
    assert cpu_s(cluster) - used_s < 1.0
    assert call(endpoint, "HEAD", "/bucket/stalled").status == 404
