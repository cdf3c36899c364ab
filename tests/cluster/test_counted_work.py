"""A request makes no more calls than the budget says: `tests/cluster/counted_work.json`, recorded by `make counted ARGS=--record`.

Calls are counted, not timed, so a slow or busy machine changes nothing. A change that needs more of them records a new budget and
says why; one that needs less does so too, or later changes may use up what it won.
"""

import pytest

from bench.counted import budget
from bench.counted.budget import ROWS, RPC, least, limit, over
from bench.counted.counting import ALL, LIBRARIES, SYNCED

NEEDLESS = 20
RECORDED = budget.recorded()
without_budget = pytest.mark.skipif(RECORDED is None, reason=f"no budget for Python {budget.VERSION}: make counted ARGS=--record")


@without_budget
async def test_requests_make_no_more_calls_than_their_budget() -> None:
    assert RECORDED is not None
    counted, _ = await budget.count(RECORDED)
    lines = over(counted, RECORDED)
    assert not lines, "\n".join(["", *lines, "which functions: make counted ARGS='--functions 30'; a new budget: ARGS=--record"])


@without_budget
def test_twenty_needless_calls_are_too_many_for_every_package() -> None:
    assert RECORDED is not None and set(RECORDED) == {"PUT", "GET", "HEAD", "DELETE", "list 1,000"}
    for kind, parts in RECORDED.items():
        loose = (
            {ALL, LIBRARIES, ROWS} if kind in ("GET", "HEAD") else {ALL, LIBRARIES, ROWS, RPC}
        )  # a change sends more than ten messages
        for part in parts.keys() - loose:
            more = {**parts, part: parts[part] + NEEDLESS}
            assert any(f"{kind}: {part} " in line for line in over({kind: more}, RECORDED)), (kind, part)
    assert over(RECORDED, RECORDED) == []


def test_one_sync_more_is_too_many() -> None:
    assert limit(SYNCED, 9.0) < 10.0


def test_a_package_that_had_no_calls_may_not_have_twenty() -> None:
    assert over({"GET": {"objstore/new": 20.0}}, {"GET": {}}) == ["GET: objstore/new 20.0, budget 0.0, +20.0"]


def test_what_one_stretch_alone_saw_was_chance() -> None:
    first = {"objstore/rpc": 250.0, "objstore/tables": 2.0, "objstore/proxy": 110.0, SYNCED: 9.0, ALL: 362.0}
    second = {"objstore/rpc": 240.0, "objstore/proxy": 120.0, SYNCED: 9.0, ALL: 360.0}
    assert least(first, second) == {"objstore/rpc": 240.0, "objstore/proxy": 110.0, SYNCED: 9.0, ALL: 350.0}
