"""Short forms of devices on the command line: Swift's own examples, and what is refused."""

import time

import pytest

from ring.device import Device
from ring.searchvalue import ValueFormError, parse_address, parse_change, parse_new_device, parse_search, parse_weight

DEVICES = (
    Device(0, 1, 1, "1.2.3.4", 5678, "sda", 1.0),
    Device(1, 4, 1, "1.2.3.4", 5678, "sdb1", 1.0, "shiny", "5.6.7.8", 5678),
    Device(74, 4, 1, "1.2.3.4", 5678, "sdb1", 1.0, "snet: 5.6.7.8"),
    Device(75, 1, 1, "::1", 5678, "sdc", 1.0),
    Device(76, 1, 2, "host.example.org", 1, "sdc", 1.0),
)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("d74", [74]),
        ("r4", [1, 74]),
        ("z1", [0, 1, 74, 75]),
        ("z1-1.2.3.4", [0, 1, 74]),
        ("1.2.3.4", [0, 1, 74]),
        ("z1:5678", [0, 1, 74, 75]),
        (":5678", [0, 1, 74, 75]),
        ("R5.6.7.8", [1]),
        ("R:5678", [0, 1, 74, 75]),
        ("1.2.3.4R5.6.7.8", [1]),
        ("/sdb1", [1, 74]),
        ("_shiny", [1]),
        ("_hin", [1]),
        ('_"snet: 5.6.7.8"', [74]),
        ("[::1]", [75]),
        ("[0:0::1]", [75]),
        ("z1-[::1]:5678", [75]),
        ("z2-host.example.org", [76]),
        ("-host.example.org:1/sdc", [76]),
        ('d74r4z1-1.2.3.4:5678/sdb1_"snet: 5.6.7.8"', [74]),
        ("d74r1", []),
    ],
)
def test_search_values(text: str, ids: list[int]) -> None:
    assert [device.id for device in parse_search(text).among(DEVICES)] == ids


def test_a_device_finds_itself_by_how_it_is_printed() -> None:
    for device in DEVICES:
        assert parse_search(str(device)).among(DEVICES) == [device]


@pytest.mark.parametrize(
    "text", ["", "-", "z1-", "foo", "d", "dx", "z", "[::1", "[zz]", "1.2.3", "999.1.1.1", ":99999999", "R5.6.7.8:x", "d1 "]
)
def test_what_is_no_search_value(text: str) -> None:
    with pytest.raises(ValueFormError):
        parse_search(text)


def test_new_devices() -> None:
    assert parse_new_device("r1z2-127.0.0.1:6200/sda", "100") == {
        **{"region": 1, "zone": 2, "ip": "127.0.0.1", "port": 6200, "device": "sda"},
        "weight": 100.0,
    }
    assert parse_new_device("z2-[::1]:6200R10.0.0.2:6300/sda_some meta_data/x", "0.5") == {
        **{"zone": 2, "ip": "::1", "port": 6200, "replication_ip": "10.0.0.2", "replication_port": 6300},
        **{"device": "sda", "meta": "some meta_data/x", "weight": 0.5},
    }


@pytest.mark.parametrize(
    ("text", "weight"),
    [
        ("r1z1-127.0.0.1/sda", "1"),
        ("r1z1-127.0.0.1:6200", "1"),
        ("r1z1-127.0.0.1:6200/", "1"),
        ("r1-127.0.0.1:6200/sda", "1"),
        ("r1z1127.0.0.1:6200/sda", "1"),
        ("d3r1z1-127.0.0.1:6200/sda", "1"),
        ("r1z1-127.0.0.1:6200R10.0.0.1/sda", "1"),
        ("r1z1-300.0.0.1:6200/sda", "1"),
        ("r1z1-127.0.0.1:6200/sda", "-1"),
        ("r1z1-127.0.0.1:6200/sda", "nan"),
        ("r1z1-127.0.0.1:6200/sda", "heavy"),
    ],
)
def test_what_is_no_new_device(text: str, weight: str) -> None:
    with pytest.raises(ValueFormError):
        parse_new_device(text, weight)


def test_changes() -> None:
    assert parse_change("_new") == {"meta": "new"}
    assert parse_change("10.0.0.1:7000/sdz_") == {"ip": "10.0.0.1", "port": 7000, "device": "sdz", "meta": ""}
    assert parse_change("R:6100") == {"replication_port": 6100}
    for text in ("", "z1", "d1", "-1.2.3.4", "sda"):
        with pytest.raises(ValueFormError):
            parse_change(text)


def test_addresses_and_weights() -> None:
    assert [parse_address(text) for text in ("[::0:1]", "::1", "127.0.0.1", "node-1.example")] == [
        "::1",
        "::1",
        "127.0.0.1",
        "node-1.example",
    ]
    for text in ("", "a b", "-a", "a-", "127.1", "a..b", "x" * 64, "a/b"):
        with pytest.raises(ValueFormError):
            parse_address(text)
    assert parse_weight("1e3") == 1000.0
    for text in ("", "-0.1", "inf", "nan", "x"):
        with pytest.raises(ValueFormError):
            parse_weight(text)


@pytest.mark.parametrize(
    "text", ["z1-" + "a" * 100_000, "z1-" + "a-" * 50_000 + "!", "1." * 50_000, "R" * 100_000, "z1-" + "." * 50_000]
)
def test_long_values_are_refused_quickly(text: str) -> None:
    start_s = time.perf_counter()
    with pytest.raises(ValueFormError):
        parse_search(text)
    assert time.perf_counter() - start_s < 0.5
