"""Static large objects: storing a manifest, reading it back, deleting it with its segments."""

import hashlib

from objstore.api.conditional import parse_conditions
from objstore.api.dates import last_modified
from objstore.api.reply import Reply, status_line
from objstore.api.swift.bulk import DeletedCount, delete_objects
from objstore.api.swift.call import Call, Site, is_true
from objstore.api.swift.errors import Refusal, status_of
from objstore.api.swift.headers import shown_etag
from objstore.api.swift.manifests import parse_manifest, render_raw
from objstore.api.swift.objectreply import LISTING_DEFERRED, read_fields
from objstore.api.swift.objects import new_object, put_conditions
from objstore.api.swift.plain import EMPTY_HTML
from objstore.api.swift.report import Report, failure_text, report_type, with_blanks
from objstore.model.conditions import Conditions
from objstore.model.errors import InvalidInput, ManifestInvalid, StoreError
from objstore.model.manifest import DEPTH_MAX, Segment
from objstore.model.names import ObjectName, check_object_name
from objstore.proxy.operations import NewObject, PutResult, ReadRequest


class LargeObjectHandlers:
    def __init__(self, site: Site) -> None:
        self._site = site

    async def put(self, call: Call) -> Reply:
        """PUT ?multipart-manifest=put, with or without heartbeat=on."""
        limits = self._site.limits
        if call.request.payload_size is None and not call.request.chunked:
            raise Refusal(411)
        check_object_name(call.object)
        conditions = put_conditions(call)
        new = new_object(call, self._site.clock.now())
        body = await call.request.read(limits.manifest_bytes_max)
        segments, written = parse_manifest(body, limits.manifest_segments_max)
        media_type = report_type(call.headers.get("accept", ""))
        if is_true(call.query.get("heartbeat", "")):
            work = self._put_reported(call, new, segments, conditions, written, media_type)
            stream = with_blanks(work, limits.yield_every_s, self._site.clock, at_once=True)
            return Reply(202, [("Content-Type", media_type)], stream=stream)
        try:
            result = await self._site.store.put_manifest(call.ctx, call.name, new, segments, conditions)
        except ManifestInvalid as error:
            return _problems_reply(_as_written(error, written), media_type)
        fields = [EMPTY_HTML, *_put_fields(result)]
        return Reply(201, fields if result.listed else [*fields, LISTING_DEFERRED])

    async def _put_reported(
        self, call: Call, new: NewObject, segments: list[Segment], conditions: Conditions, written: dict[str, str], media_type: str
    ) -> bytes:
        try:
            result = await self._site.store.put_manifest(call.ctx, call.name, new, segments, conditions)
        except ManifestInvalid as error:
            report = Report(status_line(400), body=failure_text(400), errors=_as_written(error, written))
        except StoreError as error:
            status = status_of(error)
            report = Report(status_line(status), body=failure_text(status, error.text))
        else:
            etag, modified = _put_fields(result)
            report = Report(status_line(201), {"Etag": etag[1], "Last Modified": modified[1]})
        return report.render(media_type, "upload")

    async def get_raw(self, call: Call) -> Reply:
        """GET and HEAD ?multipart-manifest=get&format=raw: what a client would PUT to have the same large object."""
        request = ReadRequest(call.name, parse_conditions(call.headers), head=True, raw_manifest=True)
        read = await self._site.store.open_object(call.ctx, request)
        await read.close()
        body = render_raw(await self._site.store.read_manifest(call.ctx, call.name))
        etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
        fields = read_fields(read, read.version.content_type, raw=True)
        return Reply(200, [("Etag", etag) if name == "Etag" else (name, value) for name, value in fields], body)

    async def delete(self, call: Call) -> Reply:
        """DELETE ?multipart-manifest=delete: the segments, those of manifests among them, and the manifest itself."""
        names: dict[ObjectName, None] = {}
        await self._gather(call, call.name, names, DEPTH_MAX)
        media_type = report_type(call.headers.get("accept", ""))

        async def work() -> bytes:
            count = DeletedCount()
            await delete_objects(self._site.store, call, list(names), count)
            return count.report().render(media_type, "delete")

        stream = with_blanks(work(), self._site.limits.yield_every_s, self._site.clock)
        return Reply(200, [("Content-Type", media_type)], stream=stream)

    async def _gather(self, call: Call, name: ObjectName, names: dict[ObjectName, None], depth: int) -> None:
        """Add what a manifest names, its own name last."""
        if depth < 0:
            raise InvalidInput("Manifests are nested too deep")
        for segment in await self._site.store.read_manifest(call.ctx, name):
            if segment.data:
                continue
            part = ObjectName(call.account, *segment.names)
            if segment.sub_manifest:
                await self._gather(call, part, names, depth - 1)
            else:
                names[part] = None
            if len(names) > self._site.limits.bulk_deletes_max:
                raise Refusal(413, "Too many segments to delete in one request")
        names[name] = None


def _put_fields(result: PutResult) -> list[tuple[str, str]]:
    return [("Etag", shown_etag(result.etag, "slo")), ("Last-Modified", last_modified(result.timestamp))]


def _as_written(error: ManifestInvalid, written: dict[str, str]) -> list[tuple[str, str]]:
    return [(written.get(path, path), what) for path, what in error.problems]


def _problems_reply(problems: list[tuple[str, str]], media_type: str) -> Reply:
    """400 with a line for each segment."""
    if media_type == "text/plain":
        body = "Errors:\n" + "".join(f"{path}, {what}\n" for path, what in problems)
        return Reply(400, [("Content-Type", "text/plain; charset=utf-8")], body.encode())
    report = Report(status_line(400), body=failure_text(400), errors=problems)
    return Reply(400, [("Content-Type", media_type)], report.render(media_type, "upload"))
