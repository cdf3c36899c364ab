"""If-* headers (RFC 9110 section 13.1) as Conditions. Tags are split by hand: no pattern that could be made to backtrack."""

from collections.abc import Mapping

from objstore.api.dates import parse_http_date
from objstore.model.conditions import NO_CONDITIONS, Conditions

_NAMES = frozenset({"if-match", "if-none-match", "if-modified-since", "if-unmodified-since"})


def parse_tags(text: str) -> frozenset[str]:
    """The entity tags of a list, without quotes. Bare digests count as tags, as in Swift; `not-"x"` is another tag than `"x"`.

    >>> sorted(parse_tags('"a", W/"b", c, *'))
    ['*', 'a', 'b', 'c']
    """
    tags = set()
    for item in text.split(","):
        tag = item.strip()
        if tag.startswith(("W/", "w/")):
            tag = tag[2:]
        if len(tag) >= 2 and tag[0] == tag[-1] == '"':
            tag = tag[1:-1]
        tags.add(tag)
    return frozenset(tags)


def parse_conditions(headers: Mapping[str, str]) -> Conditions:
    """The conditions of a request. A date that is none is ignored."""
    if _NAMES.isdisjoint(headers):
        return NO_CONDITIONS
    match, none_match = headers.get("if-match"), headers.get("if-none-match")
    since, unmodified = headers.get("if-modified-since"), headers.get("if-unmodified-since")
    return Conditions(
        None if match is None else parse_tags(match),
        None if none_match is None else parse_tags(none_match),
        None if since is None else parse_http_date(since),
        None if unmodified is None else parse_http_date(unmodified),
    )
