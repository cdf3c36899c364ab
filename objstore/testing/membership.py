"""Changes of the rings, and of who is in them, while the cluster runs."""

import asyncio
import time
from collections.abc import Callable, Collection

from objstore.app.rings import Rings, load_rings
from objstore.testing.failures import ClusterError
from objstore.testing.layout import WEIGHT
from objstore.testing.life import Life
from objstore.testing.passes import report_of
from ring.builder import BuilderError, RingBuilder
from ring.device import Device, DeviceError

POLL_S = 0.05
TIMEOUT_S = 30.0


class Membership:
    """Part of Cluster."""

    _life: Life

    async def update_rings(
        self, change: Callable[[RingBuilder], object], rings: Collection[str] | None = None, *, timeout_s: float = TIMEOUT_S
    ) -> None:
        """Apply `change` to the builder of each ring ("account", "container", "object", "object-1" ...; all when none is named),
        rebalance, write the rings, and wait until every process that runs has taken them up. Data moves when the replicators run.

        Raises ClusterError for a change that the builder refuses, and for a process that does not take them up.
        """
        layout, config = self._life.layout, self._life.config(self._life.nodes[0])
        changed_s = time.monotonic()
        try:
            await asyncio.to_thread(layout.change_rings, list(rings or layout.ring_names(config)), change, time.time())
        except (BuilderError, DeviceError) as error:
            raise ClusterError(str(error)) from error
        files = load_rings(config)
        deadline = changed_s + timeout_s
        while waiting := await self._behind(files, changed_s):
            if time.monotonic() > deadline:
                raise ClusterError("; ".join(waiting))
            await asyncio.sleep(POLL_S)

    async def add_node(self, devices: int | None = None, zone: int | None = None) -> str:
        """One more storage node, in all rings: as many devices as the others, in a zone of its own, unless said otherwise. Returns
        its name.
        """
        process = self._life.add_node(self._life.layout.shape.devices if devices is None else devices)
        member = process.member
        names = self._life.layout.devices_of(member)

        def change(builder: RingBuilder) -> None:
            for device in names:
                builder.add_device(zone=zone or member.host, ip=member.ip, port=member.port, device=device, weight=WEIGHT)

        await self.update_rings(change)
        self._life.launch(process, {})
        await self._life.ready([process])
        return member.name

    async def add_device(self, node: str) -> str:
        """One more device on a node, in all rings, in the zone of its others. Returns its name."""
        member = self._life.process(node).member
        device = self._life.layout.add_device(member)

        def change(builder: RingBuilder) -> None:
            zone = next(one.zone for one in builder.present_devices() if one.ip == member.ip)
            builder.add_device(zone=zone, ip=member.ip, port=member.port, device=device, weight=WEIGHT)

        await self.update_rings(change)
        return device

    async def remove_device(self, node: str, device: str) -> None:
        """Take a device out of all rings, as if it had broken: its node does not use it any more, what is on it stays there, and
        the replicators copy what others have. (`set_weight` 0 empties it first.)
        """
        ip = self._life.process(node).member.ip

        def change(builder: RingBuilder) -> None:
            builder.remove_device(_found(builder, ip, device).id)

        await self.update_rings(change)

    async def set_weight(self, node: str, device: str, weight: float) -> None:
        """Change a device's share of the data; 100 is what each has at first, 0 drains it."""
        ip = self._life.process(node).member.ip

        def change(builder: RingBuilder) -> None:
            builder.change_device(_found(builder, ip, device).id, weight=weight)

        await self.update_rings(change)

    async def _behind(self, files: Rings, changed_s: float) -> list[str]:
        """One plain line for each process that has not taken up the rings."""
        lines = [f"{name} is being replaced" for name, one in self._life.processes.items() if not one.in_place.is_set()]
        for member in self._life.serving(self._life.nodes):
            expected = {device.device for device in files.devices() if device.ip == member.ip}
            try:
                report = await report_of(self._life.client, member)
            except ClusterError as error:
                lines.append(str(error))
                continue
            if report.rings != files.digests:
                lines.append(f"{member.name} has other rings")
            elif {device.device for device in report.devices} != expected:
                lines.append(f"{member.name} has not opened its devices")
        for member in self._life.serving(self._life.proxies):
            process = self._life.process(member.name)
            words = [f"{name}={digest}" for name, digest in files.digests.items()]
            taken_up = [line for line in process.log().splitlines() if "rings taken up" in line]
            if process.started_s < changed_s and not any(all(word in line for word in words) for line in taken_up):
                lines.append(f"{member.name} has other rings")
        return lines


def _found(builder: RingBuilder, ip: str, device: str) -> Device:
    for one in builder.present_devices():
        if (one.ip, one.device) == (ip, device):
            return one
    raise ClusterError(f"the ring has no device {device} at {ip}")
