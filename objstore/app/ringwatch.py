"""Takes up ring files that change: the rings in use are replaced, and the process if its own devices are others now."""

import asyncio
import logging
import os
from collections.abc import Callable

from objstore.app.config import Config
from objstore.app.configfile import ConfigError
from objstore.app.rings import Rings as RingFiles
from objstore.app.rings import load_rings, ring_names, ring_path
from objstore.placement.places import Rings
from objstore.runtime.interface import Clock

log = logging.getLogger("objstore.rings")

Stamps = tuple[tuple[int, int, int] | None, ...]


def placement_rings(config: Config, files: RingFiles) -> Rings:
    """The rings as placement wants them. Whoever holds them follows every later change."""
    prefix, suffix = config.cluster.hash_prefix.encode(), config.cluster.hash_suffix.encode()
    return Rings(files.account, files.container, dict(files.objects), prefix, suffix)


class RingWatch:
    """Looks at the files every `cluster.ring_check_interval_s`. One that cannot be read is no reason to give up the ring in use."""

    def __init__(self, config: Config, files: RingFiles, rings: Rings, clock: Clock) -> None:
        """`rings` are those made of `files`; they are changed in place."""
        self.files = files
        self.listeners: list[Callable[[RingFiles], None]] = []
        """Called on the event loop after the rings were replaced."""
        self._config = config
        self._rings = rings
        self._clock = clock
        self._seen: Stamps = ()  # not today's: a file may have been replaced since `files` were read

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._clock.sleep(self._config.cluster.ring_check_interval_s)
            await self.check()

    async def check(self) -> bool:
        """Look now; whether the rings in use were replaced."""
        stamps = await asyncio.to_thread(self._stamps)
        if stamps == self._seen:
            return False
        self._seen = stamps
        try:
            files = await asyncio.to_thread(load_rings, self._config)
        except ConfigError as error:
            for problem in error.problems:
                log.error("ring not taken up, the one in use stays", extra={"problem": problem})
            return False
        if files.digests == self.files.digests:
            return False
        self.files = files
        self._rings.account, self._rings.container = files.account, files.container
        self._rings.objects.clear()
        self._rings.objects.update(files.objects)
        log.info("rings taken up", extra=files.digests)
        for listener in self.listeners:
            listener(files)
        return True

    def _stamps(self) -> Stamps:
        """What changes when a file does."""
        return tuple(_stamp(ring_path(self._config, name)) for name in ring_names(self._config))


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
