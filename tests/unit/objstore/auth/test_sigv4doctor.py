"""Why a signature does not match."""

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from urllib.parse import quote

import pytest

from objstore.auth.sigv4doctor import diagnose, first_difference
from objstore.auth.sigv4keys import Scope, derive_key
from objstore.auth.sigv4keys import sign as hmac_of
from tests.unit.objstore.auth.s3signing import SECRET, Sent, claim_of, sign

URL = "http://localhost:8080/bucket/k%20ey?a=b%2Bc"
HEADERS = [("Content-Type", "text/plain"), ("x-amz-meta-a", "b")]


def header(sent: Sent, name: str, value: str) -> Sent:
    return replace(sent, headers=[(key, value if key == name else old) for key, old in sent.headers])


def resign(sent: Sent, change: Callable[[str], str]) -> Sent:
    """Signed with a canonical request that the client made otherwise."""
    seen = diagnose(claim_of(sent), sent.facts())
    scope = claim_of(sent).scope
    text = seen.string_to_sign.rpartition("\n")[0] + "\n" + _sha256(change(seen.canonical_request))
    value = dict(sent.headers)["Authorization"].rpartition("=")[0] + "=" + hmac_of(derive_key(SECRET, scope), text)
    return header(sent, "Authorization", value)


def _sha256(text: str) -> str:
    return sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (lambda sent: replace(sent, method="DELETE"), "signed for the method GET"),
        (lambda sent: header(sent, "Host", "localhost"), "no known mistake explains it"),
        (lambda sent: header(sent, "Host", "proxy:8080"), "Host was signed as localhost"),
        (
            lambda sent: replace(sent, headers=[one for one in sent.headers if one[0] != "Content-Type"]),
            "signed header content-type is not in",
        ),
        (lambda sent: resign(sent, lambda text: text.replace("k%20ey", "k%2520ey")), "the path was encoded twice"),
        (lambda sent: resign(sent, lambda text: text.replace("\na=b%2Bc\n", "\n\n")), "the query was not signed"),
        (lambda sent: resign(sent, lambda text: text.replace("a:b", "a:")), "header x-amz-meta-a had no value"),
        (lambda sent: resign(sent, lambda text: text.rpartition("\n")[0] + "\nUNSIGNED-PAYLOAD"), "signed as UNSIGNED-PAYLOAD"),
        (lambda sent: resign(sent, lambda text: text.replace(":8080", "")), "Host was 'localhost' when it was signed"),
    ],
)
def test_known_mistakes_are_named(change: Callable[[Sent], Sent], finding: str) -> None:
    sent = change(sign("GET", URL, HEADERS))
    diagnosis = diagnose(claim_of(sent), sent.facts(), SECRET)
    assert finding in " ".join(diagnosis.findings)
    assert SECRET not in str(diagnosis)


def test_a_mistake_comes_with_the_first_difference() -> None:
    sent = resign(sign("GET", URL, HEADERS), lambda text: text.replace("k%20ey", "k%2520ey"))
    (finding,) = diagnose(claim_of(sent), sent.facts(), SECRET).findings
    assert finding.endswith("encoded twice: path: server has '/bucket/k%20ey', client has '/bucket/k%2520ey'")
    late = replace(sign("GET", URL), method="PUT")
    assert "method: server has 'PUT', client has 'GET'" in diagnose(claim_of(late), late.facts(), SECRET).findings[0]


def test_who_has_no_secret_learns_nothing() -> None:
    """Whatever was sent, a signature that is made without the secret has the one answer."""
    for sent in (sign("GET", URL, HEADERS, secret="guess"), replace(sign("GET", URL, HEADERS, secret="guess"), method="PUT")):
        (finding,) = diagnose(claim_of(sent), sent.facts(), SECRET).findings
        assert finding.startswith("no known mistake explains it")


def test_other_mistakes() -> None:
    normalised = replace(sign("GET", "http://h/b/c"), target="/b/x/..//c")
    assert "normalised" in diagnose(claim_of(normalised), normalised.facts(), SECRET).findings[0]
    spaced = sign("GET", URL, secret=SECRET + "\n")
    assert diagnose(claim_of(spaced), spaced.facts(), SECRET).findings == ("white space around the secret",)
    raw = resign(replace(sign("GET", "http://h/b/a!"), target="/b/a!"), lambda text: text.replace(quote("!"), "!"))
    assert "signed as sent" in diagnose(claim_of(raw), raw.facts(), SECRET).findings[0]
    plus = replace(sign("GET", URL), target="/bucket/k%20ey?a=b+c")
    assert "%2B" in diagnose(claim_of(plus), plus.facts(), SECRET).findings[0]
    region = sign("GET", URL)
    claim = claim_of(region)
    elsewhere = replace(claim, signature=_signature_of(region, Scope(claim.scope.date, "auto")))
    assert diagnose(elsewhere, region.facts(), SECRET).findings == ("signed for region 'auto'",)


def _signature_of(sent: Sent, scope: Scope) -> str:
    old = str(claim_of(sent).scope)
    return hmac_of(derive_key(SECRET, scope), diagnose(claim_of(sent), sent.facts()).string_to_sign.replace(old, str(scope)))


@pytest.mark.parametrize(
    ("ours", "theirs", "part"),
    [
        ("GET\n", "PUT\n", "method: server has 'GET', client has 'PUT'"),
        ("/bucket/k%20ey", "/bucket/k ey", "path: "),
        ("a=b%2Bc", "a=b+c", "query: "),
        ("content-type:text/plain", "content-type:text/html", "header content-type: "),
        ("content-type;host", "host;content-type", "signed headers: "),
        ("x-amz-meta-a\ne3b0c442", "x-amz-meta-a\nUNSIGNED", "payload: "),
    ],
)
def test_the_first_difference_from_the_client(ours: str, theirs: str, part: str) -> None:
    sent = sign("GET", URL, HEADERS)
    seen = diagnose(claim_of(sent), sent.facts()).canonical_request
    assert ours in seen
    diagnosis = diagnose(claim_of(sent), sent.facts(), theirs=seen.replace(ours, theirs, 1))
    assert diagnosis.findings[-1].startswith(part)


def test_the_ends_of_the_first_difference() -> None:
    assert first_difference("a\nb", "a\nb").startswith("the canonical requests are the same")
    assert first_difference("a\nb\nc\nd\ne\nf", "a\nb\nc\nd\ne\nf\ng") == "end: server has None, client has 'g'"
    assert first_difference("a\nb\nc\nd\ne\nf", "a\nb\nc\nd\ne") == "payload: server has 'f', client has None"
