"""The object-auditor: reads all that the devices hold, at a steady rate, so that damage is found while there are good copies (G10).

Every file that counts is verified: metadata, size, each chunk of the body, and that the name in it belongs where it is. What fails
is set aside, and a good copy comes from another replica at once. Beside that, each replica tells the container replica that it
keeps informed what it holds (see `rowaudit`). A pass begins where the last one stopped, so a device is audited whole however
often its process is restarted.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from objstore.formats.auditcursor import Cursor, decode_cursor, encode_cursor
from objstore.formats.filenames import partition_directory, policy_of_directory
from objstore.formats.messages import Address
from objstore.model.errors import NodeError, Unavailable
from objstore.model.listed import container_of
from objstore.model.names import ObjectName
from objstore.object.device import ObjectDevice, read_failed
from objstore.object.examining import PIECE_BYTES, Examined, examine, unreadable
from objstore.object.files import NOTHING, Place, list_partition
from objstore.object.merge import valid_name
from objstore.object.reader import Corrupt
from objstore.object.rowaudit import FIGURES as ROW_FIGURES
from objstore.object.rowaudit import RowAudit
from objstore.placement.places import ObjectPlace, Placement
from objstore.rpc.interface import Caller
from objstore.runtime.interface import Clock, FileSystem, Progress
from objstore.runtime.pacing import TokenBucket, Yielding

logger = logging.getLogger("objstore.object")

CURSOR = "audit.cursor"
CURSOR_BYTES_MAX = 256
OBJECTS_AT_ONCE_MAX = 8
OVERHEAD_BYTES = 4096
"""What a file counts as in pacing, beside its body."""
UNREADABLE_MAX = 16
"""So many files of one device that cannot be read are no matter of files any more."""
ERRORS_LOGGED_MAX = 3


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """`bytes_per_s` are read from each device, `rows_per_s` compared by all of them; 0 for no limit. The cursor is written every
    `cursor_interval_s`.
    """

    bytes_per_s: float = 0.0
    rows_per_s: float = 0.0
    cursor_interval_s: float = 10.0


class ObjectAuditor:
    """Worker. Figures: files and bytes verified; corrupt (set aside), misplaced (of another object: set aside; in a partition that
    the ring has elsewhere: left alone), strange (names that are no object's); those of the rows, see RowAudit; errors.
    """

    name = "object-auditor"

    def __init__(
        self,
        devices: Iterable[ObjectDevice],
        placement: Placement,
        own: frozenset[Address],
        caller: Caller,
        clock: Clock,
        settings: AuditSettings,
        yielding: Yielding,
    ) -> None:
        """`own`: the addresses in the rings of this process."""
        self._yielding = yielding
        self.progress = Progress()
        """In partitions."""
        self._devices = list(devices)
        self._placement = placement
        self._own = own
        self._caller = caller
        self._clock = clock
        self._settings = settings
        self._bytes = {device.name: TokenBucket(clock, settings.bytes_per_s, 4 * PIECE_BYTES) for device in self._devices}
        self._rows = TokenBucket(clock, settings.rows_per_s, 1000)

    async def run_once(self) -> dict[str, int]:
        """Once around every device, all of them at the same time. One that fails does not hold up the others."""
        names = ("files", "bytes", "corrupt", "misplaced", "strange", *ROW_FIGURES, "errors")
        figures: Counter[str] = Counter(dict.fromkeys(names, 0))
        self.progress = Progress()
        rounds = []
        for device in self._devices:
            rows = RowAudit(self._caller, self._placement, self._rows, figures)
            one = _Round(self, device, rows, self._bytes[device.name], figures)
            await one.begin()
            rounds.append(one)
        self.progress.total = sum(len(one.todo) for one in rounds)
        async with asyncio.TaskGroup() as group:
            for one in rounds:
                group.create_task(one.run())
        return dict(figures)


class _Round:
    """One device in one pass."""

    def __init__(
        self, auditor: ObjectAuditor, device: ObjectDevice, rows: RowAudit, bucket: TokenBucket, figures: Counter[str]
    ) -> None:
        self.todo: list[Cursor] = []
        self._auditor = auditor
        self._placement = auditor._placement
        self._device = device
        self._rows = rows
        self._bucket = bucket
        self._figures = figures
        self._errors_logged = 0
        self._unreadable = 0

    async def begin(self) -> None:
        """Find out what there is to do, and where to begin."""
        try:
            self.todo, strange = await self._device.disk.run(partial(_partitions, self._device.disk.fs))
        except (OSError, NodeError) as error:
            self._complain("device not audited", error)
            return
        for directory, count in strange.items():
            self._strange(directory, count)

    async def run(self) -> None:
        """All partitions."""
        clock, interval_s = self._auditor._clock, self._auditor._settings.cursor_interval_s
        saved = clock.monotonic()
        for cursor in self.todo:
            try:
                await self._partition(cursor)
            except (OSError, NodeError, Unavailable) as error:
                self._complain("partition not audited", error)
            if self._unreadable >= UNREADABLE_MAX:
                logger.error("too many unreadable files: device not audited further", extra={"device": self._device.name})
                break
            self._auditor.progress.done += 1
            if clock.monotonic() - saved >= interval_s:
                await self._save(cursor)
                saved = clock.monotonic()
        await self._rows.flush()

    async def _save(self, cursor: Cursor) -> None:
        """What was audited counts once its rows have been compared too."""
        await self._rows.flush()
        try:
            await self._device.disk.run(partial(_write_cursor, self._device.disk.fs, cursor))
        except (OSError, NodeError) as error:
            logger.warning("cursor not written", extra={"device": self._device.name, "error": str(error)})

    # --- one partition -----------------------------------------------------------------------------------------

    async def _partition(self, cursor: Cursor) -> None:
        device, directory = self._device, partition_directory(*cursor)
        try:
            held, leftovers, strange = await device.disk.run(partial(list_partition, device.disk.fs, directory))
        except NotADirectoryError:
            self._figures["corrupt"] += 1
            await device.set_directory_aside(directory, "not a directory")
            return
        except OSError as error:
            raise read_failed(error) from error
        if strange:
            self._strange(directory, strange)
        known = device.index.peek(directory)
        if known is not None and known != held:  # changed meanwhile, or somebody else was at the device
            device.index.forget(directory)
        await device.remove_leftovers(leftovers)
        todo = [(Place(directory, hash_), files) for hash_, files in held.items() if files != NOTHING]
        while todo and self._unreadable < UNREADABLE_MAX:
            await self._auditor._yielding.turn()
            part = todo[:OBJECTS_AT_ONCE_MAX]
            done = await device.disk.run(partial(examine, device.disk.fs, part))
            del todo[: len(done)]
            for examined in done:
                if examined is not None:
                    await self._take(cursor, examined)

    async def _take(self, cursor: Cursor, examined: Examined) -> None:
        try:
            count = len(examined.files.paths(examined.place))
            await self._bucket.take(count * OVERHEAD_BYTES + examined.size)
            if examined.problem is None:
                found = self._find(cursor, examined)
                await self._read_rest(examined)
                self._figures["files"] += count
                self._figures["bytes"] += examined.size
                if found is not None and examined.version is not None:
                    await self._compare(found, examined)
            elif isinstance(examined.problem, NodeError):
                self._complain("file not audited", examined.problem)
            else:
                raise examined.problem
        except _Misplaced as error:
            self._figures["misplaced"] += 1
            # Without the name that the file claims: it is not the one that other replicas have here.
            path = examined.files.paths(examined.place)[0]
            await self._device.set_aside(examined.place, Corrupt(path, str(error), foreign=True))
        except Corrupt as error:
            self._figures["corrupt"] += 1
            self._unreadable += error.reason.startswith("unreadable")
            await self._device.set_aside(examined.place, error)
        finally:
            if examined.rest is not None:
                examined.rest.file.close()

    async def _read_rest(self, examined: Examined) -> None:
        """Raises Corrupt."""
        rest = examined.rest
        if rest is None:
            return
        for start in range(0, rest.version.size, PIECE_BYTES):
            length = min(PIECE_BYTES, rest.version.size - start)
            await self._bucket.take(length)
            try:
                await self._device.disk.run(partial(rest.read, start, length))
            except OSError as error:
                raise unreadable(rest.path, error, examined.name) from error
            examined.size += length

    def _find(self, cursor: Cursor, examined: Examined) -> ObjectPlace | None:
        """Where the object belongs; None when not here, or where no ring says so. Raises _Misplaced."""
        if not valid_name(examined.name):
            raise _Misplaced("file of no object")
        try:
            found = self._placement.object(ObjectName(*examined.name[1:].split("/", 2)), cursor.policy)
        except Unavailable:  # no ring for the policy
            return None
        if found.hash != examined.place.hash:
            raise _Misplaced("file of another object")
        if found.replicas[0].target.partition != cursor.partition:  # perhaps the ring is of another size now
            self._figures["misplaced"] += 1
            return None
        return found

    async def _compare(self, found: ObjectPlace, examined: Examined) -> None:
        """Tell the container replica that this device keeps informed, if it is one of the object's primaries."""
        for replica, index in zip(found.replicas, found.index, strict=True):
            if replica.address in self._auditor._own and replica.target.device == self._device.name:
                assert examined.version is not None
                await self._rows.add(replica, index, found.hash, container_of(found.name), examined.version)

    # --- around it ---------------------------------------------------------------------------------------------

    def _strange(self, directory: str, count: int) -> None:
        self._figures["strange"] += count
        extra = {"device": self._device.name, "directory": directory, "count": count}
        logger.warning("names that are no object's; they are left alone", extra=extra)

    def _complain(self, what: str, error: Exception) -> None:
        self._figures["errors"] += 1
        if self._errors_logged < ERRORS_LOGGED_MAX:
            self._errors_logged += 1
            logger.warning(what, extra={"device": self._device.name, "error": str(error)})


class _Misplaced(Exception):
    """A sound file that belongs elsewhere."""


def _partitions(fs: FileSystem) -> tuple[list[Cursor], dict[str, int]]:
    """All partitions that have a directory, from behind the cursor on and around to it; and how many other names there are, by
    directory. Blocking. Raises OSError.
    """
    found: list[Cursor] = []
    strange: dict[str, int] = {}
    for top in fs.list_directory(""):
        policy = policy_of_directory(top)
        if policy is None:
            continue
        for name in fs.list_directory(top):
            if name.isdecimal() and partition_directory(policy, int(name)) == f"{top}/{name}":
                found.append(Cursor(policy, int(name)))
            else:
                strange[top] = strange.get(top, 0) + 1
    cursor = _read_cursor(fs)
    return sorted(found, key=lambda one: (one <= cursor, one)), strange


def _read_cursor(fs: FileSystem) -> Cursor:
    """Blocking. A missing or unreadable one is no reason not to audit."""
    try:
        file = fs.open(CURSOR)
        try:
            return decode_cursor(file.pread(CURSOR_BYTES_MAX, 0))
        finally:
            file.close()
    except FileNotFoundError:
        return Cursor()
    except (OSError, ValueError) as error:
        logger.warning("cursor unreadable, the audit begins at the first partition", extra={"error": str(error)})
        return Cursor()


def _write_cursor(fs: FileSystem, cursor: Cursor) -> None:
    """Whole or not at all, but not synced: one that a power cut takes back costs reading twice. Blocking. Raises OSError."""
    file = fs.create_temp()
    try:
        file.write(encode_cursor(cursor))
        fs.publish(file, CURSOR)
    finally:
        fs.discard(file)
