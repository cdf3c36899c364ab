"""Changes of objects on one node: check, encode, commit, tell the container.

Per object one change at a time. An older timestamp never replaces a newer one; the same one again is a success. Metadata of a POST
competes with a user's PUT and DELETE too, but not with what one replica pushes to complete another (see PutObject.pushed).
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from crc32c import crc32c

from objstore.formats.filenames import HASH_BYTES, FileKind
from objstore.formats.messages import (
    CommitPut,
    DeleteObject,
    GiveBack,
    IndexTarget,
    PostObject,
    Prepare,
    Promised,
    PutObject,
    Ready,
    Stored,
    Target,
)
from objstore.formats.objectmeta import ATTRIBUTE, checksum_table, encode
from objstore.formats.pending import PendingUpdate, frame
from objstore.model.errors import Code, NodeError
from objstore.model.listed import container_of, row_of
from objstore.model.lost import NONE
from objstore.model.rows import ObjectRow
from objstore.model.timestamps import from_seconds, seconds_of
from objstore.model.version import Version
from objstore.object.crashes import AFTER_COMMIT, AFTER_INDEX, BEFORE_COMMIT, BEFORE_REPLY
from objstore.object.device import ObjectDevice, read_failed
from objstore.object.files import Files, place_of
from objstore.object.merge import merge_meta, normal, valid_name
from objstore.object.overtaking import Coming, Overtaking
from objstore.object.reader import read_newest, read_version
from objstore.object.subject import Subject, existed, is_newer, require_newer, require_not_promised
from objstore.object.updates import Updates
from objstore.object.upload import Upload
from objstore.runtime.interface import Change, Clock, CrashPoints, OpenFile
from objstore.tables.heldrows import Beside

AHEAD_MAX_S = 30.0


Request = PutObject | CommitPut | DeleteObject | PostObject
Prepared = Callable[[], Awaitable[tuple[bytes | OpenFile, bytes]]]
"""Gives the content and the attribute of a file."""

FindBeside = Callable[[str, IndexTarget, str, ObjectRow, int], Beside | None]
"""Device of a change, container replica to tell, container, row, bytes of the file -> how the row becomes durable with the file."""


@dataclass(slots=True)
class _Step:
    """One change that passed its checks."""

    change: Change
    after: Files
    row: ObjectRow


class _Committed(NamedTuple):
    """A change that is durable. `id` of its pending record, 0 when there is none."""

    id: int = 0
    indexed: bool = False


class ObjectWriter:
    """All changes of all devices of a node. Used in the event loop alone; every method is durable when it returns."""

    def __init__(
        self,
        updates: Updates,
        clock: Clock,
        points: CrashPoints,
        *,
        container_wait_s: float,
        members: Callable[[int, int], int],
        beside: FindBeside,
    ) -> None:
        """`members(policy, partition)`: who its primaries are by the ring here (see members_of), 0 for a partition in no ring."""
        self._overtaking = Overtaking()
        self._beside = beside
        self._updates = updates
        self._members = members
        self._clock = clock
        self._points = points
        self._container_wait_s = container_wait_s

    # --- the four changes --------------------------------------------------------------------------------------

    async def put(self, device: ObjectDevice, request: PutObject) -> Stored:
        """Store a small object. Raises NodeError."""
        version, body = request.version, request.body
        subject = self._subject(device, request.target, request.hash, version.name, request)
        self._check_put(version, len(body), request.pushed)
        if request.crc not in (-1, crc32c(body)):
            raise NodeError(Code.CORRUPT, "the body was damaged on its way here")
        version = normal(version)
        encoded = encode(version, checksum_table(body), len(body))

        async def prepare() -> tuple[bytes, bytes]:
            return (body + encoded.trailer if encoded.trailer else body), encoded.attribute

        return await self._put(subject, version, prepare)

    async def commit_upload(self, device: ObjectDevice, upload: Upload, request: CommitPut) -> Stored:
        """Make an upload the object's newest version. Raises NodeError; after newer_exists and too_far_ahead the upload can
        be committed again with another timestamp.
        """
        version = request.version
        subject = self._subject(device, upload.target, upload.hash, upload.name, request)
        if version.name != upload.name:
            raise NodeError(Code.BAD_REQUEST, "commit of another object than the stream was opened for")
        self._check_put(version, upload.size, request.pushed)
        version = normal(version)

        async def prepare() -> tuple[OpenFile, bytes]:
            encoded = encode(version, upload.table(), upload.size)
            return await upload.release(encoded.trailer), encoded.attribute

        return await self._put(subject, version, prepare)

    async def delete(self, device: ObjectDevice, request: DeleteObject) -> Stored:
        """Write a tombstone. Raises NodeError."""
        subject = self._subject(device, request.target, request.hash, request.name, request)
        self._check_time(max(request.timestamp, from_seconds(request.expected_delete_at)), request.pushed)
        tombstone = Version(request.name, request.timestamp, deleted=True)
        async with device.locks.of(subject.place):
            before = await device.files(subject.place)
            missed = device.lost(subject.place, before)
            if before.deleted and before.timestamp == request.timestamp:
                step = None
            else:
                require_newer(subject, request.timestamp, before, missed)
                if request.expected_delete_at and before.alive and missed == NONE:
                    await self._require_delete_at(subject, request.expected_delete_at)
                after = Files(request.timestamp, True)
                step = _Step(
                    Change(
                        subject.place.path(request.timestamp, FileKind.TOMBSTONE),
                        b"",
                        {ATTRIBUTE: encode(tombstone, b"", 0).attribute},
                        unlink=before.paths(subject.place),
                        urgent=True,
                    ),
                    after,
                    row_of(tombstone),
                )
            committed = await self._commit(subject, step)
        return await self._tell(subject, committed, row_of(tombstone), existed(before, missed))

    async def post(self, device: ObjectDevice, request: PostObject) -> Stored:
        """Replace headers and user metadata. Raises NodeError."""
        subject = self._subject(device, request.target, request.hash, request.name, request)
        place, timestamp = subject.place, request.timestamp
        self._check_time(timestamp, request.pushed)
        async with device.locks.of(place):
            before = await device.files(place)
            if not before.alive:
                device.require_sound(place, before)
                raise NodeError(Code.NOT_FOUND, "no object to post to", before.timestamp)
            if not request.pushed:
                device.require_sound(place, before)
            if timestamp < before.newest or timestamp == before.timestamp:
                raise NodeError(Code.NEWER_EXISTS, "", before.newest)
            if timestamp != before.meta:
                require_not_promised(subject, timestamp, device.lost(place, before))
            data, old = await self._read_for_post(subject)
            meta = _meta_version(request, data, old)
            row = row_of(merge_meta(data, meta))
            if timestamp == before.meta:
                step = None
            else:
                encoded = encode(meta, b"", 0)
                step = _Step(
                    Change(
                        place.path(timestamp, FileKind.META),
                        encoded.trailer,
                        {ATTRIBUTE: encoded.attribute},
                        unlink=[place.path(before.meta, FileKind.META)] if before.meta else [],
                        urgent=True,
                    ),
                    before._replace(meta=timestamp),
                    row,
                )
            committed = await self._commit(subject, step)
        return await self._tell(subject, committed, row, True)

    # --- changes under conditions ------------------------------------------------------------------------------

    async def prepare(self, device: ObjectDevice, request: Prepare) -> Promised:
        """As Prepare says. Raises NodeError."""
        target, ballot = request.target, request.ballot
        if len(request.hash) != HASH_BYTES or target.partition < 0 or target.policy < 0 or not valid_name(request.name):
            raise NodeError(Code.BAD_REQUEST, "not an object's name and place")
        device.require_writable()
        self._check_time(ballot, False)
        place, fs = place_of(target.policy, target.partition, request.hash), device.disk.fs

        def read(files: Files) -> Version | None:
            return read_newest(fs, place, files, request.name) if files.timestamp else None

        async with device.locks.of(place):
            self.require_members(target, request.members)
            before = await device.files(place)
            device.require_sound(place, before)
            newest = max(before.newest, device.promises.get(place))
            if ballot <= newest:
                raise NodeError(Code.NEWER_EXISTS, "", newest)
            version = await device.read(place, read, locked=True)
            await device.promises.make(place, ballot)
        return Promised(version, device.membership.is_member(target.policy, target.partition, request.members))

    async def give_back(self, device: ObjectDevice, request: GiveBack) -> Ready:
        """As GiveBack says. Raises NodeError."""
        place = place_of(request.target.policy, request.target.partition, request.hash)
        try:
            async with device.locks.of(place):
                await device.promises.give_back(place, request.ballot)
        except OSError as error:
            raise read_failed(error) from error
        return Ready()

    def require_members(self, target: Target, members: int) -> None:
        """Raises NodeError other_ring when somebody takes others for the primaries of a partition than this process does."""
        if members and members != self._members(target.policy, target.partition):
            raise NodeError(Code.OTHER_RING, "the primaries of this partition are others by the ring here")

    # --- steps -------------------------------------------------------------------------------------------------

    def _subject(self, device: ObjectDevice, target: Target, hash_: bytes, name: str, request: Request) -> Subject:
        if len(hash_) != HASH_BYTES or target.partition < 0 or target.policy < 0 or not valid_name(name):
            raise NodeError(Code.BAD_REQUEST, "not an object's name and place")
        device.require_writable()
        self.require_members(target, request.members)
        place, wait_s = place_of(target.policy, target.partition, hash_), 0.0 if request.defer else self._container_wait_s
        return Subject(device, target, place, name, request.index, wait_s, request.pushed, request.settled)

    def _check_time(self, timestamp: int, pushed: bool) -> None:
        if not 0 < timestamp < 1 << 62:
            raise NodeError(Code.BAD_REQUEST, "not a timestamp")
        if not pushed and seconds_of(timestamp) > self._clock.now() + AHEAD_MAX_S:
            raise NodeError(Code.TOO_FAR_AHEAD, "the timestamp is ahead of this node's clock", timestamp)

    def _check_put(self, version: Version, size: int, pushed: bool) -> None:
        self._check_time(version.timestamp, pushed)
        if version.deleted or version.size != size:
            raise NodeError(Code.BAD_REQUEST, f"{size} bytes came for an object of {version.size}")

    async def _put(self, subject: Subject, version: Version, prepare: Prepared) -> Stored:
        device, place, timestamp = subject.device, subject.place, version.timestamp
        if subject.pushed or not device.locks.held(place):
            stored = await self._put_in_turn(subject, version, prepare, None)
            assert stored is not None
            return stored
        with self._overtaking.come((device.name, subject[1:]), timestamp) as coming:
            stored = await self._put_in_turn(subject, version, prepare, coming)
            stored = stored or await coming.outcome()
        return stored or await self._put(subject, version, prepare)

    async def _put_in_turn(self, subject: Subject, version: Version, prepare: Prepared, coming: Coming | None) -> Stored | None:
        """None for one that is left to a newer one."""
        place, timestamp = subject.place, version.timestamp
        row = row_of(version)
        async with subject.device.locks.of(place):
            if coming is not None and coming.is_overtaken():
                return None
            before = await subject.device.files(place)
            missed = subject.device.lost(place, before)
            if coming is not None:
                coming.keep(partial(is_newer, subject, before, missed))
            step = None
            if before.timestamp != timestamp or before.deleted:
                require_newer(subject, timestamp, before, missed)
                after, obsolete = Files(timestamp), before
                if before.meta > timestamp:  # pushed data, and a POST that applies to it
                    after, obsolete = Files(timestamp, meta=before.meta), before._replace(meta=0)
                    row = row_of(merge_meta(version, await self._read_meta(subject)))
                content, attribute = await prepare()
                path = place.path(timestamp, FileKind.DATA)
                change = Change(path, content, {ATTRIBUTE: attribute}, unlink=obsolete.paths(place))
                step = _Step(change, after, row)
            committed = await self._commit(subject, step)
        stored = await self._tell(subject, committed, row, existed(before, missed))
        if coming is not None:
            coming.stored = stored
        return stored

    async def _read_meta(self, subject: Subject) -> Version:
        def read(files: Files) -> Version:
            return read_version(subject.device.disk.fs, subject.place, files.meta, FileKind.META, subject.name)

        return await subject.device.read(subject.place, read, locked=True)

    async def _read_for_post(self, subject: Subject) -> tuple[Version, Version | None]:
        fs = subject.device.disk.fs

        def read(files: Files) -> tuple[Version, Version | None]:
            data = read_version(fs, subject.place, files.timestamp, FileKind.DATA, subject.name)
            return data, read_version(fs, subject.place, files.meta, FileKind.META, subject.name) if files.meta else None

        return await subject.device.read(subject.place, read, locked=True)

    async def _require_delete_at(self, subject: Subject, expected: int) -> None:
        def read(files: Files) -> Version:
            return read_newest(subject.device.disk.fs, subject.place, files, subject.name)

        version = await subject.device.read(subject.place, read, locked=True)
        if version.delete_at != expected:
            raise NodeError(Code.NEWER_EXISTS, "the object has another x-delete-at", max(version.order))

    async def _commit(self, subject: Subject, step: _Step | None) -> _Committed:
        if step is None:
            return _Committed()
        device, change, id_, beside = subject.device, step.change, 0, None
        change.unlink += device.promises.superseded(subject.place, step.after.newest)
        if subject.paired is not None:
            container, content = container_of(subject.name), change.content
            if isinstance(content, bytes | bytearray | memoryview):
                beside = self._beside(device.name, subject.paired, container, step.row, len(content))
            if beside is not None:
                change.along, change.done = beside
            else:
                id_ = device.log.begin()
                update = PendingUpdate(subject.target, subject.place.hash, subject.paired, container, step.row)
                change.log = frame(id_, update)
        self._points.reach(BEFORE_COMMIT)
        try:
            await device.disk.commit(change)
        except BaseException as error:
            if id_:
                never = isinstance(error, NodeError) and error.code in (Code.NO_SPACE, Code.BUSY)
                device.log.settle(id_, cleared=never, doubtful=True)
            # What the device holds now is for the next listing to tell.
            device.index.forget(subject.place.directory)
            raise
        device.index.put(subject.place, step.after)
        device.promises.changed(subject.place, step.after.newest)
        self._points.reach(AFTER_COMMIT)
        return _Committed(id_, beside is not None)

    async def _tell(self, subject: Subject, committed: _Committed, row: ObjectRow, existed: bool) -> Stored:
        indexed = committed.indexed
        if indexed:
            self._points.reach(AFTER_INDEX)
        elif subject.paired is not None:
            log, id_ = subject.device.log, committed.id

            def settled(done: bool) -> None:
                if done:
                    self._points.reach(AFTER_INDEX)
                if id_:
                    log.settle(id_, cleared=done)

            container = container_of(subject.name)
            indexed = await self._updates.deliver(subject.paired, container, row, settled, subject.wait_s)
        self._points.reach(BEFORE_REPLY)
        return Stored(indexed, existed)


def _meta_version(request: PostObject, data: Version, old: Version | None) -> Version:
    """What the metadata file holds: a content type given now, or by an earlier POST to the same data, else none."""
    content_type, type_timestamp = "", 0
    if request.content_type is not None:
        content_type, type_timestamp = request.content_type, request.type_timestamp or request.timestamp
    if old is not None and old.type_timestamp > max(type_timestamp, data.timestamp):
        content_type, type_timestamp = old.content_type, old.type_timestamp
    return Version(
        request.name,
        request.timestamp,
        content_type=content_type,
        headers=request.headers,
        user=request.user,
        meta_timestamp=request.timestamp,
        type_timestamp=type_timestamp,
    )
