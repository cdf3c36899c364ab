"""Answers the messages about objects for all devices of a node."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

from objstore.formats.messages import (
    CommitPut,
    DeleteObject,
    GetObject,
    GiveBack,
    ListQuarantine,
    Message,
    ObjectFiles,
    ObjectHeld,
    ObjectReply,
    OpenPut,
    PostObject,
    Prepare,
    PushObject,
    PutObject,
    QuarantineList,
    ReadObject,
    Ready,
    Refused,
    RestoreQuarantine,
    StatObject,
)
from objstore.model.errors import Code, NodeError, Unavailable
from objstore.object.auditor import AuditSettings, ObjectAuditor
from objstore.object.device import ObjectDevice, read_failed
from objstore.object.files import Files, Place, place_of
from objstore.object.pending import PendingLog
from objstore.object.push import Pusher
from objstore.object.reader import open_newest, read_newest, resolve_range
from objstore.object.replication import Replication, ReplicationSettings
from objstore.object.streams import send_body
from objstore.object.updater import CurrentIndex, ObjectUpdater
from objstore.object.updates import Updates
from objstore.object.upload import Upload
from objstore.object.writer import FindBeside, ObjectWriter
from objstore.placement.places import members_of
from objstore.rpc.interface import CallContext, Caller, Chunk, Dispatcher, Exchange
from objstore.runtime.crashpoints import NoCrashPoints
from objstore.runtime.interface import Clock, CrashPoints, Disk, Worker
from objstore.runtime.pacing import Yielding

T = TypeVar("T")
logger = logging.getLogger("objstore.object")

COMMITS_PER_UPLOAD_MAX = 8
CHANGES_UNDER_WAY_MAX = 4096
STOP_WAIT_S = 10.0


class ObjectServer:
    """The object role of one node. `start` before the first message, `stop` before the disks are closed.

    A change, once begun, runs to its end even when its caller goes away: what the disk does cannot be called back, and what the
    server knows of the disk must agree with it.
    """

    def __init__(
        self,
        devices: Mapping[str, Disk],
        logs: Mapping[str, PendingLog],
        caller: Caller,
        clock: Clock,
        points: CrashPoints | None = None,
        *,
        container_wait_s: float = 1.0,
        index_entries_max: int = 200_000,
        current_index: CurrentIndex | None = None,
        replication: ReplicationSettings | None = None,
        audit: AuditSettings | None = None,
        beside: FindBeside | None = None,
    ) -> None:
        """`logs` holds each device's pending log, the one that its disk was given as log sink. Limits are per device.

        `current_index(container, index)` tells where a pending row belongs now, after the ring has changed; without it, where it
        belonged when it was written. `beside` finds rows that can become durable with their objects. Without `replication` the
        server takes no part in it, nor is anything audited.
        """
        points = points or NoCrashPoints()
        self._points = points
        self._yielding = yielding = (replication.yielding if replication is not None else None) or Yielding(clock)
        self._devices = {
            name: ObjectDevice(name, disk, logs[name], clock, points, index_entries_max=index_entries_max)
            for name, disk in devices.items()
        }
        self.updates = Updates(caller, clock)
        self._placement = replication.placement if replication is not None else None
        self._writer = ObjectWriter(
            self.updates,
            clock,
            points,
            container_wait_s=container_wait_s,
            members=self._members,
            beside=beside or (lambda *_: None),
        )
        self._pusher = Pusher(caller)
        if replication is not None:
            current_index = current_index or replication.placement.index_now
        self._updater = ObjectUpdater(self._devices.values(), self.updates, clock, current_index=current_index)
        self._unusable: dict[str, NodeError] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._replication: Replication | None = None
        if replication is not None:
            self._replication = Replication(self._devices.values(), self._device, caller, clock, points, replication, yielding)
            self._auditor = ObjectAuditor(
                self._devices.values(), replication.placement, replication.own, caller, clock, audit or AuditSettings(), yielding
            )

    def register(self, dispatcher: Dispatcher) -> None:
        """Become the one who answers for objects."""
        dispatcher.on(PutObject, self.put, lasting=True)
        dispatcher.on(PostObject, self.post, lasting=True)
        dispatcher.on(DeleteObject, self.delete, lasting=True)
        dispatcher.on(GetObject, self.get, self.get_now)
        dispatcher.on(StatObject, self.stat)
        dispatcher.on(PushObject, self.push)
        dispatcher.on(Prepare, self.prepare)
        dispatcher.on(GiveBack, self.give_back)
        dispatcher.on(ListQuarantine, self.list_quarantine)
        dispatcher.on(RestoreQuarantine, self.restore_quarantine)
        dispatcher.on_stream(OpenPut, self.open_put)
        dispatcher.on_stream(ReadObject, self.read_object)
        if self._replication is not None:
            self._replication.register(dispatcher)

    async def start(self) -> None:
        """Read the pending logs. A device that cannot be read is refused from then on; the others serve."""
        for device in self._devices.values():
            try:
                await device.start()
            except NodeError as error:
                self._unusable[device.name] = error
                logger.error("device unusable", extra={"device": device.name, "error": str(error)})
        if self._replication is not None:
            await self._replication.start()

    async def stop(self) -> None:
        """Let changes under way end (a hung disk's are left behind), stop telling containers, and tidy the logs."""
        if self._replication is not None:
            await self._replication.stop()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=STOP_WAIT_S)
        await self.updates.stop()
        for device in self._devices.values():
            try:
                await device.disk.run(device.log.tidy)
            except (OSError, NodeError) as error:
                logger.warning("cannot tidy pending log", extra={"device": device.name, "error": str(error)})

    def workers(self) -> list[Worker]:
        """The background jobs of this role."""
        if self._replication is None:
            return [self._updater]
        return [*self._replication.workers(), self._updater, self._auditor]

    def report(self, device: str) -> tuple[int, int]:
        """Pending updates and quarantined files of a device. Raises KeyError."""
        found = self._devices[device]
        return found.log.pending, found.quarantined

    # --- reads -------------------------------------------------------------------------------------------------

    async def get(self, request: GetObject, _context: CallContext) -> Message:
        """As GetObject says."""
        device, place, read = self._reading(request)
        return await device.read(place, read)

    def get_now(self, request: GetObject, _context: CallContext) -> Message | None:
        """As `get`, where that needs no wait."""
        device, place, read = self._reading(request)
        return device.read_now(place, read)

    def _reading(self, request: GetObject) -> tuple[ObjectDevice, Place, Callable[[Files], Message]]:
        self._yielding.served += 1
        target = request.target
        device = self._device(target.device)
        place = place_of(target.policy, target.partition, request.hash)
        fs = device.disk.fs

        def read(files: Files) -> Message:
            device.require_sound(place, files)
            if not files.alive:
                if files.deleted:
                    read_newest(fs, place, files, request.name)
                raise NodeError(Code.NOT_FOUND, "", files.timestamp)
            if request.lean:
                return ObjectHeld(*files.order)
            found, version = open_newest(fs, place, files, request.name)
            try:
                if request.inline_max < 0:
                    return ObjectReply(version)
                start, length = resolve_range(version.size, request.start, request.length)
                if length > request.inline_max:
                    return ObjectReply(version)
                return ObjectReply(version, *found.read_with_crc(start, length))
            finally:
                found.file.close()

        return device, place, read

    async def stat(self, request: StatObject, _context: CallContext) -> ObjectFiles:
        """As StatObject says."""
        device = self._device(request.target.device)
        place = place_of(request.target.policy, request.target.partition, request.hash)

        def read(files: Files) -> ObjectFiles:
            device.require_sound(place, files)
            version = read_newest(device.disk.fs, place, files, request.name) if files.timestamp else None
            return ObjectFiles(version, files.paths(place))

        return await device.read(place, read)

    async def read_object(self, request: ReadObject, exchange: Exchange, _context: CallContext) -> None:
        """As ReadObject says."""
        await send_body(self._device, request, exchange)

    # --- changes -----------------------------------------------------------------------------------------------

    async def put(self, request: PutObject, context: CallContext) -> Message:
        """As PutObject says."""
        self._yielding.served += not request.pushed
        return await self._change(self._writer.put(self._device(request.target.device), request), context.lasting)

    async def post(self, request: PostObject, context: CallContext) -> Message:
        """As PostObject says."""
        return await self._change(self._writer.post(self._device(request.target.device), request), context.lasting)

    async def delete(self, request: DeleteObject, context: CallContext) -> Message:
        """As DeleteObject says."""
        return await self._change(self._writer.delete(self._device(request.target.device), request), context.lasting)

    async def push(self, request: PushObject, _context: CallContext) -> Message:
        """As PushObject says."""
        return await self._pusher.answer(self._device(request.target.device), request)

    async def prepare(self, request: Prepare, _context: CallContext) -> Message:
        """As Prepare says."""
        return await self._change(self._writer.prepare(self._device(request.target.device), request))

    async def give_back(self, request: GiveBack, _context: CallContext) -> Message:
        """As GiveBack says."""
        return await self._change(self._writer.give_back(self._device(request.target.device), request))

    def _members(self, policy: int, partition: int) -> int:
        try:
            return members_of(partition, self._placement.primaries(policy, partition)) if self._placement is not None else 0
        except (IndexError, Unavailable):
            return 0

    async def open_put(self, request: OpenPut, exchange: Exchange, _context: CallContext) -> None:
        """As OpenPut says."""
        device = self._device(request.target.device)
        device.require_writable()
        upload = Upload(device.disk, self._points, request.target, request.hash, request.name, request.size)
        try:
            await upload.open()
            await exchange.send(Ready())
            while isinstance(message := await exchange.receive(), Chunk):
                await upload.add(message.data)
            await upload.finish()
            for _ in range(COMMITS_PER_UPLOAD_MAX):
                if not isinstance(message, CommitPut):
                    raise NodeError(Code.BAD_REQUEST, f"{type(message).__name__} where a commit was due")
                committing = self._writer.commit_upload(device, upload, message)
                try:
                    await exchange.send(await self._change(committing))
                except NodeError as error:
                    if error.code not in (Code.NEWER_EXISTS, Code.TOO_FAR_AHEAD):
                        raise
                    await exchange.send(Refused.of(error))
                else:
                    await exchange.finish()
                    return
                message = await exchange.receive()
            raise NodeError(Code.BUSY, "too many commits of one upload")
        finally:
            await self._to_its_end(upload.discard())

    # --- quarantine --------------------------------------------------------------------------------------------

    async def list_quarantine(self, request: ListQuarantine, _context: CallContext) -> Message:
        """As ListQuarantine says."""
        device = self._device(request.device)
        try:
            return QuarantineList(await device.disk.run(device.quarantine.entries))
        except OSError as error:
            raise read_failed(error) from error

    async def restore_quarantine(self, request: RestoreQuarantine, _context: CallContext) -> Message:
        """As RestoreQuarantine says."""
        device = self._device(request.device)
        device.require_writable()
        await self._change(device.restore(request.id))
        return Ready()

    # --- around them -------------------------------------------------------------------------------------------

    def _device(self, name: str) -> ObjectDevice:
        device = self._devices.get(name)
        if device is None:
            raise NodeError(Code.DEVICE_FAILED, f"no device {name!r} here")
        if device.disk.gone:
            raise NodeError(Code.DEVICE_FAILED, device.disk.failed or "")
        if name in self._unusable:
            raise NodeError(Code.DEVICE_FAILED, self._unusable[name].text)
        return device

    async def _change(self, work: Coroutine[Any, Any, T], lasting: bool = False) -> T:
        """`lasting`: nobody cancels this task, so the work needs none of its own."""
        if len(self._tasks) >= CHANGES_UNDER_WAY_MAX:
            work.close()
            raise NodeError(Code.BUSY, "too many changes under way")
        if not lasting:
            return await self._to_its_end(work)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            return await work
        finally:
            self._tasks.discard(task)

    async def _to_its_end(self, work: Coroutine[Any, Any, T]) -> T:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, NodeError):
            logger.error("change failed", exc_info=error)
