"""Listings: what part is asked for, and its three forms. Written for pages of 10,000 rows."""

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import lru_cache
from html import escape

import msgspec

from objstore.api.swift.call import is_true
from objstore.api.swift.errors import Refusal
from objstore.formats.messages import Query
from objstore.model.policy import Policies
from objstore.model.rows import ContainerRow, ObjectRow, Subdir
from objstore.model.timestamps import IDENTITY_BITS, TICKS_PER_SECOND

_JSON = msgspec.json.Encoder()
_SLO_ETAG = "; slo_etag="
_XML_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
_XML_SPECIAL = re.compile("[&<>\"'\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_UNPRINTABLE = dict.fromkeys((*range(9), 11, 12, *range(14, 32), 65534, 65535), "�")


class _Object(msgspec.Struct, gc=False):
    name: str
    hash: str
    bytes: int
    content_type: str
    last_modified: str


class _LargeObject(_Object, gc=False):
    slo_etag: str


class _Container(msgspec.Struct, gc=False):
    name: str
    count: int
    bytes: int
    last_modified: str
    storage_policy: str


class _Subdir(msgspec.Struct, gc=False):
    subdir: str


def parse_query(fields: dict[str, str], limit_max: int) -> Query:
    """The part of a listing that a query string asks for. Raises Refusal 412 for a limit above the maximum; a limit that is
    not made of digits is ignored, as in Swift.
    """
    text = fields.get("limit", "")
    limit = limit_max
    if text.isascii() and text.isdigit():
        limit = int(text) if len(text) < 20 else limit_max + 1
    if limit > limit_max:
        raise Refusal(412, f"Maximum limit is {limit_max}")
    get = fields.get
    return Query(
        limit,
        get("marker", ""),
        get("end_marker", ""),
        get("prefix", ""),
        get("delimiter", ""),
        is_true(get("reverse", "")),
    )


class Dates:
    """Timestamps in the form of listings; rows of one second share its text."""

    def __call__(self, timestamp: int) -> str:
        """`2026-11-22T22:27:57.590410`"""
        seconds, ticks = divmod(timestamp >> IDENTITY_BITS, TICKS_PER_SECOND)
        return f"{_second(seconds)}{ticks:05d}0"


def render_plain(rows: Iterable[ObjectRow | ContainerRow | Subdir]) -> bytes:
    """Every name followed by a line feed."""
    text = "\n".join([row.name for row in rows])
    return f"{text}\n".encode() if text else b""


def render_objects(rows: list[ObjectRow | Subdir], media_type: str, container: str) -> bytes:
    """A container's listing."""
    if media_type == "text/plain":
        return render_plain(rows)
    dates = Dates()
    if media_type == "application/json":
        return _JSON.encode(_objects(rows))
    parts = [_XML_HEAD, f'<container name="{xml_text(container)}">']
    parts += [_subdir_xml(row) if isinstance(row, Subdir) else _object_xml(row, dates) for row in rows]
    parts.append("</container>")
    return "".join(parts).encode()


def render_containers(rows: list[ContainerRow | Subdir], media_type: str, account: str, policies: Policies) -> bytes:
    """An account's listing."""
    if media_type == "text/plain":
        return render_plain(rows)
    dates = Dates()
    names = {policy.index: policy.name for policy in policies}
    shown = [row if isinstance(row, Subdir) else _container(row, dates, names.get) for row in rows]
    if media_type == "application/json":
        return _JSON.encode([_Subdir(row.name) if isinstance(row, Subdir) else row for row in shown])
    parts = [_XML_HEAD, f'<account name="{xml_text(account)}">\n']
    parts += [_subdir_xml(row) + "\n" if isinstance(row, Subdir) else _container_xml(row) for row in shown]
    parts.append("</account>")
    return "".join(parts).encode()


def xml_text(text: str) -> str:
    """Text as XML content or attribute; characters that XML cannot hold at all become U+FFFD."""
    return escape(text.translate(_UNPRINTABLE)) if _XML_SPECIAL.search(text) else text


def _objects(rows: list[ObjectRow | Subdir]) -> list[_Object | _Subdir]:
    """One loop without calls: a page has up to 10,000 rows."""
    shown: list[_Object | _Subdir] = []
    known, text = -1, ""
    for row in rows:
        if isinstance(row, Subdir):
            shown.append(_Subdir(row.name))
            continue
        timestamp, etag = row.timestamp, row.etag
        if row.meta_timestamp > timestamp:
            timestamp = row.meta_timestamp
        seconds, ticks = divmod(timestamp >> IDENTITY_BITS, TICKS_PER_SECOND)
        if seconds != known:
            known, text = seconds, _second(seconds)
        if _SLO_ETAG in etag:
            etag, _, slo_etag = etag.partition(_SLO_ETAG)
            shown.append(_LargeObject(row.name, etag, row.size, row.content_type, f"{text}{ticks:05d}0", f'"{slo_etag}"'))
        else:
            shown.append(_Object(row.name, etag, row.size, row.content_type, f"{text}{ticks:05d}0"))
    return shown


@lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}."


def _container(row: ContainerRow, dates: Dates, policy_name: Callable[[int], str | None]) -> _Container:
    policy = policy_name(row.policy) or str(row.policy)
    return _Container(row.name, row.object_count, row.bytes_used, dates(row.put_timestamp), policy)


def _object_xml(row: ObjectRow, dates: Dates) -> str:
    etag = row.etag.partition(_SLO_ETAG)[0]
    return (
        f"<object><name>{xml_text(row.name)}</name><hash>{xml_text(etag)}</hash><bytes>{row.size}</bytes>"
        f"<content_type>{xml_text(row.content_type)}</content_type>"
        f"<last_modified>{dates(max(row.meta_timestamp, row.timestamp))}</last_modified></object>"
    )


def _container_xml(row: _Container) -> str:
    return (
        f"<container><name>{xml_text(row.name)}</name><count>{row.count}</count><bytes>{row.bytes}</bytes>"
        f"<last_modified>{row.last_modified}</last_modified>"
        f"<storage_policy>{xml_text(row.storage_policy)}</storage_policy></container>\n"
    )


def _subdir_xml(row: Subdir) -> str:
    name = xml_text(row.name)
    return f'<subdir name="{name}"><name>{name}</name></subdir>'
