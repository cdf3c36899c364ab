"""Which form of a listing or report a client wants: `format=` first, then Accept (RFC 9110 section 12.5.1)."""

from typing import NamedTuple

from objstore.api.request import Request
from objstore.api.swift.errors import Refusal

ACCEPT_ITEMS_MAX = 100
_FORMATS = {"plain": "text/plain", "json": "application/json", "xml": "application/xml"}
_OFFERED = ("text/plain", "application/json", "application/xml", "text/xml")


class Chosen(NamedTuple):
    """A media type, and whether the Accept header had a say in it (the response then varies by it)."""

    media_type: str
    by_accept: bool

    @property
    def content_type(self) -> str:
        return f"{self.media_type}; charset=utf-8"


def choose(request: Request) -> Chosen:
    """The form to answer in. Raises Refusal 406 when the client takes none of ours."""
    wanted = request.query.get("format", "")
    if wanted:
        return Chosen(_FORMATS.get(wanted.lower(), "text/plain"), False)
    accept = request.headers.get("accept", "")
    media_type = best_match(accept) if accept else "text/plain"
    if media_type is None:
        raise Refusal(406)
    return Chosen(media_type, True)


def best_match(accept: str) -> str | None:
    """The offered media type that `accept` likes best; at equal quality the one it names first.

    >>> best_match("text/html, application/json;q=0.5, */*;q=0.1")
    'application/json'
    """
    ranges: list[tuple[float, str]] = []
    for item in accept.split(",", ACCEPT_ITEMS_MAX)[:ACCEPT_ITEMS_MAX]:
        media_range, *parameters = (part.strip().lower() for part in item.split(";"))
        quality = _quality(parameters)
        if media_range and quality > 0:
            ranges.append((quality, media_range))
    ranges.sort(key=lambda pair: -pair[0])
    for _, media_range in ranges:
        for offered in _OFFERED:
            if media_range in (offered, "*/*", offered.partition("/")[0] + "/*"):
                return offered
    return None


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value) if len(value) < 8 else 0.0
            except ValueError:
                return 0.0
    return 1.0
