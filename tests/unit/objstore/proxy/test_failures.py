"""Around failing peers, and back to them."""

from objstore.formats.messages import Address, Target
from objstore.placement.places import Replica
from objstore.proxy.failures import FailingPeers
from objstore.proxy.knobs import ProxyKnobs
from objstore.runtime.clock import SystemClock

A, B, C = (Address("127.0.0.1", port) for port in (1, 2, 3))
REPLICAS = [Replica(address, Target("d", 0)) for address in (A, B, C)]
KNOBS = ProxyKnobs(failing_min_s=1.0, failing_max_s=4.0)


class Clock(SystemClock):
    at = 100.0

    def monotonic(self) -> float:
        return self.at


def test_turns() -> None:
    peers = FailingPeers(Clock(), KNOBS)
    assert [peers.order(REPLICAS, turn) for turn in range(4)] == [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]]


def test_slow_ones_later_failing_ones_last() -> None:
    peers = FailingPeers(Clock(), KNOBS)
    peers.failed(A)
    peers.slow(B)
    assert peers.order(REPLICAS, 0) == [2, 1, 0]
    assert peers.troubled(A)
    assert peers.troubled(B)
    assert not peers.troubled(C)
    assert not peers.admit(A)
    assert peers.admit(B)
    peers.well(A)
    peers.well(B)
    assert peers.order(REPLICAS, 0) == [0, 1, 2]


def test_one_request_tries_again_after_each_pause() -> None:
    clock = Clock()
    peers = FailingPeers(clock, KNOBS)
    pauses = []
    for _ in range(5):
        peers.failed(A)
        peers.failed(A)  # many requests fail at once: one failure
        started = clock.at
        while not peers.admit(A):
            clock.at += 0.5
        pauses.append(clock.at - started)
        assert not peers.admit(A)  # the others wait for its outcome
    assert pauses == [1.0, 2.0, 4.0, 4.0, 4.0]
    peers.well(A)
    peers.failed(A)
    clock.at += 1.0
    assert peers.admit(A)


def test_a_slow_peer_that_fails() -> None:
    peers = FailingPeers(Clock(), KNOBS)
    peers.slow(A)
    assert peers.admit(A)
    peers.failed(A)
    assert not peers.admit(A)
    peers.slow(A)
    assert not peers.admit(A)


def test_reads_that_go_around_a_failing_peer_do_not_keep_writes_from_trying_it() -> None:
    """A peer that is back must get its copies again, however many reads there are meanwhile."""
    clock = Clock()
    peers = FailingPeers(clock, KNOBS)
    peers.failed(A)
    clock.at += 1.0
    assert peers.order(REPLICAS, 0) == [1, 2, 0]  # two of them are asked, and agree
    assert peers.admit(A)


def test_reads_ask_a_peer_that_may_be_back_before_one_that_fails() -> None:
    clock = Clock()
    peers = FailingPeers(clock, KNOBS)
    peers.failed(A)
    clock.at += 1.0
    peers.failed(B)
    assert peers.order(REPLICAS, 1) == [2, 0, 1]


def test_a_peer_that_owes_answers_for_long_is_left_alone() -> None:
    clock = Clock()
    peers = FailingPeers(clock, KNOBS)
    peers.slow(A)
    clock.at += KNOBS.silence_max_s / 2
    peers.slow(A)
    assert peers.admit(A)
    clock.at += KNOBS.silence_max_s / 2
    assert not peers.admit(A)
    clock.at += KNOBS.failing_min_s
    assert peers.admit(A), "one request tries it again"
    assert not peers.admit(A)
    peers.well(A)
    assert peers.admit(A) and peers.none


def test_a_peer_that_answers_late_is_only_slow() -> None:
    clock = Clock()
    peers = FailingPeers(clock, KNOBS)
    for _ in range(5):
        peers.slow(A)
        clock.at += KNOBS.silence_max_s * 0.9
        peers.late(A)
        assert peers.admit(A)
    assert peers.troubled(A)


def test_a_peer_that_lags_with_changes_is_slow_until_it_keeps_up() -> None:
    peers = FailingPeers(Clock(), KNOBS)
    for _ in range(KNOBS.lags_max - 1):
        peers.lagged(A)
        peers.lagged(B)
    peers.kept_up(B)
    peers.lagged(B)
    assert peers.none
    for _ in range(9):
        peers.lagged(A)
    peers.well(A)
    assert peers.troubled(A) and not peers.troubled(B), "what it answers from memory says nothing of its disk"
    assert peers.admit(A), "but it does answer"
    for _ in range(KNOBS.lags_max):
        assert peers.troubled(A)
        peers.kept_up(A)
    assert peers.none


def test_a_peer_that_lagged_and_failed_still_lags_when_it_is_back() -> None:
    peers = FailingPeers(Clock(), KNOBS)
    for _ in range(KNOBS.lags_max):
        peers.lagged(A)
    peers.failed(A)
    assert not peers.admit(A)
    peers.well(A)
    assert peers.admit(A) and peers.troubled(A)
