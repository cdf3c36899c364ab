"""Whose a bucket's name is. Names of buckets are one space for all accounts; containers are in their account's.

A claim is a small object, under the bucket's name, in an account that no user can name. It is changed under conditions alone, so
that of all who claim a name one gets it.
"""

from typing import NamedTuple

CLAIMS_ACCOUNT = ".buckets"
CLAIMS_CONTAINER = "claims"
HOLDER = "bucket-account"
"""The system fact that names the account."""


class Claim(NamedTuple):
    """`account` has the name. `etag` is another one whenever it is claimed, also by the same account; `timestamp` says when."""

    account: str
    etag: str
    timestamp: int


def claim_body(account: str, timestamp: int) -> bytes:
    """What is kept, so that no two claims have the same entity tag."""
    return f"{account} {timestamp}\n".encode()
