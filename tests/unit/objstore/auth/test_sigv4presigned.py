"""Presigned URLs: good for what they say, until they expire."""

from dataclasses import replace
from urllib.parse import quote

import pytest

from objstore.auth.s3payload import PayloadMode
from objstore.auth.s3refusal import RefusalCode
from objstore.auth.sigv4presigned import EXPIRES_S_MAX, FIELDS
from tests.unit.objstore.auth.s3signing import Sent, claim_of, prove, refusal, sign

URL = "http://localhost:8080/bucket/key"


def with_field(sent: Sent, name: str, value: str | None) -> Sent:
    """With another value of a query field (encoded); without it for None."""
    path, _, query = sent.target.partition("?")
    fields = [one for one in query.split("&") if one.partition("=")[0] != name]
    return replace(sent, target=f"{path}?" + "&".join(fields if value is None else [*fields, f"{name}={value}"]))


def test_it_expires() -> None:
    sent = sign("GET", URL, expires_s=60)
    assert claim_of(sent).expires_s == 60
    for off in (-900, 0, 60):
        prove(sent, sent.now + off)
    refused = refusal(sent, sent.now + 60.5)
    assert (refused.code, refused.status, refused.message) == (RefusalCode.ACCESS_DENIED, 403, "Request has expired")
    assert refused.details["X-Amz-Expires"] == "60" and refused.details["Expires"] < refused.details["ServerTime"] + "~"
    refused = refusal(sent, sent.now - 901)
    assert (refused.code, refused.message) == (RefusalCode.ACCESS_DENIED, "Request is not valid yet")


def test_a_week_is_the_most() -> None:
    sent = sign("GET", URL, expires_s=EXPIRES_S_MAX)
    prove(sent, sent.now + EXPIRES_S_MAX)


@pytest.mark.parametrize("expires", ["0", "-1", "604801", "soon", "1.5", "", "9" * 30, "%D9%A1", "+5", "0x10", "-"])
def test_expiries_that_are_none(expires: str) -> None:
    refused = refusal(with_field(sign("GET", URL, expires_s=60), "X-Amz-Expires", expires))
    assert (refused.code, refused.status) == (RefusalCode.AUTHORIZATION_QUERY_PARAMETERS_ERROR, 400)


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_is_needed_once(name: str) -> None:
    sent = sign("GET", URL, expires_s=60)
    refused = refusal(with_field(sent, name, None))
    assert (refused.code, refused.status) == (RefusalCode.AUTHORIZATION_QUERY_PARAMETERS_ERROR, 400)
    assert refusal(replace(sent, target=f"{sent.target}&{name}=1")).code is RefusalCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("X-Amz-Algorithm", "AWS4-HMAC-SHA1", "X-Amz-Algorithm only supports"),
        ("X-Amz-Algorithm", "AWS4-ECDSA-P256-SHA256", "X-Amz-Algorithm only supports"),
        ("X-Amz-Credential", "a/20130524/us-east-1/s3", "the Credential is mal-formed"),
        ("X-Amz-Credential", "a/20130524/us-east-1/s3/aws4_request", 'Invalid credential date "20130524"'),
        ("X-Amz-Credential", "a/20130524/us-east-1/ec2/aws4_request", 'incorrect service "ec2"'),
        ("X-Amz-Credential", "a/20130524/us-west-1/s3/aws4_request", "the region 'us-west-1' is wrong"),
        ("X-Amz-Date", "20130524", "X-Amz-Date must be in the ISO8601 Long Format"),
    ],
)
def test_malformed_fields(name: str, value: str, message: str) -> None:
    refused = refusal(with_field(sign("GET", URL, expires_s=60), name, quote(value, safe="")))
    assert (refused.code, refused.status) == (RefusalCode.AUTHORIZATION_QUERY_PARAMETERS_ERROR, 400)
    assert message in refused.message


@pytest.mark.parametrize(
    "other",
    [
        {"method": "PUT"},
        {"method": "HEAD"},
        {"target": "/other/key"},
        {"target": "/bucket/other"},
        {"target": "/bucket/key?acl"},
        {"headers": [("Host", "elsewhere")]},
        {"headers": [("Host", "localhost")]},
    ],
)
def test_it_is_good_for_nothing_else(other: dict[str, str]) -> None:
    sent = sign("GET", URL, expires_s=60)
    prove(sent)
    if "target" in other:
        there, _, extra = other["target"].partition("?")
        other = {"target": there + "?" + sent.target.partition("?")[2] + (f"&{extra}" if extra else "")}
    assert refusal(replace(sent, **other)).code is RefusalCode.SIGNATURE_DOES_NOT_MATCH


def test_the_payload_may_be_hashed() -> None:
    digest = "ab" * 32
    assert claim_of(sign("PUT", URL, expires_s=60)).payload.mode is PayloadMode.UNSIGNED
    assert claim_of(with_field(sign("PUT", URL, expires_s=60), "X-Amz-Content-Sha256", digest)).payload.text == digest
    in_header = sign("PUT", URL, [("x-amz-content-sha256", digest)], expires_s=60)
    prove(in_header)
    assert claim_of(in_header).payload.mode is PayloadMode.HASHED
    refused = refusal(with_field(in_header, "X-Amz-Content-Sha256", "cd" * 32))
    assert (refused.code, refused.details["ArgumentValue"]) == (RefusalCode.INVALID_ARGUMENT, digest)


@pytest.mark.parametrize(
    "value",
    [
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
        "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "x",
        "",
    ],
)
def test_it_streams_nothing(value: str) -> None:
    """What is no hash is the hash of no body."""
    for sent in (
        with_field(sign("PUT", URL, expires_s=60), "X-Amz-Content-Sha256", value),
        sign("PUT", URL, [("x-amz-content-sha256", value)], expires_s=60),
    ):
        payload = claim_of(sent).payload
        assert (payload.mode, payload.text, payload.hopeless) == (PayloadMode.HASHED, value, value.startswith("STREAMING-"))
