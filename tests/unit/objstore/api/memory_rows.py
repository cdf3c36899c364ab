"""Rows and settings of the store in memory."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from objstore.formats.messages import Query, Setting, Settings
from objstore.model.acl import clean_container_acl
from objstore.model.metadata import check_metadata, check_text
from objstore.model.rows import ContainerRow, ObjectRow, Subdir
from objstore.model.version import Version

Row = TypeVar("Row", ObjectRow, ContainerRow)
OWNER_ONLY = ("sys:sync-key", "sys:sync-to", "acl:read", "acl:write", "acl:account", "user:temp-url-key", "user:temp-url-key-2")


@dataclass
class Stored:
    version: Version
    body: bytes


@dataclass
class Table:
    settings: Settings
    objects: dict[str, Stored] = field(default_factory=dict)


def object_rows(table: Table) -> list[ObjectRow]:
    return [object_row(name, stored.version) for name, stored in table.objects.items()]


def object_row(name: str, version: Version) -> ObjectRow:
    etag, size = version.etag, version.size
    if version.system.get("manifest") == "slo":
        etag, size = f"{etag}; slo_etag={version.system['manifest-etag']}", int(version.system["manifest-size"])
    return ObjectRow(name, version.timestamp, False, size, etag, version.content_type, 0, version.meta_timestamp)


def merged(kind: str, settings: Settings, values: dict[str, str], now: int) -> Settings:
    check_text(values)
    registers = {**settings.values, **{key: Setting(value, now) for key, value in values.items()}}
    user = {key[5:]: s.value for key, s in registers.items() if key.startswith("user:") and (s.value or not key[5:])}
    check_metadata(kind, user)
    return msgspec.structs.replace(settings, values=registers, put_timestamp=now)


def cleaned(values: dict[str, str], owner: bool) -> dict[str, str]:
    for key in ("acl:read", "acl:write"):
        if key in values:
            values[key] = clean_container_acl(values[key], key == "acl:write")
    return {key: value for key, value in values.items() if owner or key not in OWNER_ONLY}


def hidden(settings: Settings, owner: bool) -> Settings:
    kept = {key: s for key, s in settings.values.items() if owner or key not in OWNER_ONLY}
    return msgspec.structs.replace(settings, values=kept)


def page(rows: list[Row], query: Query) -> Iterator[Row | Subdir]:
    """One page of a listing, in the order of the names' UTF-8 bytes."""
    count, last = 0, ""
    for row in sorted(rows, key=lambda row: row.name.encode(), reverse=query.reverse):
        name = row.name
        low, high = (query.end_marker, query.marker) if query.reverse else (query.marker, query.end_marker)
        if count >= query.limit or not name.startswith(query.prefix):
            continue
        if name.encode() <= low.encode() or (high and name.encode() >= high.encode()):
            continue
        cut = name.find(query.delimiter, len(query.prefix)) if query.delimiter else -1
        shown: Row | Subdir = row if cut < 0 else Subdir(name[: cut + len(query.delimiter)])
        if isinstance(shown, Subdir) and shown.name in (last, query.marker):
            continue
        if isinstance(shown, Subdir):
            last = shown.name
        count += 1
        yield shown
