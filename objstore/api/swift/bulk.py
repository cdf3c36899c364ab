"""Bulk delete: many objects and containers in one request (Swift's `?bulk-delete`)."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from objstore.api.reply import Reply, status_line
from objstore.api.swift.call import Call, Site
from objstore.api.swift.errors import Refusal, status_of
from objstore.api.swift.report import Report, failure_text, report_type, with_blanks
from objstore.model.conditions import NO_CONDITIONS
from objstore.model.errors import ContainerNotFound, ObjectNotFound, StoreError
from objstore.model.names import ObjectName
from objstore.proxy.operations import Store

AT_ONCE_MAX = 8
"""Deletions of one request under way at a time."""
BODY_BYTES_MAX = 16 * 1024 * 1024


@dataclass(slots=True)
class DeletedCount:
    """What became of the names so far."""

    deleted: int = 0
    missing: int = 0
    errors: list[tuple[str, str]] = field(default_factory=list)

    def add(self, name: str, error: StoreError | None) -> None:
        if error is None:
            self.deleted += 1
        elif isinstance(error, ObjectNotFound | ContainerNotFound):
            self.missing += 1
        else:
            self.errors.append((name, status_line(status_of(error))))

    def report(self) -> Report:
        figures: dict[str, str | int] = {"Number Deleted": self.deleted, "Number Not Found": self.missing}
        return Report(status_line(400 if self.errors else 200), figures, errors=self.errors)


async def delete_objects(store: Store, call: Call, names: Sequence[ObjectName], count: DeletedCount) -> None:
    """Delete in order, a few at a time; the last one alone, after all others."""

    async def one(name: ObjectName) -> None:
        shown = f"/{name.container}/{name.object}"
        try:
            await store.delete_object(call.ctx, name, NO_CONDITIONS)
        except StoreError as error:
            count.add(shown, error)
        else:
            count.add(shown, None)

    for start in range(0, len(names) - 1, AT_ONCE_MAX):
        await asyncio.gather(*[one(name) for name in names[start : min(start + AT_ONCE_MAX, len(names) - 1)]])
    if names:
        await one(names[-1])


class BulkHandlers:
    def __init__(self, site: Site) -> None:
        self._site = site

    async def delete(self, call: Call) -> Reply:
        """POST or DELETE ?bulk-delete; the body names one object or container a line, percent-encoded."""
        body = await call.request.read(BODY_BYTES_MAX)
        lines = [line for raw in body.split(b"\n") if (line := raw.strip())]
        if len(lines) > self._site.limits.bulk_deletes_max:
            raise Refusal(413, f"Maximum Bulk Deletes: {self._site.limits.bulk_deletes_max} per request")
        media_type = report_type(call.headers.get("accept", ""))
        stream = with_blanks(self._work(call, lines, media_type), self._site.limits.yield_every_s, self._site.clock)
        return Reply(200, [("Content-Type", media_type)], stream=stream)

    async def _work(self, call: Call, lines: list[bytes], media_type: str) -> bytes:
        count = DeletedCount()
        waiting: list[ObjectName] = []
        for line in lines:
            shown = line.decode("utf-8", "replace")
            path = self._path(line)
            if path is None:
                count.errors.append((shown, status_line(412)))
                continue
            container, _, name = path.partition("/")
            if name:
                waiting.append(ObjectName(call.account, container, name))
                continue
            await delete_objects(self._site.store, call, waiting, count)
            waiting = []
            await self._delete_container(call, container, shown, count)
        await delete_objects(self._site.store, call, waiting, count)
        report = count.report()
        if not lines:
            report = Report(status_line(400), report.figures, failure_text(400, "Invalid bulk delete."))
        return report.render(media_type, "delete")

    def _path(self, line: bytes) -> str | None:
        if len(line) > self._site.limits.bulk_path_bytes_max:
            return None
        try:
            path = unquote_to_bytes(line).decode().removeprefix("/")
        except UnicodeDecodeError:
            return None
        return None if not path.partition("/")[0] or "\0" in path else path

    async def _delete_container(self, call: Call, container: str, shown: str, count: DeletedCount) -> None:
        try:
            await self._site.store.delete_container(call.ctx, call.account, container)
        except StoreError as error:
            count.add(shown, error)
        else:
            count.add(shown, None)
