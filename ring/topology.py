"""The tree of failure domains: the whole ring, its regions, their zones, their servers (an address), their devices."""

from __future__ import annotations

from collections.abc import Iterable

from ring.device import Device

ROOT = 0


class Topology:
    """Domains are numbered, parents before children, in the order of region, zone, address and device id.

    `children[n]` are the domains right inside domain n, `paths[device_id]` the four domains of a device, widest first, and
    `device_ids[n]` the device that domain n is, or None. `names[n]` is how ring tools write it, such as r1z2-10.0.0.1/sda.
    """

    __slots__ = ("children", "device_ids", "names", "paths")

    def __init__(self, devices: Iterable[Device]) -> None:
        self.children: list[list[int]] = [[]]
        self.device_ids: list[int | None] = [None]
        self.names: list[str] = [""]
        self.paths: dict[int, tuple[int, int, int, int]] = {}
        numbers: dict[tuple[object, ...], int] = {}
        for device in sorted(devices, key=lambda device: (device.region, device.zone, device.ip, device.id)):
            zone_name = f"r{device.region}z{device.zone}"
            region = self._domain(numbers, ROOT, (device.region,), f"r{device.region}")
            zone = self._domain(numbers, region, (device.region, device.zone), zone_name)
            server = self._domain(numbers, zone, (device.region, device.zone, device.ip), f"{zone_name}-{device.ip}")
            disk = self._domain(numbers, server, (device.id, None), f"{zone_name}-{device.ip}/{device.device}")
            self.device_ids[disk] = device.id
            self.paths[device.id] = (region, zone, server, disk)

    def _domain(self, numbers: dict[tuple[object, ...], int], parent: int, key: tuple[object, ...], name: str) -> int:
        number = numbers.setdefault(key, len(self.children))
        if number == len(self.children):
            self.children.append([])
            self.device_ids.append(None)
            self.names.append(name)
            self.children[parent].append(number)
        return number

    def sums(self, by_device: dict[int, float]) -> list[float]:
        """Per domain, the sum over the devices inside it."""
        totals = [0.0] * len(self.children)
        for device_id, path in self.paths.items():
            for domain in (ROOT, *path):
                totals[domain] += by_device[device_id]
        return totals
