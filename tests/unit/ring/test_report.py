"""Reports: numbers checked against Swift's for the same rows, and the pages that show them."""

from __future__ import annotations

import re
from array import array
from copy import deepcopy

import pytest

from ring import report
from ring.builder import RingBuilder


def laid_out(places: list[tuple[int, int, int, float]], rows: list[list[int]], part_power: int) -> RingBuilder:
    builder = RingBuilder(part_power, sum(map(len, rows)) / (1 << part_power), 1)
    for number, (region, zone, server, weight) in enumerate(places):
        builder.add_device(region=region, zone=zone, ip=f"10.0.0.{server}", port=6200, device=f"d{number}", weight=weight)
    builder.rows = [array("H", row) for row in rows]
    builder.moved_at_s = array("I", [0] * builder.partition_count)
    return builder


SIXTEEN = [(i // 8 + 1, i // 4 % 2 + 1, i // 2, 100.0) for i in range(16)]


@pytest.mark.parametrize(
    ("rows", "crowded"),
    [
        ([[0, 0], [4, 4], [8, 8]], 0),
        ([[0, 0], [2, 2], [4, 4]], 2),
        ([[0, 0], [1, 2], [2, 8]], 3),
        ([[0, 0], [1, 4], [8, 8]], 1),
    ],
)
def test_dispersion_counts_replicas_beyond_the_best_spread(rows: list[list[int]], crowded: int) -> None:
    """Swift reports crowded / 6 for each of these."""
    assert report.dispersion(laid_out(SIXTEEN, rows, 1)).percent == pytest.approx(100 * crowded / 6)


def test_dispersion_by_failure_domain() -> None:
    result = report.dispersion(laid_out(SIXTEEN, [[0, 0], [1, 2], [2, 8]], 1))
    domains = {domain.name: domain for domain in result.domains}
    assert domains["r1"].partitions == (0, 0, 1, 1)
    assert (domains["r1"].replica_count, domains["r1"].replicas_max, domains["r1"].crowded_percent) == (5, 2, 20.0)
    assert domains["r2z1-10.0.0.4/d8"].partitions == (1, 1, 0, 0)
    assert "r2z2" not in domains
    assert list(domains) == sorted(domains)


def test_balance_is_against_the_share_by_weight() -> None:
    """Swift says 225 for these rows: device 1 holds 6 and its weight is worth 24 * 100 / 1300."""
    places = [(1, i + 1, i, weight) for i, weight in enumerate((100.0, 100.0, 100.0, 1000.0))]
    builder = laid_out(places, [[3] * 8, [0, 1, 2, 0, 1, 2, 0, 1], [1, 2, 0, 1, 2, 0, 1, 2]], 3)
    assert report.device_loads(builder) == {0: 5, 1: 6, 2: 5, 3: 8}
    assert report.balance(builder) == pytest.approx(225)
    assert report.device_balances(builder)[3] == pytest.approx(100 * 8 / (24 * 1000 / 1300) - 100)


def test_what_should_hold_nothing_and_holds_something_is_far_off() -> None:
    builder = laid_out([(1, i, i, 100.0 * (i != 3)) for i in range(4)], [[3] * 8, [0] * 8], 3)
    assert report.balance(builder) == report.BALANCE_MAX == 999.99
    assert report.dispersion(builder).percent == 50.0


def test_an_empty_builder_has_reports() -> None:
    builder = RingBuilder(3, 3, 1)
    assert report.balance(builder) == report.dispersion(builder).percent == 0.0
    assert len(list(report.summary_lines("x.builder", builder, "note", 0))) == 5
    builder.add_device(zone=1, ip="10.0.0.1", port=6200, device="sda", weight=1)
    assert report.balance(builder) == 100.0
    assert report.dispersion(builder).percent == 0.0


def test_the_summary_has_a_line_per_device() -> None:
    builder = laid_out(SIXTEEN, [[0, 0], [4, 4], [8, 8]], 1)
    builder.add_device(region=3, zone=1, ip="fe80::1", port=6200, device="sdb", weight=5, meta="by the window", replication_port=7)
    builder.remove_device(16)
    builder.rebalanced_at_s = 1000
    lines = list(report.summary_lines("x.builder", builder, "Ring file x.ring.gz is obsolete", 1000 + 1799.5))
    assert lines[0] == f"x.builder, build version {builder.version}"
    assert lines[1].startswith("2 partitions, 3.000000 replicas, 3 regions, 5 zones, 17 devices, ")
    assert lines[2].endswith("is 1 (0:30:01 remaining)")
    assert lines[3] == "The overload factor is 0.00% (0.000000)"
    assert len(lines) == 6 + 17
    last = lines[-1].split()
    assert last == ["16", "3", "1", "[fe80::1]:6200", "[fe80::1]:7", "sdb", "0.00", "0", "0.00", "DEL", "by", "the", "window"]


def test_partitions_with_most_matches_come_first() -> None:
    builder = laid_out(SIXTEEN, [[0, 1, 0, 5], [2, 0, 3, 6]], 2)
    assert [line.split() for line in report.partition_lines(builder, {0, 1})][1:] == [["1", "2"], ["0", "1"], ["2", "1"]]


def test_the_dispersion_page_can_be_filtered() -> None:
    builder = laid_out(SIXTEEN, [[0, 0], [1, 2], [2, 8]], 1)
    result = report.dispersion(builder)
    page = list(report.dispersion_lines(builder, result, re.compile(r"r\d+$"), table=True))
    assert page[0].startswith("Dispersion is 50.000000, Balance is ")
    assert page[2] == "Worst tier is 20.000000 (r1)"
    assert [line.split() for line in page[6:]] == [
        ["r1", "5", "20.00", "2", "0", "0", "1", "1"],
        ["r2", "1", "0.00", "2", "1", "1", "0", "0"],
    ]
    assert list(report.dispersion_lines(builder, result, re.compile("none"), table=True))[5:] == []
    assert len(list(report.dispersion_lines(builder, result, None, table=False))) == 3


def test_a_plan_says_what_comes_and_goes() -> None:
    before = RingBuilder(6, 2, 0)
    for zone in range(3):
        before.add_device(zone=zone, ip="10.0.0.1", port=6200, device=f"d{zone}", weight=1)
    before.rebalance()
    before.add_device(zone=3, ip="10.0.0.1", port=6200, device="d3", weight=1)
    after = deepcopy(before)
    result = after.rebalance()
    lines = [line.split() for line in report.plan_lines(before, after, result)]
    assert lines[0][:4] == ["A", "rebalance", "would", "assign"]
    table = {words[0].rpartition("/")[2]: [int(word) for word in words[1:]] for words in lines[3:]}
    loads = report.device_loads(after)
    assert table["d3"] == [0, 32, 0, 32]
    assert {name: numbers[3] for name, numbers in table.items()} == {f"d{i}": loads[i] for i in range(4)}
    assert sum(numbers[1] for numbers in table.values()) == sum(numbers[2] for numbers in table.values()) == result.moved
