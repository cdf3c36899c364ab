"""From the files of an object to what a reader sees, and to the row its container lists."""

import msgspec

from objstore.model.rows import ObjectRow
from objstore.model.version import Version


def merge_meta(data: Version, meta: Version) -> Version:
    """The data as the newest POST left it: headers and user metadata replaced, the content type where one was given since."""
    typed = meta.type_timestamp > data.timestamp
    return msgspec.structs.replace(
        data,
        headers=meta.headers,
        user=meta.user,
        content_type=meta.content_type if typed else data.content_type,
        meta_timestamp=meta.timestamp,
        type_timestamp=meta.type_timestamp if typed else data.type_timestamp,
    )


def normal(version: Version) -> Version:
    """A PUT's version with its derived timestamps filled in."""
    timestamp = version.timestamp
    if version.meta_timestamp == timestamp and version.type_timestamp == timestamp:
        return version
    return msgspec.structs.replace(version, meta_timestamp=timestamp, type_timestamp=timestamp)


def container_of(name: str) -> str:
    """`/account/container` of `/account/container/object`."""
    return name[: name.index("/", name.index("/", 1) + 1)]


def valid_name(name: str) -> bool:
    """True for `/account/container/object` with no part empty."""
    parts = name.split("/", 3)
    return len(parts) == 4 and not parts[0] and all(parts[1:])


def row_of(version: Version) -> ObjectRow:
    """The listing row of a version or a tombstone. `system` may name an etag or a size to list instead of the stored ones
    (`listed-etag`, `listed-size`): a manifest is listed as the object it stands for.
    """
    name = version.name[len(container_of(version.name)) + 1 :]
    if version.deleted:
        return ObjectRow(name, version.timestamp, True, meta_timestamp=version.timestamp)
    size = version.system.get("listed-size", "")
    return ObjectRow(
        name,
        version.timestamp,
        False,
        int(size) if size.isdecimal() else version.size,
        version.system.get("listed-etag", version.etag),
        version.content_type,
        version.type_timestamp or version.timestamp,
        version.meta_timestamp or version.timestamp,
        version.delete_at,
    )
