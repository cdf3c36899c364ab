"""Removing what a device need not hold any more: copies that were handed back, deletions that everybody may forget.

The one rule: of an object's files the newest goes last. An older file that outlived it would be the object again. A crash may keep
a later removal and lose an earlier one, so the directory is synced in between.
"""

from collections.abc import Callable, Mapping
from functools import partial

from objstore.formats.filenames import FileName, parse_file_name, partition_directory
from objstore.object.crashes import REMOVAL_OLDER_GONE
from objstore.object.device import ObjectDevice, read_failed
from objstore.object.files import NOTHING, Files, Place
from objstore.runtime.interface import CrashPoints, FileSystem

Names = dict[bytes, list[FileName]]


class Removal:
    """Used in the event loop alone."""

    def __init__(self, points: CrashPoints) -> None:
        self._points = points

    async def reclaim(self, device: ObjectDevice, policy: int, partition: int, horizon: int) -> int:
        """Forget the deletions below `horizon`; returns how many. Whoever calls knows that all primaries hold the same.

        Raises NodeError device_failed, busy.
        """

        def forgettable(_: bytes, files: Files) -> bool:
            return files.deleted and files.timestamp < horizon

        return await self._sweep(device, policy, partition, forgettable, leaves=False)

    async def remove(
        self, device: ObjectDevice, policy: int, partition: int, confirmed: Mapping[bytes, Files], horizon: int
    ) -> int:
        """Remove the objects that are still as in `confirmed`, and deletions below `horizon`; returns how many, and removes the
        directory when it is empty. Raises NodeError device_failed, busy.
        """

        def unneeded(hash_: bytes, files: Files) -> bool:
            return confirmed.get(hash_) == files or (files.deleted and files.timestamp < horizon)

        return await self._sweep(device, policy, partition, unneeded, leaves=True)

    async def _sweep(
        self, device: ObjectDevice, policy: int, partition_: int, unneeded: Callable[[bytes, Files], bool], *, leaves: bool
    ) -> int:
        device.require_writable()
        directory = partition_directory(policy, partition_)
        fs, removed = device.disk.fs, 0
        try:
            names = await device.disk.run(partial(_names, fs, directory))
            for hash_ in names:
                place = Place(directory, hash_)
                if not unneeded(hash_, await device.files(place)):
                    continue
                async with device.locks.of(place):
                    files = await device.files(place)
                    if files == NOTHING or not unneeded(hash_, files):
                        continue  # changed just now
                    await device.removing(place, files)
                    await device.disk.settle()  # or a crash might bring back some of what goes
                    await device.disk.run(partial(self._unlink, fs, place, files, names[hash_]))
                    device.index.put(place, NOTHING)
                    removed += 1
            if leaves and not await device.disk.run(partial(fs.list_directory, directory)):
                await device.leaving(directory)
            if await device.disk.run(partial(fs.remove_directory, directory)):
                device.index.forget(directory)
        except OSError as error:
            raise read_failed(error) from error
        return removed

    def _unlink(self, fs: FileSystem, place: Place, files: Files, names: list[FileName]) -> None:
        """In a disk thread."""
        newest_last = list(reversed(files.paths(place)))
        older = [path for name in names if (path := place.path(name.timestamp, name.kind)) not in newest_last]
        for path in older:
            fs.unlink(path)
        for path in newest_last[:-1]:
            fs.unlink(path)
        if older or len(newest_last) > 1:
            fs.sync_directory(place.directory)
        self._points.reach(REMOVAL_OLDER_GONE)
        fs.unlink(newest_last[-1])


def _names(fs: FileSystem, directory: str) -> Names:
    """All object files of a directory by hash."""
    found: Names = {}
    for text in fs.list_directory(directory):
        try:
            name = parse_file_name(text)
        except ValueError:
            continue
        found.setdefault(name.hash, []).append(name)
    return found
