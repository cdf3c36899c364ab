"""A change is acknowledged only when every lease on what it replaced was given back or has run out."""

import asyncio

import pytest

from objstore.formats.messages import Message, Ready, RevokeLease
from objstore.model.errors import Code, NodeError
from objstore.rpc.interface import PeerTimeout, PeerUnavailable
from objstore.tables.leases import LEASE_S, Held, Leases, LeaseTable
from tests.unit.objstore.tables.rig import ManualClock, turns


class Holder:
    """A proxy's end of a connection."""

    def __init__(self, answer: Exception | None = None, *, alive: bool = True) -> None:
        self.alive = alive
        self.asked: list[Message] = []
        self.timeouts: list[float] = []
        self.answer = answer
        self.may_answer = asyncio.Event()

    async def call(self, request: Message, *, timeout_s: float) -> Message:
        self.asked.append(request)
        self.timeouts.append(timeout_s)
        await self.may_answer.wait()
        if self.answer is not None:
            raise self.answer
        return Ready()


async def started(leases: Leases, name: str = "/a/c") -> "asyncio.Task[None]":
    task = asyncio.create_task(leases.revoke("container", name))
    await turns()
    return task


async def test_nobody_to_tell_means_no_wait() -> None:
    leases = Leases(ManualClock())
    leases.grant("container", "/a/other", Holder())
    leases.grant("account", "/a/c", Holder())
    await asyncio.wait_for(leases.revoke("container", "/a/c"), 1)


async def test_each_holder_is_told_and_waited_for() -> None:
    clock = ManualClock()
    leases, holders = Leases(clock), [Holder(), Holder()]
    for holder in holders:
        assert leases.grant("container", "/a/c", holder) == LEASE_S
    revoking = await started(leases)
    assert [holder.asked for holder in holders] == [[RevokeLease("container", "/a/c")]] * 2
    holders[0].may_answer.set()
    await turns()
    assert not revoking.done()
    holders[1].may_answer.set()
    await asyncio.wait_for(revoking, 1)
    assert len(leases.table) == 0
    assert (leases.revoked, leases.waited_out) == (2, 0)


@pytest.mark.parametrize("failure", [PeerUnavailable("gone"), PeerTimeout("late"), NodeError(Code.BUSY, "no")])
async def test_a_holder_that_does_not_confirm_is_waited_out(failure: Exception) -> None:
    clock = ManualClock()
    leases, holder = Leases(clock), Holder(failure)
    leases.grant("container", "/a/c", holder)
    await clock.pass_time(0.5)
    revoking = await started(leases)
    assert holder.timeouts == [pytest.approx(LEASE_S - 0.5)]
    holder.may_answer.set()
    await turns()
    assert not revoking.done()
    await clock.pass_time(LEASE_S - 0.6)
    assert not revoking.done()
    await clock.pass_time(0.2)
    assert revoking.done()
    assert leases.waited_out == 1


async def test_a_broken_connection_is_not_called_but_waited_out() -> None:
    clock = ManualClock()
    leases, holder = Leases(clock), Holder(alive=False)
    leases.grant("container", "/a/c", holder)
    revoking = await started(leases)
    assert (holder.asked, revoking.done()) == ([], False)
    await clock.pass_time(LEASE_S)
    assert revoking.done()


async def test_a_lease_that_ran_out_needs_no_telling() -> None:
    clock = ManualClock()
    leases, holder = Leases(clock), Holder()
    leases.grant("container", "/a/c", holder)
    await clock.pass_time(LEASE_S)
    await asyncio.wait_for(leases.revoke("container", "/a/c"), 1)
    assert holder.asked == []


async def test_a_lease_granted_during_a_revocation_stays() -> None:
    clock = ManualClock()
    leases, holder = Leases(clock), Holder()
    leases.grant("container", "/a/c", holder)
    revoking = await started(leases)
    await clock.pass_time(0.1)
    leases.grant("container", "/a/c", holder)
    holder.may_answer.set()
    await asyncio.wait_for(revoking, 1)
    assert [lease.holder for lease in leases.table.held(("container", "/a/c"), clock.monotonic())] == [holder]


def test_what_does_not_fit_gets_no_lease() -> None:
    table: LeaseTable[int] = LeaseTable(lease_s=2.0, leases_max=3)
    assert [table.grant(("container", f"/a/{i}"), i, 10.0) for i in range(4)] == [2.0, 2.0, 2.0, 0.0]
    assert table.grant(("container", "/a/3"), 3, 11.9) == 0.0
    assert table.grant(("container", "/a/3"), 3, 12.0) == 2.0
    assert len(table) == 1


def test_a_renewed_lease_ends_later_and_counts_once() -> None:
    table: LeaseTable[str] = LeaseTable(lease_s=2.0)
    table.grant(("account", "/a"), "p", 10.0)
    table.grant(("account", "/a"), "p", 11.0)
    assert table.held(("account", "/a"), 12.5) == [Held("p", 13.0)]
    table.release(("account", "/a"), Held("p", 12.0))
    assert len(table) == 1
    table.grant(("account", "/b"), "p", 13.5)
    assert table.held(("account", "/a"), 12.5) == []
