"""What a signature is about: the facts of one request, as the client sent them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import unquote_to_bytes

from objstore.auth.s3refusal import RefusalCode, S3Refused, invalid_argument

QUERY_FIELDS_MAX = 100
AMZ_PREFIX = "x-amz-"


@dataclass(frozen=True)
class S3Facts:
    """One request.

    `path` and `query` are the two halves of the target as sent: ASCII, percent-encoding untouched, without the "?". `headers` have
    names in lower case and values as text in the form of `model.octets`, those of a repeated header joined by commas; the bytes
    around a value are stripped. `bucket_in_host` is the bucket of a virtual-host style request, "" otherwise.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    bucket_in_host: str = ""

    @cached_property
    def fields(self) -> tuple[tuple[bytes, bytes], ...]:
        """The query's fields, decoded, in the order sent: `+` is a space, a field without `=` has the value "", empty fields do
        not count. Raises S3Refused when there are too many.
        """
        parts = self.query.split("&", QUERY_FIELDS_MAX) if self.query else []
        if len(parts) > QUERY_FIELDS_MAX:
            raise S3Refused(RefusalCode.INVALID_REQUEST, "The query has too many parameters.")
        pairs = (part.replace("+", " ").partition("=") for part in parts if part)
        return tuple((unquote_to_bytes(name), unquote_to_bytes(value)) for name, _, value in pairs)

    def field(self, name: str) -> str | None:
        """The value of a field that may be there once; None when it is not there.

        Raises S3Refused when it is there twice: what is signed and what is obeyed would not be the same.
        """
        values = self._by_name.get(name.encode("ascii"))
        if values is None:
            return None
        if len(values) > 1:
            raise invalid_argument(f"{name} must be given only once", name, "")
        return values[0].decode("utf-8", "backslashreplace")

    @cached_property
    def _by_name(self) -> dict[bytes, list[bytes]]:
        found: dict[bytes, list[bytes]] = {}
        for name, value in self.fields:
            found.setdefault(name, []).append(value)
        return found

    @property
    def amz_headers(self) -> list[str]:
        """The names of its headers that a signature must cover."""
        return sorted(name for name in self.headers if name.startswith(AMZ_PREFIX))
