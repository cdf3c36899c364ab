"""Notices that a device went away while its process runs, and that one came (back) which the process does not have."""

import asyncio
import logging
from collections.abc import Callable, Sequence

from objstore.app.storage import OpenedDevice
from objstore.runtime.device import DeviceRefused, open_device
from objstore.runtime.interface import Clock

INTERVAL_S = 1.0
REPLACE_INTERVAL_S = 10.0
log = logging.getLogger("objstore.device")


class DeviceWatch:
    """Of all devices of a process."""

    def __init__(self, devices: Sequence[OpenedDevice], fingerprint: str, clock: Clock, replace: Callable[[], None]) -> None:
        """`replace()` asks for a new process in this one's place: it will open all devices that can be opened then."""
        self._devices = devices
        self._fingerprint = fingerprint
        self._clock = clock
        self._replace = replace
        self._absent: set[str] = set()
        self._replace_at = 0.0

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._clock.sleep(INTERVAL_S)
            await self.look()

    async def look(self) -> None:
        """Once at every device."""
        for device in self._devices:
            if device.disk is not None and not device.disk.gone:
                await self._look(device)
            elif await asyncio.to_thread(self._usable, device):
                self._came_back(device)

    async def _look(self, device: OpenedDevice) -> None:
        assert device.device is not None
        if not await asyncio.to_thread(device.device.fs.present):
            self._absent.add(device.name)
            device.give_up(f"{device.path}: it is not there any more: mount the disk")

    def _usable(self, device: OpenedDevice) -> bool:
        """Whether a new process could use a device that this one does not. Blocking."""
        if device.device is not None and device.device.fs.present():
            return device.name in self._absent  # else it was given up for another reason, which stays
        try:
            open_device(device.path, self._fingerprint, device.name).close()
        except DeviceRefused:
            return False
        return True

    def _came_back(self, device: OpenedDevice) -> None:
        now = self._clock.monotonic()
        if now >= self._replace_at:
            self._replace_at = now + REPLACE_INTERVAL_S
            log.info("device can be used again", extra={"device": device.name})
            self._replace()
