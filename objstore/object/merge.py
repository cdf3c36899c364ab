"""From the files of an object to what a reader sees."""

import msgspec

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


def valid_name(name: str) -> bool:
    """True for `/account/container/object` with no part empty."""
    parts = name.split("/", 3)
    return len(parts) == 4 and not parts[0] and all(parts[1:])
