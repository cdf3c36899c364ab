"""Power cuts at every boundary of every change, in memory: each state that may be left is started on and checked."""

import pytest

from tests.faults.crashfs import CrashFileSystem
from tests.faults.figures import Count
from tests.faults.histories import CASES, drawn
from tests.faults.recorder import Recorder

JOURNALS = (0, 2)
"""How many groups come between the checkpoints of the journal; 0: all changes are synced one by one."""
SEEDS = range(1, 9)
"""Each gives between one and four thousand states; print one again with `-k "drawn and 3"`."""


def report(recorder: Recorder, count: Count) -> None:
    count(
        "crash states",
        **{
            "distinct states": len(recorder.images),
            "boundaries": recorder.boundaries,
            "boundaries of recovery": recorder.recovery_boundaries,
            "listed by sample": recorder.figures.sampled,
            "violations": len(recorder.violations),
        },
    )
    assert not recorder.violations, "\n".join(recorder.violations[:5])


@pytest.mark.parametrize("journal", JOURNALS)
@pytest.mark.parametrize("name", CASES)
async def test_case(name: str, journal: int, count: Count) -> None:
    case, recorder = CASES[name], Recorder()
    await recorder.run(case.act, case.setup, **case.options, journal=journal)
    assert recorder.boundaries >= (4 if journal else 6) and len(recorder.images) >= 5
    report(recorder, count)


@pytest.mark.parametrize("journal", JOURNALS)
@pytest.mark.parametrize("seed", SEEDS)
async def test_drawn(seed: int, journal: int, count: Count) -> None:
    case, recorder = drawn(seed), Recorder(seed=seed)
    await recorder.run(case.act, case.setup, **case.options, journal=journal)
    assert len(recorder.images) > 500, f"seed {seed} draws too tame a history"
    report(recorder, count)


@pytest.mark.parametrize("name", ["put", "large put", "a group of each kind", "rows wait"])
async def test_case_with_named_temporary_files(name: str, count: Count) -> None:
    case = CASES[name]
    recorder = Recorder(make=lambda image: CrashFileSystem(image, nameless=False))
    await recorder.run(case.act, case.setup, **case.options)
    assert len(recorder.images) >= 10
    report(recorder, count)


@pytest.mark.parametrize("journal", JOURNALS)
@pytest.mark.parametrize("name", ["put", "large put", "overwrite", "delete of nothing", "row waits", "a group of new objects"])
async def test_killed_and_later_cut(name: str, journal: int, count: Count) -> None:
    case, recorder = CASES[name], Recorder()
    await recorder.run_killed(case.act, case.setup, **case.options, journal=journal)
    assert len(recorder.images) > 20
    report(recorder, count)
