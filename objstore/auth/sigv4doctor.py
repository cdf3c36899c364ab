"""Why a signature does not match: for who writes a client, never for deciding.

With the client's own canonical request, the first difference. Without it, the mistakes that clients are known to make are tried in
turn: the one that gives the client's signature is the answer, with the first difference between what was signed and what came.
Who has no secret can make no such signature, so the answer tells a stranger nothing.
"""

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, replace
from urllib.parse import quote

from objstore.auth.s3facts import S3Facts
from objstore.auth.sigv4 import SigV4Claim, claim_text
from objstore.auth.sigv4canonical import canonical_path
from objstore.auth.sigv4keys import Scope, derive_key, same, sign, string_to_sign

_HEAD = ("method", "path", "query")
_OTHER_REGIONS = ("us-east-1", "", "auto", "us-west-2", "eu-central-1")


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What we signed, and in `findings` plain lines about why it is not what the client signed. Holds no secret."""

    canonical_request: str
    string_to_sign: str
    findings: tuple[str, ...]


def diagnose(claim: SigV4Claim, facts: S3Facts, secret: str = "", theirs: str = "") -> Diagnosis:
    """About a claim that was refused. `theirs` is the client's canonical request, "" when it is not known; `secret` that of the
    access key, "" when it may not be used.
    """
    request, text = claim_text(claim, facts)
    ours = _shown(request)
    findings = [f"signed header {name} is not in the request" for name in claim.signed_headers if name not in facts.headers]
    if theirs:
        findings.append(first_difference(ours, theirs.replace("\r\n", "\n")))
    elif secret:
        for what, key, theirs_signed, tried in _guesses(claim, facts, secret):
            if same(sign(key, tried), claim.signature):
                findings.append(what if theirs_signed == request else f"{what}: {first_difference(ours, _shown(theirs_signed))}")
    if not findings:
        findings.append("no known mistake explains it: another secret, or a header or the target was changed on the way")
    return Diagnosis(ours, text, tuple(findings))


def _shown(request: bytes) -> str:
    return request.decode("utf-8", "backslashreplace")


def first_difference(ours: str, theirs: str) -> str:
    """One line that names the first part in which two canonical requests differ.

    >>> first_difference("GET\\n/a%20b\\n\\nhost:h\\n\\nhost\\nX", "GET\\n/a%2520b\\n\\nhost:h\\n\\nhost\\nX")
    "path: server has '/a%20b', client has '/a%2520b'"
    """
    server, client = ours.split("\n"), theirs.split("\n")
    for at in range(max(len(server), len(client))):
        left, right = (lines[at] if at < len(lines) else None for lines in (server, client))
        if left != right:
            return f"{_part(server, at)}: server has {left!r}, client has {right!r}"
    return "the canonical requests are the same: another secret, scope or time was signed with"


def _part(lines: list[str], at: int) -> str:
    if at < len(_HEAD):
        return _HEAD[at]
    last = len(lines) - 1
    names = {last: "payload", last - 1: "signed headers", last - 2: "end of headers"}
    return names.get(at) or f"header {lines[at].partition(':')[0]}" if at <= last else "end"


def _guesses(claim: SigV4Claim, facts: S3Facts, secret: str) -> Iterator[tuple[str, bytes, bytes, str]]:
    """(what the client may have done, the key it then had, the canonical request and the string that it then signed)."""
    key = derive_key(secret, claim.scope)
    ours, text = claim_text(claim, facts)
    for what, other in _other_requests(claim, facts):
        yield what, key, *claim_text(claim, other)
    for what, old, new in _other_texts(claim, facts):
        changed = ours.replace(old, new, 1)
        yield what, key, changed, string_to_sign(claim.timestamp, claim.scope, changed)
    for spaced in (secret + "\n", secret.strip(), secret + " "):
        yield "white space around the secret", derive_key(spaced, claim.scope), ours, text
    for region in _OTHER_REGIONS:
        scope = Scope(claim.scope.date, region)
        if scope != claim.scope:
            yield f"signed for region {region!r}", derive_key(secret, scope), *claim_text(replace(claim, scope=scope), facts)


def _other_requests(claim: SigV4Claim, facts: S3Facts) -> Iterator[tuple[str, S3Facts]]:
    """Requests that the client may have thought it sends."""
    host = facts.headers.get("host", "")
    name, _, port = host.partition(":")
    for other in {name, f"{name}:80", f"{name}:443"} - {host}:
        yield f"Host was {other!r} when it was signed", replace(facts, headers={**facts.headers, "host": other})
    if port:
        yield "Host was signed as localhost", replace(facts, headers={**facts.headers, "host": f"localhost:{port}"})
    normal = posixpath.normpath("/" + facts.path.lstrip("/")) + ("/" if facts.path.endswith("/") and facts.path.strip("/") else "")
    if normal != facts.path:
        yield "the path was normalised (`//`, `.`, `..`): S3 leaves it as it is", replace(facts, path=normal)
    for method in {"GET", "HEAD", "PUT", "POST", "DELETE"} - {facts.method}:
        yield f"signed for the method {method}", replace(facts, method=method)
    if facts.query:
        yield "the query was not signed", replace(facts, query="")
        yield "the `+` in the query was signed as %2B", replace(facts, query=facts.query.replace("+", "%2B"))
    for header in claim.signed_headers:
        if header != "host":
            yield f"header {header} had no value when it was signed", replace(facts, headers={**facts.headers, header: ""})


def _other_texts(claim: SigV4Claim, facts: S3Facts) -> Iterator[tuple[str, bytes, bytes]]:
    """(what, bytes of our canonical request, bytes that the client may have had in their place)."""
    path = b"\n%b\n" % canonical_path(facts.path).encode()
    yield "the path was encoded twice", path, b"\n%b\n" % quote(canonical_path(facts.path), safe="/~").encode()
    yield "the path was signed as sent, not in the canonical encoding", path, b"\n%b\n" % facts.path.encode()
    for other in ("UNSIGNED-PAYLOAD", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"):
        yield f"the payload was signed as {other}", b"\n" + claim.payload.text.encode(), b"\n" + other.encode()
