"""Server-side copies."""

from collections.abc import Awaitable, Callable

import msgspec

from objstore.model.errors import Unavailable
from objstore.model.manifest import ManifestError, decode_manifest
from objstore.model.ranges import Span
from objstore.model.version import Version
from objstore.proxy.manifests import Manifests
from objstore.proxy.operations import Context, CopyRequest, CopyResult, NewObject, ObjectRead, ReadRequest, Upload
from objstore.proxy.storing import Storer

Open = Callable[[Context, ReadRequest], Awaitable[ObjectRead]]


class Copier:
    """Copies objects; the source is checked before the target, and the bytes go through this process."""

    def __init__(self, open_object: Open, storer: Storer, manifests: Manifests) -> None:
        self._open = open_object
        self._storer = storer
        self._manifests = manifests

    async def copy(self, ctx: Context, request: CopyRequest) -> CopyResult:
        """As Store."""
        read = await self._open(
            ctx,
            ReadRequest(
                request.source,
                request.conditions,
                ranges=request.ranges,
                raw_manifest=request.raw_manifest,
                part_number=request.part_number,
            ),
        )
        try:
            new = _new_object(request, read.version)
            span = read.spans[0] if read.spans and len(read.spans) == 1 else Span(0, read.size)
            if request.raw_manifest and read.version.system.get("manifest") == "slo":
                document = b"".join([piece async for piece in read.body()])
                try:
                    segments = decode_manifest(document)
                except ManifestError as error:
                    raise Unavailable("the manifest is damaged") from error
                put = await self._manifests.put(ctx, request.target, new, segments, request.target_conditions)
            else:
                slot = await self._storer.slot(ctx, request.target, new, span.length, request.target_conditions)
                put = await self._storer.put(ctx, slot, new, Upload(read.body(span), span.length))
        finally:
            await read.close()
        return CopyResult(put, read.version)


def _new_object(request: CopyRequest, source: Version) -> NewObject:
    """The source's metadata, unless fresh ones are wanted, under what the request sets. A manifest that is not copied as such
    leaves nothing of itself.
    """
    headers = {} if request.fresh_metadata else dict(source.headers)
    if not request.raw_manifest:
        headers.pop("x-object-manifest", None)
    elif "x-object-manifest" in source.headers:
        headers["x-object-manifest"] = source.headers["x-object-manifest"]
    user = {} if request.fresh_metadata else source.user
    content_type = source.content_type if request.content_type is None else request.content_type
    new: NewObject = msgspec.structs.replace(
        request.new, content_type=content_type, headers=headers | request.new.headers, user=user | request.new.user
    )
    return new
