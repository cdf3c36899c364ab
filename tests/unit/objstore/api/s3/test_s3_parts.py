"""The parts of the S3 API that need no store: names, documents, errors."""

import pytest

from objstore.api.s3.address import bucket_of_host, check_bucket_name
from objstore.api.s3.deletes import _read
from objstore.api.s3.errors import CODES, S3Error, bad_md5, s3_error, under_conditions
from objstore.api.s3.headers import kept_headers, user_metadata
from objstore.api.s3.objects import copy_source, write_conditions
from objstore.api.s3.probes import BUCKET_ERRORS, OBJECT_ERRORS
from objstore.api.s3.xml import document, escape, leaf, parse
from objstore.api.swift.errors import Refusal
from objstore.model.conditions import NO_CONDITIONS, Conditions
from objstore.model.errors import (
    Conflict,
    ManifestInvalid,
    NotModified,
    PartMissing,
    PartTooSmall,
    PreconditionFailed,
    RangeNotSatisfiable,
    StoreError,
    WrongChecksum,
)
from objstore.model.names import ObjectName


def kinds_of(kind: type[StoreError]) -> set[type[StoreError]]:
    found = set(kind.__subclasses__())
    return found.union(*map(kinds_of, found)) if found else found


def test_every_failure_of_the_store_has_a_code() -> None:
    made = {
        NotModified: NotModified("e", 1),
        RangeNotSatisfiable: RangeNotSatisfiable(1, "e", 1),
        ManifestInvalid: ManifestInvalid([("a", "missing")]),
        PartMissing: PartMissing(1),
        PartTooSmall: PartTooSmall(1, 2, "e"),
        WrongChecksum: WrongChecksum("crc32", "sha1"),
    }
    for kind in kinds_of(StoreError) - {S3Error, Refusal}:
        if not kind.__module__.startswith("objstore.model"):
            continue
        error = s3_error(made.get(kind) or kind())
        assert CODES[error.code][0] == error.status


def test_every_code_of_a_probe_is_known() -> None:
    assert set(BUCKET_ERRORS.values()) | set(OBJECT_ERRORS.values()) <= CODES.keys()


@pytest.mark.parametrize("name", ["abc", "a-b.c", "0xy", "a" * 63])
def test_good_bucket_names(name: str) -> None:
    check_bucket_name(name)


@pytest.mark.parametrize("name", ["ab", "a" * 64, "Abc", "a_b", "-ab", "ab-", "a..b", "10.1.2.3", "info", "metrics", "ä-b", "a/b"])
def test_bad_bucket_names(name: str) -> None:
    with pytest.raises(S3Error) as caught:
        check_bucket_name(name)
    assert caught.value.code == "InvalidBucketName"


@pytest.mark.parametrize(
    ("host", "bucket"),
    [
        ("photos.s3.example.org", "photos"),
        ("photos.s3.example.org:8080", "photos"),
        ("PHOTOS.S3.example.org", "photos"),
        ("s3.example.org", ""),
        ("photos.s3.example.org.", "photos"),
        ("photos.evil.org", ""),
        ("photos.s3.example.org.evil.org", ""),
        ("photoss3.example.org", ""),
        ("127.0.0.1:8080", ""),
    ],
)
def test_buckets_in_hosts(host: str, bucket: str) -> None:
    assert bucket_of_host(host, ("s3.example.org",)) == bucket


@pytest.mark.parametrize(
    "host", ["localhost", "LocalHost:80", "127.0.0.1", "[::1]:8080", "[::1]", "a_b.c", "a.", "a" * 63 + ".b:65535"]
)
def test_hosts_that_are_no_buckets(host: str) -> None:
    assert bucket_of_host(host, ("s3.example.org",)) == "" == bucket_of_host(host, ())


@pytest.mark.parametrize(
    "host",
    ["", ":", ":80", ".", "a..b", ".a", "a b", "a,b", "a/b", "a@b", "u:p@b", "a?b", "a%41", "ä", "a:", "a:x", "a:-1", "a:+1",
     "a:65536", "a:80:80",
     "a:\u0661", "[::1", "::1", "[::1]x", "[::1]:", "[127.0.0.1]", "[]", "a" * 64, "a." * 127 + "a", "a..", "a\t",
     "a\n"],
)  # fmt: skip
def test_host_fields_that_are_none(host: str) -> None:
    with pytest.raises(S3Error) as caught:
        bucket_of_host(host, ("s3.example.org",))
    assert (caught.value.code, caught.value.status) == ("InvalidRequest", 400)


def test_a_name_below_the_domain_that_is_none() -> None:
    with pytest.raises(S3Error):
        bucket_of_host("a..b.s3.example.org", ("s3.example.org",))


def test_documents_survive_what_they_hold() -> None:
    text = "a<b>&\"c' ä漢"
    assert parse(document("Delete", [leaf("Key", text)]), "Delete").findtext("Key", "") == text
    assert escape("\x01\r") == "&#x1;&#xd;"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<Delete>",
        b"<Other/>",
        b'<!DOCTYPE x [<!ENTITY a "b">]><Delete><Object><Key>&a;</Key></Object></Delete>',
        b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><Delete/>',
        b"<Delete></Delete>",
        b"<Delete><Object></Object></Delete>",
        b"<Delete>" + b"<Object><Key>a</Key></Object>" * 1001 + b"</Delete>",
        b"<Delete><Object><Key>a</Key></Object>" + b"<a/>" * 20_000 + b"</Delete>",
    ],
)
def test_documents_that_are_refused(body: bytes) -> None:
    with pytest.raises(S3Error) as caught:
        _read(body)
    assert caught.value.code == "MalformedXML"


def test_the_framing_of_a_signed_body_is_no_encoding_of_the_object() -> None:
    assert kept_headers({"content-encoding": "aws-chunked"}) == {}
    assert kept_headers({"content-encoding": "gzip,aws-chunked"}) == {"content-encoding": "gzip"}
    assert kept_headers({"content-encoding": "a, aws-chunked, b"}) == {"content-encoding": "a, b"}
    assert kept_headers({"content-encoding": "aws-chunked"}, framed=False) == {"content-encoding": "aws-chunked"}


def test_headers_of_the_other_api_have_no_effect() -> None:
    headers = {"x-object-manifest": "a/b", "x-delete-at": "9999999999", "x-object-meta-a": "b", "x-copy-from": "/a/b"}
    assert (kept_headers(headers), user_metadata(headers)) == ({}, {})


def test_too_much_metadata() -> None:
    with pytest.raises(S3Error) as caught:
        user_metadata({f"x-amz-meta-{n}": "v" * 200 for n in range(11)})
    assert caught.value.code == "MetadataTooLarge"


@pytest.mark.parametrize("text", ["/bucket/a%20b%2Fc", "bucket/a%20b/c", "bucket/a%20b/c?versionId=null"])
def test_copy_sources(text: str) -> None:
    assert copy_source(text, "AUTH_x") == ObjectName("AUTH_x", "bucket", "a b/c")


@pytest.mark.parametrize("text", ["", "/", "bucket", "bucket/", "/bucket/%00", "bucket/%ff"])
def test_copy_sources_that_are_none(text: str) -> None:
    with pytest.raises(S3Error) as caught:
        copy_source(text, "AUTH_x")
    assert caught.value.code == "InvalidArgument"


def test_conditions_of_writes_that_s3_does_not_know() -> None:
    assert write_conditions({"if-none-match": "*"}).if_none_match == {"*"}
    with pytest.raises(S3Error) as caught:
        write_conditions({"if-none-match": '"a"'})
    assert caught.value.code == "NotImplemented"


MATCH = Conditions(if_match=frozenset({"tag"}))


@pytest.mark.parametrize(
    ("conditions", "failure", "missing", "code"),
    [
        (MATCH, Conflict(), True, "ConditionalRequestConflict"),
        (MATCH, Conflict(), False, "ConditionalRequestConflict"),
        (NO_CONDITIONS, Conflict(), True, "OperationAborted"),
        (MATCH, PreconditionFailed(), True, "NoSuchKey"),
        (MATCH, PreconditionFailed(), False, "PreconditionFailed"),
        (MATCH, PreconditionFailed(etag="other"), True, "PreconditionFailed"),
        (Conditions(if_none_match=frozenset("*")), PreconditionFailed(), True, "PreconditionFailed"),
    ],
)
def test_writes_under_conditions(conditions: Conditions, failure: StoreError, missing: bool, code: str) -> None:
    with pytest.raises(StoreError) as caught, under_conditions(conditions, missing=missing):
        raise failure
    error = s3_error(caught.value)
    assert (error.code, error.status) == (code, CODES[code][0])


def test_what_came_instead_of_a_digest() -> None:
    error = bad_md5("0" * 32, "d41d8cd98f00b204e9800998ecf8427e")
    assert error.details == {"ExpectedDigest": "0" * 32, "CalculatedDigest": "1B2M2Y8AsgTpgAmY7PhCfg=="}
    assert bad_md5("x", "").details == {"ExpectedDigest": "x"}
