"""Large uploads: one stream per primary, each byte sent to all as it comes, committed on a majority.

The client is held back by the slowest replica only as long as that keeps up at all: one that lags by more than its queue for
longer than the grace is dropped as long as a majority goes on, and gets its copy later from one that has it.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial

from objstore.formats.messages import CommitPut, Message, OpenPut, Ready, Stored
from objstore.model.errors import Code, Conflict, NodeError, StoreError
from objstore.model.octets import Octets
from objstore.model.quorum import Write, WriteQuorum, majority
from objstore.model.version import Version
from objstore.placement.places import ObjectPlace, Replica
from objstore.proxy.completion import Completion
from objstore.proxy.nodes import Nodes
from objstore.proxy.writes import Tally, Written
from objstore.rpc.interface import Chunk, Exchange, Outcome, PeerUnavailable
from objstore.runtime.clock import HybridClock


class _Lane:
    """The stream to one primary: a queue, and a task that sends what is in it. `changed` is called at every step."""

    def __init__(
        self,
        nodes: Nodes,
        place: ObjectPlace,
        index: int,
        handoffs: Iterator[Replica],
        size: int,
        txn: str,
        changed: Callable[[], None],
    ) -> None:
        """`handoffs`: what may stand in for primaries that do not answer; all lanes take from the same ones."""
        self.index = index
        self.replica = place.replicas[index]
        self._handoffs = handoffs
        self.queued_bytes = 0
        self.error: NodeError | PeerUnavailable | None = None
        self.reply: Outcome | None = None
        self.committing = False
        self.last = False
        """No commit will follow the one under way."""
        self.missed: Callable[[], None] | None = None
        """What to do when it fails after the client was answered."""
        self.exchange: Exchange | None = None
        self._nodes = nodes
        self._place = place
        self._changed = changed
        self._queue: deque[Chunk | CommitPut] = deque()
        self._wake = asyncio.Event()
        self.task = asyncio.get_running_loop().create_task(self._run(size, txn))

    @property
    def alive(self) -> bool:
        return self.error is None

    def put(self, item: Chunk | CommitPut) -> None:
        """Queue a piece, or a commit; the commit's outcome will be in `reply`."""
        if isinstance(item, Chunk):
            self.queued_bytes += len(item.data)
        else:
            self.reply = None
            self.committing = True
        self._queue.append(item)
        self._wake.set()

    def drop(self, reason: str) -> None:
        """Give up on it."""
        self._fail(PeerUnavailable(reason))
        self.task.cancel()

    def _fail(self, error: NodeError | PeerUnavailable) -> None:
        self.error = self.error or error
        self._queue.clear()
        self.queued_bytes = 0
        self.committing = False
        self._changed()
        if self.missed is not None:
            self.missed()

    async def _run(self, size: int, txn: str) -> None:
        """Until the object is stored. Fails into `error`."""
        try:
            await self._open(size, txn)
            while not isinstance(self.reply, Stored):
                while not self._queue:
                    if self.last:
                        return  # it holds something newer
                    self._wake.clear()
                    await self._wake.wait()
                await self._send(self._queue.popleft())
            self._nodes.failures.well(self.replica.address)
            assert self.exchange is not None
            await self.exchange.finish()
        except (NodeError, PeerUnavailable) as error:
            if isinstance(error, PeerUnavailable):
                self._nodes.failures.failed(self.replica.address)
            self._fail(error)
        finally:
            if self.exchange is not None:
                self.exchange.abort()

    async def _open(self, size: int, txn: str) -> None:
        """At the primary or what stands in for it. Raises NodeError, PeerUnavailable."""
        knobs = self._nodes.knobs
        while True:
            address, target = self.replica
            request = OpenPut(target, self._place.hash, self._place.name, size)
            try:
                # The peer bounds its own waits by the same figure, so it must outlast a client that pauses.
                self.exchange = await self._nodes.open(address, request, txn, knobs.stream_timeout_s)
                await self._answer(Ready, knobs.node_timeout_s)
            except (NodeError, PeerUnavailable) as error:
                if self.exchange is not None:
                    self.exchange.abort()
                stand_in = next(self._handoffs, None)
                if stand_in is None:
                    raise
                self.replica = stand_in
                if isinstance(error, PeerUnavailable):
                    self._nodes.failures.failed(address)
            else:
                return

    async def _send(self, item: Chunk | CommitPut) -> None:
        assert self.exchange is not None
        if isinstance(item, Chunk):
            async with _Bound(self._nodes.knobs.node_timeout_s):
                await self.exchange.send_chunk(item)
            self.queued_bytes -= len(item.data)
        else:
            try:
                async with _Bound(self._nodes.knobs.node_timeout_s):
                    await self.exchange.send(item)
                self.reply = await self._answer(Stored, self._nodes.knobs.node_timeout_s)
            except NodeError as error:
                if error.code is not Code.NEWER_EXISTS:
                    raise
                self.reply = error
            self.committing = False
        self._changed()

    async def _answer(self, kind: type[Message], timeout_s: float) -> Message:
        assert self.exchange is not None
        async with _Bound(timeout_s):
            answer = await self.exchange.receive()
        if not isinstance(answer, kind) or isinstance(answer, Chunk):
            raise PeerUnavailable(f"{type(answer).__name__} where {kind.__name__} was due")
        return answer


class _Bound:
    """asyncio.timeout that raises PeerUnavailable."""

    __slots__ = ("_timeout",)

    def __init__(self, timeout_s: float) -> None:
        self._timeout = asyncio.timeout(timeout_s)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            await self._timeout.__aexit__(kind, error, trace)  # type: ignore[arg-type]
        except TimeoutError:
            raise PeerUnavailable("no progress in time") from None


class Streams:
    """One upload. Feed it pieces, commit it, and close it in any case."""

    def __init__(self, nodes: Nodes, completion: Completion, hlc: HybridClock, place: ObjectPlace, size: int, txn: str) -> None:
        """`size` -1 when unknown."""
        self._nodes = nodes
        self._completion = completion
        self._hlc = hlc
        self._place = place
        self._txn = txn
        self._waiter: asyncio.Future[None] | None = None
        self._needed = majority(len(place.replicas))
        self._earlier: set[int] = set()
        """Who took the version at a timestamp that others refused."""
        self._existed = False
        handoffs = completion.placement.handoffs(place) if place.sloppy else iter(())
        # Failing primaries too: one that is back makes up for another that fails now, and one that still fails is left at once.
        self._lanes = [_Lane(nodes, place, i, handoffs, size, txn, self._wake) for i in range(len(place.replicas))]

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _change(self, timeout_s: float) -> None:
        """Wait for any lane to get on, at most so long."""
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = loop.call_later(timeout_s, self._wake)
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None

    @property
    def _live(self) -> list[_Lane]:
        return [lane for lane in self._lanes if lane.alive]

    def _error(self) -> StoreError:
        tally = Tally(self._place)
        for lane in self._lanes:
            if lane.error is not None:
                tally.take(lane.index, lane.error)
        return tally.error()

    async def feed(self, piece: Octets) -> None:
        """Send a piece to every replica. Raises Unavailable, InsufficientStorage when too few are left."""
        chunk = Chunk.of(piece)
        for lane in self._live:
            lane.put(chunk)
        clock, knobs = self._nodes.clock, self._nodes.knobs
        started = 0.0
        while True:
            live = self._live
            if len(live) < self._needed:
                raise self._error()
            lagging = [lane for lane in live if lane.queued_bytes > knobs.replica_queue_bytes_max]
            if not lagging:
                return
            started = started or clock.monotonic()
            waited = clock.monotonic() - started
            spare = len(live) - len(lagging) >= self._needed
            hopeless = all(self._nodes.failures.troubled(lane.replica.address) for lane in lagging)
            if spare and (hopeless or waited >= knobs.straggler_grace_s):
                for lane in lagging:
                    self._nodes.failures.slow(lane.replica.address)
                    lane.drop("it lags behind")
                return
            if waited >= knobs.node_timeout_s:
                raise self._error()
            await self._change((knobs.straggler_grace_s if spare else knobs.node_timeout_s) - waited)

    async def commit(self, at: Callable[[int], Version], after: int = 0) -> Written:
        """Make it the object's newest version, `at(timestamp)`, above `after`. Returns once a majority holds it durably.

        Raises Unavailable, InsufficientStorage, or Conflict when newer writes keep coming.
        """
        for _ in range(self._nodes.knobs.commit_attempts_max):
            written, after = await self.commit_at(at(self._hlc.next(after)))
            if written is not None:
                return written
        raise Conflict("newer writes of the same object keep coming")

    async def commit_at(self, version: Version, members: int = 0) -> tuple[Written | None, int]:
        """The same at one timestamp, under conditions where there are `members`: None when too many replicas met something newer,
        and what that was. May be called again with a later version. Raises Unavailable, InsufficientStorage.
        """
        lanes = [lane for lane in self._live if not lane.committing and not isinstance(lane.reply, Stored)]
        if not lanes or len(lanes) + len(self._earlier) < self._needed:
            raise self._error()
        for lane in lanes:
            index = self._place.index[lane.index]
            lane.put(CommitPut(version, index, defer=self._nodes.troubled(index), members=members))
        tally = await self._outcomes(lanes)
        self._existed |= tally.existed
        held = len(tally.stored)
        if 0 < held < self._needed:
            held += await self._spread(tally, version, members)
        if held >= self._needed:
            self._mend(tally, version)
            return Written(version.timestamp, tally.listed, self._existed), 0
        self._earlier |= set(tally.stored)
        return None, tally.quorum.newer

    async def _outcomes(self, lanes: list[_Lane]) -> Tally:
        """Wait for a decision, then a moment longer for the rest."""
        clock, failures = self._nodes.clock, self._nodes.failures
        quorum = WriteQuorum(len(lanes), min(len(lanes), self._needed))
        tally, taken, until = Tally(self._place, quorum), set[int](), 0.0
        while True:
            for lane in lanes:
                outcome = lane.reply or lane.error
                if outcome is not None and lane.index not in taken:
                    taken.add(lane.index)
                    tally.take(lane.index, outcome)
            pending = [lane for lane in lanes if lane.index not in taken]
            if not pending:
                return tally
            if tally.quorum.decide() is Write.WAIT:
                await self._change(self._nodes.knobs.node_timeout_s)
                continue
            now = clock.monotonic()
            until = until or now + self._nodes.knobs.straggler_grace_s
            hopeful = not all(failures.troubled(lane.replica.address) for lane in pending)
            if now >= until or not (hopeful or not tally.listed):
                for lane in pending:
                    failures.slow(lane.replica.address)
                return tally
            await self._change(until - now)

    async def _spread(self, tally: Tally, version: Version, members: int) -> int:
        """A later timestamp went to those who refused the first one; who took the first one needs the later one too."""
        source = self._source(tally)
        needed = self._needed - len(tally.stored)
        spread = await self._completion.spread(
            self._place, source, version.order, self._earlier, needed, version.size, self._txn, members=members
        )
        return spread.done

    def _source(self, tally: Tally) -> Replica:
        """Somebody who has it now."""
        return next(lane.replica for lane in self._lanes if lane.index == tally.stored[0])

    def _mend(self, tally: Tally, version: Version) -> None:
        """Who does not get it by the stream gets it from one that has it."""
        source = self._source(tally)
        under_way = {lane.index: lane for lane in self._lanes if lane.committing}
        for index in set(range(len(self._place.replicas))) - set(tally.stored):
            mend = partial(self._completion.mend, self._place, source, index, version.size, self._txn)
            if index in under_way:
                under_way[index].missed = mend
            else:
                mend()

    def close(self) -> None:
        """Let commits under way end in the background, drop all else. Safe at any time."""
        for lane in self._lanes:
            if lane.committing:
                lane.last = True
                self._nodes.adopt(lane.task)
            elif not lane.task.done():
                lane.drop("the upload ended")
