"""From an object's version to the row that its container lists."""

from objstore.model.parts import NOTE
from objstore.model.rows import ObjectRow
from objstore.model.version import Version


def container_of(name: str) -> str:
    """`/account/container` of `/account/container/object`."""
    return name[: name.index("/", name.index("/", 1) + 1)]


def listed_etag(version: Version) -> str:
    """With the note that goes with it, if any."""
    etag, note = version.system.get("listed-etag", version.etag), version.system.get(NOTE)
    return f"{etag}; {note}" if note else etag


def row_of(version: Version) -> ObjectRow:
    """The listing row of a version or a tombstone. `system` may name an etag or a size to list instead of the stored ones
    (`listed-etag`, `listed-size`), and a note beside the etag: a manifest is listed as the object it stands for.
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
        listed_etag(version),
        version.content_type,
        version.type_timestamp or version.timestamp,
        version.meta_timestamp or version.timestamp,
        version.delete_at,
    )
