"""The documents of S3: written as text, read with a parser that takes no DTD and no entities.

Keys may hold characters that XML 1.0 has no form for; S3 writes them as references all the same, and clients that care ask for
`encoding-type=url`.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Protocol, cast

from defusedxml import ElementTree
from defusedxml.common import DefusedXmlException

from objstore.api.s3.errors import S3Error

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
XSI = "http://www.w3.org/2001/XMLSchema-instance"
TYPE_FIELD = ("Content-Type", "application/xml")

TAGS_MAX = 1000
"""Opening and closing tags of a small document."""

_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
_SPECIAL = re.compile('[&<>"\x00-\x08\x0b-\x1f\ufffe\uffff]')
_NAMED = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}


class Element(Protocol):
    """What is used of a parsed element."""

    tag: str

    def iter(self) -> Iterator["Element"]:
        """The element and all in it."""

    def findall(self, path: str) -> list["Element"]:
        """Children of a name."""

    def findtext(self, path: str, default: str) -> str:
        """The text of the first child of a name."""


def escape(text: str) -> str:
    """Text as it stands in an element or an attribute.

    >>> escape('a&b\\r')
    'a&amp;b&#xd;'
    """
    if not _SPECIAL.search(text):
        return text
    return _SPECIAL.sub(lambda found: _NAMED.get(found[0]) or f"&#x{ord(found[0]):x};", text)


def leaf(name: str, content: str | int | bool) -> str:
    """An element that holds text."""
    if isinstance(content, bool):
        content = "true" if content else "false"
    return f"<{name}>{escape(str(content))}</{name}>"


def group(name: str, parts: Iterable[str]) -> str:
    """An element that holds elements."""
    return f"<{name}>{''.join(parts)}</{name}>"


def owner_of(account: str, name: str = "Owner") -> str:
    """Who owns something, as documents show it."""
    return group(name, (leaf("ID", account), leaf("DisplayName", account)))


def document(name: str, parts: Iterable[str], namespace: str = NAMESPACE) -> bytes:
    """A whole document."""
    opening = f'{name} xmlns="{namespace}"' if namespace else name
    return f"{_HEAD}<{opening}>{''.join(parts)}</{name}>".encode("utf-8", "replace")


def parse(body: bytes, root: str, tags_max: int = TAGS_MAX) -> Element:
    """The root element, which must be called `root`; names of elements lose their namespace. Raises S3Error MalformedXML, also for
    more than `tags_max` tags: an element in memory is many times its bytes. In every encoding that the parser takes, no tag is
    without a byte 0x3C, so counting those before anything is parsed is enough.
    """
    if body.count(b"<") > tags_max:
        raise S3Error("MalformedXML")
    try:
        tree = cast(Element, ElementTree.fromstring(body, forbid_dtd=True))
    except (ElementTree.ParseError, DefusedXmlException, ValueError, LookupError):
        raise S3Error("MalformedXML") from None
    for element in tree.iter():
        element.tag = element.tag.rpartition("}")[2]
    if tree.tag != root:
        raise S3Error("MalformedXML")
    return tree
