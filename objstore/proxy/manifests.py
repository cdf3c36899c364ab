"""Storing static large objects: every segment is looked at before the manifest is kept."""

import asyncio
from collections.abc import Mapping
from hashlib import md5

import msgspec

from objstore.model.conditions import Conditions
from objstore.model.errors import (
    AccessDenied,
    ChecksumMismatch,
    ContainerNotFound,
    InvalidInput,
    ManifestInvalid,
    NotAuthenticated,
    ObjectNotFound,
    StoreError,
)
from objstore.model.manifest import (
    DEPTH_MAX,
    SEGMENTS_MAX,
    Segment,
    encode_manifest,
    manifest_etag,
    normal_span,
    total_size,
)
from objstore.model.names import ObjectName
from objstore.model.version import Version
from objstore.proxy.bodies import InMemory
from objstore.proxy.found import NO_BYTES, Part
from objstore.proxy.largereads import LargeReader
from objstore.proxy.opening import Opener, etag_of, modified_s
from objstore.proxy.operations import Context, NewObject, PutResult, Upload
from objstore.proxy.storing import Storer

Look = Version | str
"""A segment's version, or why there is none."""


class Manifests:
    """Stores manifests, and gives them back."""

    def __init__(self, opener: Opener, storer: Storer, reader: LargeReader) -> None:
        self._opener = opener
        self._storer = storer
        self._reader = reader

    async def read(self, ctx: Context, name: ObjectName) -> list[Segment]:
        """As Store.read_manifest."""
        part = Part(self._opener.nodes.knobs.inline_bytes_max)
        place, found = await self._opener.find(ctx, name, part, open_expired=True)
        if found.version is None or found.version.system.get("manifest") != "slo":
            raise InvalidInput("Not an SLO manifest")
        return await self._reader.segments_of(place, found, ctx.txn)

    async def put(
        self, ctx: Context, name: ObjectName, new: NewObject, segments: list[Segment], conditions: Conditions
    ) -> PutResult:
        """As Store.put_manifest."""
        _check_shape(name, segments)
        slot = await self._storer.slot(ctx, name, new, None, conditions)
        looks = await self._look(ctx, name.account, segments)
        checked, problems = list[Segment](), list[tuple[str, str]]()
        for segment in segments:
            outcome = _checked(segment, looks)
            if isinstance(outcome, Segment):
                checked.append(outcome)
            else:
                problems += [(segment.path, problem) for problem in outcome]
        if problems:
            raise ManifestInvalid(problems)
        etag, size = manifest_etag(checked), total_size(checked)
        if new.expected_etag is not None and new.expected_etag.strip('"') != etag:
            raise ChecksumMismatch
        document = encode_manifest(checked)
        listed = f"{md5(document, usedforsecurity=False).hexdigest()}; slo_etag={etag}"
        system = {
            "manifest": "slo",
            "manifest-etag": etag,
            "manifest-size": str(size),
            "manifest-depth": str(1 + max(_depth(looks[segment.path]) for segment in checked if not segment.data)),
            "listed-size": str(size),
            "listed-etag": listed,
        }
        bare = msgspec.structs.replace(new, expected_etag=None)
        return await self._storer.put(ctx, slot, bare, Upload(InMemory(document), len(document)), system)

    async def _look(self, ctx: Context, account: str, segments: list[Segment]) -> dict[str, Look]:
        """Every path once, a few at a time."""
        paths = list(dict.fromkeys(segment.path for segment in segments if not segment.data))
        looks: dict[str, Look] = {}
        pending = iter(paths)

        async def work() -> None:
            for path in pending:
                looks[path] = await self._look_at(ctx, account, path)

        at_once = min(self._opener.nodes.knobs.segment_checks_at_once, len(paths))
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(work())
        return looks

    async def _look_at(self, ctx: Context, account: str, path: str) -> Look:
        try:
            _, found = await self._opener.find(ctx, ObjectName(account, *Segment(path).names), NO_BYTES)
        except StoreError as error:
            return _problem(error)
        assert found.version is not None
        return found.version


def _problem(error: StoreError) -> str:
    """In Swift's words."""
    if isinstance(error, (ObjectNotFound, ContainerNotFound)):
        return "404 Not Found"
    if isinstance(error, AccessDenied):
        return "403 Forbidden"
    if isinstance(error, NotAuthenticated):
        return "401 Unauthorized"
    return "503 Service Unavailable"


def _check_shape(name: ObjectName, segments: list[Segment]) -> None:
    if not segments or all(segment.data for segment in segments):
        raise InvalidInput("Inline data segments require at least one object-backed segment.")
    if len(segments) > SEGMENTS_MAX:
        raise InvalidInput(f"Number of segments must be <= {SEGMENTS_MAX}")
    if any(segment.path == f"/{name.container}/{name.object}" for segment in segments):
        raise InvalidInput(f'Manifest object name "{name.container}/{name.object}" cannot be included in the manifest')


def _depth(look: Look) -> int:
    """How deep manifests are nested below a segment; 0 for a plain one."""
    return int(look.system.get("manifest-depth", 0)) if isinstance(look, Version) else 0


def _checked(segment: Segment, looks: Mapping[str, Look]) -> Segment | list[str]:
    """The segment as it is to be stored, or what is wrong with it."""
    if segment.data:
        return segment
    look = looks[segment.path]
    if isinstance(look, str):
        return [look]
    nested = "manifest" in look.system
    size = int(look.system["manifest-size"]) if nested else look.size
    etag = etag_of(look)
    problems = []
    if segment.size >= 0 and segment.size != size:
        problems.append("Size Mismatch")
    if segment.etag and segment.etag.strip('"') != etag:
        problems.append("Etag Mismatch")
    if not size:
        problems.append("Too Small; each segment must be at least 1 byte.")
    if _depth(look) >= DEPTH_MAX:
        problems.append("Manifests are nested too deep")
    span = ""
    if segment.span and not problems:
        try:
            span = normal_span(segment.span, size) or ""
        except ValueError:
            span = ""
        if not span:
            problems.append("Unsatisfiable Range")
        elif span == f"0-{size - 1}":
            span = ""
    if problems:
        return problems
    return msgspec.structs.replace(
        segment,
        etag=etag,
        size=size,
        span=span,
        sub_manifest=nested,
        content_type=look.content_type,
        modified_s=float(modified_s(look)),
    )
