"""The canonical request of Signature Version 4, by the rules of S3 ("Authenticating Requests", API reference).

    method \\n path \\n query \\n header:value \\n ... \\n \\n signed headers \\n payload

S3 differs from other services: the path is encoded once, and `//`, `.` and `..` in it stay. What the client percent-encoded, in
whatever way, is decoded and encoded anew: every byte but the unreserved characters (RFC 3986) and, in the path, the slash
becomes %XX.
"""

import re
from collections.abc import Sequence
from urllib.parse import quote, unquote_to_bytes

from objstore.auth.s3facts import S3Facts
from objstore.model.octets import bytes_of

SIGNATURE_FIELD = b"X-Amz-Signature"
_PLAIN_PATH = re.compile(r"[A-Za-z0-9/_.~-]+")
"""Has one form only."""


def canonical_path(path: str) -> str:
    """
    >>> canonical_path("/b//a%2fb/../c d+%c3%a4~%7E!")
    '/b//a/b/../c%20d%2B%C3%A4~~%21'
    """
    return path if _PLAIN_PATH.fullmatch(path) else quote(unquote_to_bytes(path), safe="/~") or "/"


def canonical_query(facts: S3Facts) -> str:
    """All fields but the signature itself, encoded anew, sorted by name and then value in their encoded forms."""
    if not facts.query:
        return ""
    encoded = ((quote(name, safe="~"), quote(value, safe="~")) for name, value in facts.fields if name != SIGNATURE_FIELD)
    return "&".join(f"{name}={value}" for name, value in sorted(encoded))


def canonical_headers(facts: S3Facts, names: Sequence[str]) -> bytes:
    """One line per name: the value with white space around it removed and inside it reduced to one space; "" for a header that is
    not there.
    """
    values = ((name, b" ".join(bytes_of(facts.headers.get(name, "")).split())) for name in names)
    return b"".join(b"%b:%b\n" % (name.encode(), value) for name, value in values)


def canonical_request(facts: S3Facts, names: Sequence[str], payload: str) -> bytes:
    """The canonical request for the signed headers `names` (lower case, sorted) and the value that stands for the body."""
    head = f"{facts.method}\n{canonical_path(facts.path)}\n{canonical_query(facts)}\n"
    return b"%b%b\n%b\n%b" % (head.encode(), canonical_headers(facts, names), ";".join(names).encode(), payload.encode())
