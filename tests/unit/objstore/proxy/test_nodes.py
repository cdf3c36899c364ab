"""Several calls at once, and what goes on after its client was answered."""

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable

import pytest

from objstore.formats.messages import Address, Message, NodeStatus, Ready
from objstore.model.errors import Code, NodeError
from objstore.proxy.knobs import ProxyKnobs
from objstore.proxy.nodes import FanOut, Nodes
from objstore.rpc.interface import Begun, CallsAsTasks, Done, Exchange, PeerTimeout, PeerUnavailable
from objstore.runtime.clock import SystemClock

PEERS = [Address("127.0.0.1", port) for port in range(4)]
KNOBS = ProxyKnobs(straggler_grace_s=0.1, stop_timeout_s=0.3)


class Script(CallsAsTasks):
    """A caller whose answers are functions, by port."""

    def __init__(self, *answers: Callable[[], Awaitable[Message]]) -> None:
        self._answers = answers
        self.cancelled = 0

    async def call(self, address: Address, request: Message, *, timeout_s: float, txn: str = "") -> Message:
        try:
            return await self._answers[address.port]()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    async def open(self, address: Address, request: Message, *, timeout_s: float, txn: str = "") -> Exchange:
        raise PeerUnavailable("no streams here")


def after(delay_s: float, outcome: Message | Exception) -> Callable[[], Awaitable[Message]]:
    async def answer() -> Message:
        await asyncio.sleep(delay_s)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return answer


def fan_out(*answers: Callable[[], Awaitable[Message]]) -> tuple[FanOut, Nodes, Script]:
    script = Script(*answers)
    nodes = Nodes(script, SystemClock(), KNOBS)
    fan = FanOut(nodes, "tx")
    for i in range(len(answers)):
        fan.call(i, PEERS[i], NodeStatus())
    return fan, nodes, script


async def test_outcomes_come_in_order_of_arrival() -> None:
    refusal = NodeError(Code.BUSY)
    fan, nodes, _ = fan_out(after(0.03, Ready()), after(0, refusal), after(0.01, PeerTimeout("late")))
    assert fan.outstanding == 3
    outcomes = [await fan.next() for _ in range(3)]
    assert [outcome[0] for outcome in outcomes if outcome] == [1, 2, 0]
    assert outcomes[0] == (1, refusal)
    assert outcomes[2] == (0, Ready())
    assert await fan.next() is None
    assert nodes.failures.troubled(PEERS[2])
    assert not nodes.failures.troubled(PEERS[1])


async def test_waiting_has_an_end() -> None:
    fan, _, script = fan_out(after(5, Ready()), after(0, Ready()))
    assert await fan.next(0.05) == (1, Ready())
    assert await fan.next(0.02) is None
    assert (fan.outstanding, fan.pending, fan.waits_for(0), fan.waits_for(1)) == (1, [PEERS[0]], True, False)
    fan.cancel()
    await asyncio.sleep(0)
    assert (script.cancelled, fan.outstanding) == (1, 0)


async def test_what_arrived_together_is_not_lost() -> None:
    fan, _, _ = fan_out(after(0, Ready()), after(0, Ready()), after(0, Ready()))
    found = [await fan.next()]
    assert (fan.outstanding, fan.pending) == (2, [])
    found += [await fan.next(), await fan.next()]
    assert sorted(outcome[0] for outcome in found if outcome) == [0, 1, 2]
    assert (fan.outstanding, await fan.next()) == (0, None)


async def test_calls_left_alone_go_on() -> None:
    fan, nodes, _ = fan_out(after(0.05, Ready()), after(0.02, NodeError(Code.NO_SPACE)))
    late: dict[int, object] = {}
    fan.leave(late.__setitem__)
    await nodes.stop()
    assert late[0] == Ready()
    assert isinstance(late[1], NodeError)


async def test_a_defect_is_raised_not_swallowed() -> None:
    fan, _, _ = fan_out(after(0, ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        await fan.next()


async def test_late_answers_make_a_peer_slow_early_ones_well() -> None:
    fan, nodes, _ = fan_out(after(0.15, Ready()), after(0, Ready()))
    nodes.failures.slow(PEERS[1])
    while await fan.next():
        pass
    assert nodes.failures.troubled(PEERS[0])
    assert not nodes.failures.troubled(PEERS[1])


async def test_the_stop_is_bounded() -> None:
    nodes = Nodes(Script(), SystemClock(), KNOBS)
    ended = []

    async def work(delay_s: float) -> None:
        try:
            await asyncio.sleep(delay_s)
            ended.append(delay_s)
        except asyncio.CancelledError:
            ended.append(-1.0)
            raise

    nodes.spawn(work(0.1))
    nodes.spawn(work(60))
    await nodes.stop()
    assert ended == [0.1, -1.0]


async def test_answers_that_decide_nothing_wake_nobody() -> None:
    fan, _, _ = fan_out(after(0.01, Ready()), after(0.03, Ready()), after(5, Ready()))
    waiting = asyncio.ensure_future(fan.next(None, 2))
    await asyncio.sleep(0.02)
    assert (fan.pending, waiting.done()) == (PEERS[1:3], False)
    assert [await waiting, await fan.next(0, 2)] == [(0, Ready()), (1, Ready())]
    fan.cancel()


async def test_what_is_no_answer_is_told_before_the_others_come() -> None:
    refusal = NodeError(Code.BUSY)
    fan, _, _ = fan_out(after(5, Ready()), after(0.01, refusal), after(5, Ready()))
    async with asyncio.timeout(1):
        assert await fan.next(None, 2) == (1, refusal)
    fan.cancel()


async def test_the_last_answer_of_all_is_told_however_many_were_wanted() -> None:
    fan, _, _ = fan_out(after(0.01, Ready()))
    async with asyncio.timeout(1):
        assert await fan.next(None, 2) == (0, Ready())


async def test_the_time_limit_begins_again_with_each_answer() -> None:
    fan, _, _ = fan_out(after(0.06, Ready()), after(5, Ready()))
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert await fan.next(0.1, 2) == (0, Ready())
    assert 0.15 < loop.time() - began < 1
    assert await fan.next(0.01) is None
    fan.cancel()


async def woken_after(fan: FanOut, enough: int, grace_s: float) -> float:
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.timeout(2):
        await fan.most(enough, grace_s)
    return loop.time() - began


async def taken(fan: FanOut) -> list[int]:
    return [outcome[0] for _ in range(fan.outstanding - len(fan.pending)) if (outcome := await fan.next())]


async def test_most_is_all_where_the_last_one_is_not_late() -> None:
    fan, _, _ = fan_out(after(0.02, Ready()), after(0.03, Ready()), after(0.08, Ready()))
    assert 0.07 < await woken_after(fan, 2, 1.0) < 0.5
    assert (fan.overdue, await taken(fan), fan.outstanding) == (False, [0, 1, 2], 0)


async def test_most_waits_for_the_last_one_no_longer_than_the_grace_after_enough() -> None:
    fan, _, _ = fan_out(after(0.01, Ready()), after(0.03, Ready()), after(5, Ready()))
    assert 0.12 < await woken_after(fan, 2, 0.1) < 0.4
    assert (fan.overdue, await taken(fan), fan.pending) == (True, [0, 1], PEERS[2:3])
    assert await fan.next(0.01) is None
    fan.cancel()


async def test_most_is_enough_while_some_peer_is_in_trouble() -> None:
    fan, nodes, _ = fan_out(after(0.02, Ready()), after(0.04, Ready()), after(5, Ready()))
    nodes.failures.slow(PEERS[3])
    assert await woken_after(fan, 2, 1.0) < 0.5
    assert (fan.overdue, await taken(fan)) == (False, [0, 1])
    fan.cancel()


async def test_most_ends_with_what_is_no_answer() -> None:
    fan, _, _ = fan_out(after(0.02, Ready()), after(0.04, NodeError(Code.NO_SPACE)), after(5, Ready()))
    assert await woken_after(fan, 3, 1.0) < 0.5
    assert await taken(fan) == [0, 1]
    fan.cancel()


class Held:
    """A call under way that knows whom to tell, as those of connections do."""

    def __init__(self, done: Done) -> None:
        self.done = done

    def cancel(self) -> None:
        """As Begun."""


class Holding(Script):
    """Answers in the next turn."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[weakref.ref[Held]] = []

    def begin(self, address: Address, request: Message, done: Done, *, timeout_s: float, txn: str = "") -> Begun:
        held = Held(done)
        self.begun.append(weakref.ref(held))
        asyncio.get_running_loop().call_soon(done, Ready())
        return held


async def test_calls_that_ended_leave_nothing_to_the_collector_of_cycles() -> None:
    script = Holding()
    fan = FanOut(Nodes(script, SystemClock(), KNOBS), "tx")
    gc.disable()
    try:
        fan.call(0, PEERS[0], NodeStatus())
        assert script.begun[0]() is not None
        assert await fan.next() == (0, Ready())
        await asyncio.sleep(0)
        assert script.begun[0]() is None
    finally:
        gc.enable()
