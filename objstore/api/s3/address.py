"""Which bucket and key a request is about: path style, and virtual-host style below the configured domains."""

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import unquote_to_bytes

from objstore.api.request import Request
from objstore.api.s3.errors import S3Error

KEY_BYTES_MAX = 1024
RESERVED = frozenset({"v1", "auth", "v3", "info", "healthcheck", "metrics", "console"})
"""First segments of paths that belong to others."""
HOST_CHARS_MAX = 253
"""Of a name in the DNS; a port comes on top."""
HOSTS_MAX = 256
"""So many Host fields are kept as parsed: most requests have the same."""
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*")


@dataclass(frozen=True, slots=True)
class Address:
    """`bucket` "" is the service itself, `key` "" the bucket. `in_host`: the bucket was named by the host."""

    bucket: str
    key: str
    in_host: bool = False


@lru_cache(maxsize=HOSTS_MAX)
def bucket_of_host(host: str, domains: tuple[str, ...]) -> str:
    """The bucket in a Host field, "" when it is not below one of `domains` (lower case, without a leading dot). The port does not
    count, nor does the dot that ends an absolute name.

    Raises S3Error InvalidBucketName for a name below a domain that no bucket can have, InvalidRequest for any other that is neither
    a name nor an address (RFC 9110 section 7.2: such a request is answered with 400).
    """
    name, colon, port = host.rpartition(":")
    if not colon or host.endswith("]"):
        name, port = host, "0"
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65_535):
        raise _bad_host()
    name = name.lower().removesuffix(".")
    for domain in domains:
        if name.endswith("." + domain):
            bucket = name[: -len(domain) - 1]
            check_bucket_name(bucket)
            return bucket
    address = name.startswith("[") and name.endswith("]") and ":" in name and _is_address(name[1:-1])
    if not address and (len(name) > HOST_CHARS_MAX or not _NAME.fullmatch(name)):
        raise _bad_host()
    return ""


def names_bucket(host: str, domains: tuple[str, ...]) -> bool:
    """Whether a Host field is below one of `domains`, good or not."""
    if not domains:
        return False
    name = host.partition(":")[0].lower().removesuffix(".")
    return any(name.endswith("." + domain) for domain in domains)


def _bad_host() -> S3Error:
    return S3Error("InvalidRequest", "The Host header is not a host name.")


def address_of(request: Request, domains: tuple[str, ...]) -> Address:
    """Raises S3Error InvalidRequest for a bad Host field, InvalidURI for a path that is no UTF-8, KeyTooLongError."""
    host = request.headers.get("host")  # HTTP/1.0 may go without
    bucket = "" if host is None else bucket_of_host(host, domains)
    path = request.path[1:]
    if bucket:
        return Address(bucket, _key(path), True)
    first, _, rest = path.partition("/")
    return Address(_decoded(first), _key(rest))


def check_bucket_name(name: str) -> None:
    """The rules for new buckets (user guide, "General purpose bucket naming rules"). Raises S3Error InvalidBucketName."""
    good = (
        3 <= len(name) <= 63
        and _LETTERS.issuperset(name.replace("-", "").replace(".", ""))
        and name[0] in _LETTERS
        and name[-1] in _LETTERS
        and ".." not in name
        and name not in RESERVED
        and not _is_address(name)
    )
    if not good:
        raise S3Error("InvalidBucketName", details={"BucketName": name})


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _key(raw: str) -> str:
    key = _decoded(raw)
    if len(key) > KEY_BYTES_MAX // 4 and len(key.encode()) > KEY_BYTES_MAX:
        raise S3Error("KeyTooLongError", details={"Size": str(len(key.encode())), "MaxSizeAllowed": str(KEY_BYTES_MAX)})
    return key


def _decoded(raw: str) -> str:
    if "%" in raw:
        try:
            raw = unquote_to_bytes(raw).decode()
        except UnicodeDecodeError:
            raise S3Error("InvalidURI") from None
    if "\0" in raw:
        raise S3Error("InvalidURI")
    return raw
