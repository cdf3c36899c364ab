"""One device of a ring: a disk at an address, inside a failure domain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

REGION_MAX = ZONE_MAX = 2**31 - 1
PORT_MAX = 65535


class DeviceError(ValueError):
    """A device that no ring can hold. The message is one plain line."""


@dataclass(frozen=True, slots=True)
class Device:
    """A disk that holds partitions; region > zone > ip > device are its failure domains, widest first.

    `weight` is its share relative to the other devices (0 drains it). An empty `replication_ip` or a
    `replication_port` of 0 becomes the ordinary `ip` or `port`.
    """

    id: int
    region: int
    zone: int
    ip: str
    port: int
    device: str
    weight: float
    meta: str = ""
    replication_ip: str = ""
    replication_port: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", float(self.weight))
        if not self.replication_ip:
            object.__setattr__(self, "replication_ip", self.ip)
        if not self.replication_port:
            object.__setattr__(self, "replication_port", self.port)

    def __str__(self) -> str:
        """The form that ring tools print: d0r1z1-127.0.0.1:6200R127.0.0.1:6200/sda_"meta"."""
        return (
            f"d{self.id}r{self.region}z{self.zone}-{address(self.ip, self.port)}"
            f'R{address(self.replication_ip, self.replication_port)}/{self.device}_"{self.meta}"'
        )


def address(ip: str, port: int) -> str:
    """`ip:port`, an IPv6 address in brackets (RFC 3986, section 3.2.2)."""
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def device_to_json(device: Device) -> dict[str, object]:
    """The keys of a `devs` entry of a ring file (Swift, "Ring File Formats")."""
    return {name: getattr(device, name) for name in sorted(_KINDS)}


def device_from_json(entry: object) -> Device:
    """A device from a `devs` entry. Files of old tools have no region (1) and no replication address (the ordinary one).

    Raises DeviceError when a field is missing, of the wrong kind or out of its range.
    """
    if not isinstance(entry, Mapping):
        raise DeviceError("a device is not a JSON object")
    values: dict[str, object] = {"region": 1, "meta": "", "replication_ip": None, "replication_port": None, **entry}
    values["replication_ip"] = values["replication_ip"] or values.get("ip")
    values["replication_port"] = values["replication_port"] or values.get("port")
    fields: dict[str, object] = {}
    for name, kind in _KINDS.items():
        value = values.get(name)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise DeviceError(f"device field {name!r} is missing or is not of type {kind.__name__}")
        fields[name] = value
    return checked(Device(**fields))  # type: ignore[arg-type]


def checked(device: Device) -> Device:
    """The device itself, or DeviceError with the first field that is out of its range."""
    if not 0 <= device.region <= REGION_MAX or not 0 <= device.zone <= ZONE_MAX:
        raise DeviceError(f"region and zone must be from 0 to {REGION_MAX}")
    if not 0 <= device.port <= PORT_MAX or not 0 <= device.replication_port <= PORT_MAX:
        raise DeviceError(f"ports must be from 0 to {PORT_MAX}")
    if not 0.0 <= device.weight < float("inf"):
        raise DeviceError("the weight must be a finite number, 0 or more")
    if not device.ip or not device.device:
        raise DeviceError("a device needs an address and a name")
    if "/" in device.device or device.device in (".", "..") or not device.device.isprintable():
        raise DeviceError("a device name is one name of a directory, without a slash")
    return device


_KINDS: dict[str, type] = {
    "id": int,
    "region": int,
    "zone": int,
    "ip": str,
    "port": int,
    "device": str,
    "weight": float,
    "meta": str,
    "replication_ip": str,
    "replication_port": int,
}
