"""Curves: where they bend, how they are drawn; and placement, the one that needs no cluster."""

import math

import pytest
from defusedxml import ElementTree

from bench.growth.curves import Curve, bend, shape
from bench.growth.lines import draw
from bench.growth.placing import by_devices, made_ring


@pytest.mark.parametrize(
    ("costs", "place"),
    [
        ([100, 110, 90, 115], None),
        ([100, 104, 300, 900], 2),
        ([100, 1000, 10_000, 100_000], 1),
        ([100, 300, 100, 105], None),
        ([400, 320, 390, 410], None),
        ([400, 300, 200, 390], 3),
    ],
    ids=["noise", "a bend", "from the start", "one bad figure", "less, then as before", "less, then more"],
)
def test_where_it_bends(costs: list[float], place: int | None) -> None:
    assert bend([(10 ** (power + 1), cost) for power, cost in enumerate(costs)]) == place


def test_a_shape_says_how_it_goes_on() -> None:
    assert shape([(10, 5.0), (100, 5.2), (1000, 52.0), (10_000, 520.0)]) == "flat to 100, then 100 times by 10,000 (n^1.00)"
    assert shape([(10, 5.0), (1000, 50.0)]) == "from 10, then 10 times by 1,000 (n^0.50)"
    assert shape([(10, 5.0), (100, 5.5)]) == "flat"
    assert shape([(1, 10.0), (100, 5.0)]) == "falls to 0.50 times"


def test_a_curve_is_drawn_with_all_its_points(capsys: pytest.CaptureFixture[str]) -> None:
    curve = Curve("growth-rows", "CPU time <by> objects", "objects", "CPU µs")
    for size, cost in ((1000, 50.0), (10_000, 55.0), (100_000, 400.0)):
        curve.add("GET", size, cost)
    curve.add("PUT", 1000, 2500.0)
    assert "GET" in capsys.readouterr().out
    picture = ElementTree.fromstring(draw(curve))
    space = "{http://www.w3.org/2000/svg}"
    assert len(picture.findall(f"{space}circle")) == 4
    heights = [float(circle.attrib["cy"]) for circle in picture.findall(f"{space}circle")][:3]
    assert heights == sorted(heights, reverse=True), "what costs more stands higher"
    head, rows = curve.table()
    assert head[1:] == ["1,000", "10,000", "100,000", "shape"]
    assert rows[0] == ["GET", "50", "55", "400", "flat to 10,000, then 7.27 times by 100,000 (n^0.86)"]
    assert rows[1] == ["PUT", "2,500", "", "", ""]


def test_rings_are_as_large_as_they_say() -> None:
    ring = made_ring(30)
    assert ring.partition_count >= 1000 and ring.replica_count == 3
    assert all(len(ring.primaries(partition)) == 3 for partition in range(ring.partition_count))
    spread = [sum(row.count(device) for row in ring.rows) for device in range(30)]
    assert min(spread) > ring.partition_count * 3 / 30 / 2


def test_placement_is_measured_for_each_size() -> None:
    curve = by_devices([10, 20])
    assert len(curve.series) == 4 and len(curve.notes) == 2
    assert all(size in (10, 20) and math.isfinite(cost) and cost > 0 for points in curve.series.values() for size, cost in points)
