"""What queues while a group is written makes up the next one."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from objstore.model.errors import Code, NodeError
from objstore.tables.committer import Committer
from objstore.tables.database import Outcome


class Writer:
    """Records groups; holds each one until told to go on."""

    def __init__(self, **options: int) -> None:
        self.groups: list[tuple[str, list[str]]] = []
        self.settled: list[str] = []
        self.ended_in = ""
        self.go_on = threading.Semaphore(0)
        self.started = threading.Event()
        self.committer: Committer[str, str] = Committer("t", self._run, self._end, self.settled.append, **options)
        self.committer.start()

    def _run(self, key: str, jobs: Sequence[str]) -> list[Outcome]:
        self.groups.append((key, list(jobs)))
        self.started.set()
        self.go_on.acquire()
        if "defect" in jobs:
            raise RuntimeError("defect")
        return [NodeError(Code.CORRUPT, job) if job == "bad" else job.upper() for job in jobs]

    def _end(self) -> None:
        self.ended_in = threading.current_thread().name

    async def first_running(self, key: str = "first") -> "asyncio.Task[Outcome]":
        task = asyncio.create_task(self.committer.submit(key, "x"))
        await asyncio.to_thread(self.started.wait)
        return task

    def release(self) -> None:
        self.go_on.release(1000)


async def test_all_that_waits_for_one_database_is_one_group() -> None:
    writer = Writer()
    first = await writer.first_running()
    tasks = [asyncio.create_task(writer.committer.submit(key, f"{key}{i}")) for i in range(50) for key in "ab"]
    await asyncio.sleep(0)
    writer.release()
    assert await asyncio.gather(*tasks) == [f"{key}{i}".upper() for i in range(50) for key in "ab"]
    assert await first == "X"
    assert writer.groups[1:] == [("a", [f"a{i}" for i in range(50)]), ("b", [f"b{i}" for i in range(50)])]
    assert writer.settled == ["first", "a", "b"]
    assert (writer.committer.figures.groups, writer.committer.figures.operations) == (3, 101)
    await writer.committer.stop()


async def test_one_job_of_a_group_may_be_refused() -> None:
    writer = Writer()
    first = await writer.first_running()
    good, bad = (asyncio.create_task(writer.committer.submit("a", job)) for job in ("good", "bad"))
    await asyncio.sleep(0)
    writer.release()
    with pytest.raises(NodeError, match="bad"):
        await bad
    assert (await good, await first) == ("GOOD", "X")
    await writer.committer.stop()


async def test_the_queue_is_bounded_and_groups_are_too() -> None:
    writer = Writer(queue_max=6, group_max=2)
    first = await writer.first_running()
    tasks = [asyncio.create_task(writer.committer.submit("a", str(i))) for i in range(5)]
    await asyncio.sleep(0)
    with pytest.raises(NodeError) as raised:
        await writer.committer.submit("a", "too many")
    assert raised.value.code is Code.BUSY
    writer.release()
    await asyncio.gather(first, *tasks)
    assert [jobs for _, jobs in writer.groups] == [["x"], ["0", "1"], ["2", "3"], ["4"]]
    assert writer.committer.queued == 0
    await writer.committer.stop()


async def test_a_defect_ends_neither_the_thread_nor_goes_unheard() -> None:
    writer = Writer()
    writer.release()
    with pytest.raises(NodeError) as raised:
        await writer.committer.submit("a", "defect")
    assert raised.value.code is Code.INTERNAL
    assert await writer.committer.submit("a", "next") == "NEXT"
    await writer.committer.stop()


async def test_a_cancelled_wait_does_not_disturb_the_group() -> None:
    writer = Writer()
    first = await writer.first_running()
    cancelled, other = (asyncio.create_task(writer.committer.submit("a", job)) for job in ("one", "two"))
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.gather(cancelled, return_exceptions=True)
    writer.release()
    assert (await other, await first) == ("TWO", "X")
    assert writer.groups[1] == ("a", ["one", "two"])
    await writer.committer.stop()


async def test_stop_finishes_what_is_queued_and_refuses_the_rest() -> None:
    writer = Writer()
    first = await writer.first_running()
    queued = asyncio.create_task(writer.committer.submit("a", "last"))
    await asyncio.sleep(0)
    stopping = asyncio.create_task(writer.committer.stop())
    await asyncio.sleep(0)
    with pytest.raises(NodeError) as raised:
        await writer.committer.submit("a", "late")
    assert raised.value.code is Code.DEVICE_FAILED
    writer.release()
    await stopping
    assert (await queued, await first) == ("LAST", "X")
    assert writer.ended_in == "tables-t"
