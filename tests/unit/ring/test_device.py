"""Devices: defaults, printing, and what no ring can hold."""

import pytest

from ring.device import Device, DeviceError, address, device_from_json, device_to_json

ENTRY = {"id": 3, "region": 2, "zone": 1, "ip": "10.0.0.1", "port": 6200, "device": "sda", "weight": 100.0, "meta": "x"}


def test_replication_address_is_the_ordinary_one_by_default() -> None:
    device = Device(0, 1, 1, "::1", 6200, "sda", 1.0)
    assert (device.replication_ip, device.replication_port) == ("::1", 6200)
    assert str(device) == 'd0r1z1-[::1]:6200R[::1]:6200/sda_""'


def test_address_puts_ipv6_in_brackets() -> None:
    assert address("10.0.0.1", 80) == "10.0.0.1:80"
    assert address("fe80::1", 80) == "[fe80::1]:80"


def test_json_round_trip() -> None:
    device = Device(7, 2, 3, "10.0.0.1", 6200, "sdb", 12.5, "méta", "10.9.0.1", 6300)
    assert device_from_json(device_to_json(device)) == device


def test_entries_of_old_tools_lack_region_and_replication_address() -> None:
    old = {name: value for name, value in ENTRY.items() if name not in ("region", "meta")}
    assert device_from_json({**old, "weight": 5}) == Device(3, 1, 1, "10.0.0.1", 6200, "sda", 5.0)


@pytest.mark.parametrize(
    "change",
    [
        {"id": "3"},
        {"id": True},
        {"port": 65536},
        {"port": None},
        {"weight": -1.0},
        {"weight": float("nan")},
        {"weight": float("inf")},
        {"region": -1},
        {"zone": 1.5},
        {"ip": ""},
        {"ip": None},
        {"device": ""},
        {"device": "a/b"},
        {"device": ".."},
        {"device": "a\0b"},
    ],
)
def test_impossible_devices_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(DeviceError):
        device_from_json({**ENTRY, **change})


def test_a_device_is_an_object() -> None:
    with pytest.raises(DeviceError):
        device_from_json(["sda"])
