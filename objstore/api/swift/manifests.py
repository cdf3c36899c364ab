"""Static large objects as JSON: the manifest a client PUTs, and the form in which it can be PUT again (`format=raw`)."""

import base64
import binascii
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from objstore.api.swift.errors import Refusal
from objstore.model.manifest import DATA_BYTES_MAX, Segment
from objstore.model.ranges import parse_ranges

_KEYS = frozenset({"path", "etag", "size_bytes", "range", "data"})


def parse_manifest(body: bytes, segments_max: int) -> tuple[list[Segment], dict[str, str]]:
    """The segments of a manifest, and each one's path as the client wrote it. Raises Refusal with a line for each flaw."""
    try:
        entries = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refusal(400, "Manifest must be valid JSON.\n") from None
    if not isinstance(entries, list):
        raise Refusal(400, "Manifest must be a list.\n")
    if not entries:
        raise Refusal(400, "A manifest needs at least 1 segment.\n")
    if len(entries) > segments_max:
        raise Refusal(413, f"A manifest may have at most {segments_max} segments.")
    segments: list[Segment] = []
    written: dict[str, str] = {}
    flaws: list[str] = []
    for index, entry in enumerate(entries):
        try:
            segment = _segment(entry)
        except ValueError as flaw:
            flaws.append(f"Index {index}: {flaw}\n")
            continue
        segments.append(segment)
        if segment.path:
            written.setdefault(segment.path, entry["path"])
    if sum(len(segment.data) for segment in segments) > DATA_BYTES_MAX:
        flaws.append(f"Inline data must not exceed {DATA_BYTES_MAX} bytes\n")
    if segments and all(segment.data for segment in segments):
        flaws.append("Inline data segments require at least one object-backed segment.\n")
    if flaws:
        raise Refusal(400, "".join(flaws))
    return segments, written


def _segment(entry: Any) -> Segment:
    """One entry. Raises ValueError with what is wrong with it."""
    if not isinstance(entry, dict):
        raise ValueError("not a JSON object")
    extra = sorted(set(entry) - _KEYS)
    if extra:
        raise ValueError(f"extraneous keys {', '.join(msgspec.json.encode(key).decode() for key in extra)}")
    if "data" in entry:
        if len(entry) > 1:
            raise ValueError("an entry of inline data has no other keys")
        return Segment("", data=_data(entry["data"]))
    if "path" not in entry:
        raise ValueError('missing required key "path"')
    return Segment(
        _path(entry["path"]),
        _field(entry, "etag", "", _etag),
        _field(entry, "size_bytes", -1, _size),
        _field(entry, "range", "", _range),
    )


def _field(entry: dict[str, Any], key: str, default: Any, check: Callable[[Any], Any]) -> Any:
    value = entry.get(key)
    return default if value is None else check(value)


def _path(value: Any) -> str:
    text = value if isinstance(value, str) else ""
    container, _, name = text.removeprefix("/").partition("/")
    if not container or not name or "\0" in text:
        raise ValueError("path does not refer to an object. Path must be of the form /container/object.")
    return f"/{container}/{name}"


def _etag(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("etag must be a string")
    return value.strip('"')


def _size(value: Any) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("invalid size_bytes")
    if value == 0:
        raise ValueError("too small; each segment must be at least 1 byte.")
    return value


def _range(value: Any) -> str:
    ranges = parse_ranges(f"bytes={value}") if isinstance(value, str) else None
    if ranges is None:
        raise ValueError("invalid range")
    if len(ranges) != 1:
        raise ValueError("multiple ranges (only one allowed)")
    return str(value).replace(" ", "")


def _data(value: Any) -> bytes:
    try:
        data = base64.b64decode(value, validate=True) if isinstance(value, str) else b""
    except (binascii.Error, ValueError):
        raise ValueError("data must be valid base64") from None
    if not data:
        raise ValueError("data must be base64 of at least one byte")
    return data


def render_raw(segments: Iterable[Segment]) -> bytes:
    """The manifest as a client would PUT it."""
    return msgspec.json.encode([_raw_entry(segment) for segment in segments])


def _raw_entry(segment: Segment) -> dict[str, Any]:
    if segment.data:
        return {"data": base64.b64encode(segment.data).decode("ascii")}
    entry: dict[str, Any] = {"etag": segment.etag, "path": segment.path, "size_bytes": segment.size}
    if segment.span:
        entry["range"] = segment.span
    return entry
