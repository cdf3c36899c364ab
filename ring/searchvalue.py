"""The short forms in which ring tools write devices on a command line.

    d<id>r<region>z<zone>-<ip>:<port>R<replication ip>:<replication port>/<device>_<meta>

A search value has at least one of these parts; a value to add has zone, address, port and device; a value to change has any
from the address on. IPv6 addresses stand in brackets. The same as OpenStack Swift's.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from ring.builder import DeviceChange
from ring.device import Device

_SHAPE = re.compile(
    r"(?:d(?P<id>\d{1,9}))?"
    r"(?:r(?P<region>\d{1,9}))?"
    r"(?:z(?P<zone>\d{1,9}))?"
    r"(?P<dash>-)?"
    r"(?P<ip>\[[^\]]*\]|[0-9.]+|(?<=-)[A-Za-z0-9][A-Za-z0-9.-]*?(?=[:R/_]|\Z))?"
    r"(?::(?P<port>\d{1,5}))?"
    r"(?:R(?P<replication_ip>\[[^\]]*\]|[0-9.]+|[A-Za-z0-9][A-Za-z0-9.-]*?(?=[:/_]|\Z))?"
    r"(?::(?P<replication_port>\d{1,5}))?)?"
    r"(?:/(?P<device>[^_]*))?"
    r"(?:_(?P<meta>.*))?",
    re.DOTALL,
)
_HOST = re.compile(r"(?=.{1,253}\Z)(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_NUMBERS = frozenset({"id", "region", "zone", "port", "replication_port"})


class ValueFormError(ValueError):
    """A value on the command line that has not the form asked for. The message is one plain line."""


class DeviceSearch:
    """What to look for in devices; a field that is None matches all."""

    __slots__ = ("_wanted",)

    def __init__(self, wanted: dict[str, object]) -> None:
        self._wanted = {name: value for name, value in wanted.items() if value is not None}

    def matches(self, device: Device) -> bool:
        """True when every field asked for is equal; `meta` need only be contained."""
        for name, value in self._wanted.items():
            actual = getattr(device, name)
            if value not in actual if name == "meta" else value != actual:
                return False
        return True

    def among(self, devices: Iterable[Device]) -> list[Device]:
        """The devices that match, in their order."""
        return [device for device in devices if self.matches(device)]


def parse_search(text: str) -> DeviceSearch:
    """Raises ValueFormError."""
    parts = _parts(text)
    if not parts or ("dash" in parts and "ip" not in parts):
        raise ValueFormError(f"Invalid <search-value>: {text!r}")
    parts.pop("dash", None)
    return DeviceSearch(parts)


def parse_new_device(text: str, weight: str) -> DeviceChange:
    """The fields of a device to add, all but its id. A region that is left out is not in the result. Raises ValueFormError."""
    parts = _parts(text)
    if not {"zone", "dash", "ip", "port", "device"} <= parts.keys() or "id" in parts:
        raise ValueFormError(f"Invalid add value: {text}")
    if not parts["device"]:
        raise ValueFormError("Invalid device name")
    if "replication_ip" in parts and "replication_port" not in parts:
        raise ValueFormError(f"Invalid add value: {text}")
    del parts["dash"]
    return DeviceChange(weight=parse_weight(weight), **parts)  # type: ignore[typeddict-item,no-any-return]


def parse_change(text: str) -> DeviceChange:
    """The fields to change; at least one. Raises ValueFormError."""
    parts = _parts(text)
    if not parts or not parts.keys() <= {"ip", "port", "replication_ip", "replication_port", "device", "meta"}:
        raise ValueFormError(f"Invalid value to change: {text!r}")
    return DeviceChange(**parts)  # type: ignore[typeddict-item,no-any-return]


def parse_address(text: str) -> str:
    """An IP address in its usual short form, with or without brackets, or a host name. Raises ValueFormError."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        if _HOST.fullmatch(text):
            return text
        raise ValueFormError(f"Invalid ip {text}") from None


def parse_weight(text: str) -> float:
    """Raises ValueFormError unless it is a finite number, 0 or more."""
    try:
        weight = float(text)
    except ValueError:
        raise ValueFormError(f"Invalid weight {text}") from None
    if not 0 <= weight < float("inf"):
        raise ValueFormError(f"Invalid weight {text}: it must be 0 or more")
    return weight


def _parts(text: str) -> dict[str, object]:
    match = _SHAPE.fullmatch(text)
    if not match:
        raise ValueFormError(f"Invalid value: {text!r}")
    parts: dict[str, object] = {}
    for name, part in match.groupdict().items():
        if part is None:
            continue
        if name in _NUMBERS:
            parts[name] = int(part)
        elif name in ("ip", "replication_ip"):
            parts[name] = parse_address(part)
        elif name == "meta":
            parts[name] = part[1:-1] if len(part) > 1 and part[0] == part[-1] == '"' else part
        else:
            parts[name] = part
    return parts
