"""Every order of answers, for 1 to 5 replicas."""

from itertools import permutations, product

import pytest

from objstore.model.lost import Lost
from objstore.model.quorum import NOTHING, Read, ReadQuorum, Write, WriteQuorum, majority, outvoted, read_count

REPLICAS = [1, 2, 3, 4, 5]


@pytest.mark.parametrize("n", REPLICAS)
def test_reads_meet_writes(n: int) -> None:
    assert majority(n) > n / 2
    assert majority(n) + read_count(n) == n + 1


def decided(n: int, events: tuple[str, ...]) -> tuple[Write, int]:
    """The first decision, and after how many events it came."""
    quorum = WriteQuorum(n)
    for count, event in enumerate(events):
        if (verdict := quorum.decide()) is not Write.WAIT:
            return verdict, count
        match event:
            case "stored":
                quorum.stored()
            case "newer":
                quorum.newer_exists(7)
            case "absent":
                quorum.not_found()
            case _:
                quorum.failed()
    return quorum.decide(), n


@pytest.mark.parametrize("n", REPLICAS)
def test_writes(n: int) -> None:
    """Success if and only if a majority stored; a retry if and only if none can, but one might at a later timestamp."""
    for events in product(("stored", "newer", "absent", "failed"), repeat=n):
        verdict, count = decided(n, events)
        stored, newer = events.count("stored"), events.count("newer")
        assert verdict is not Write.WAIT
        assert (verdict is Write.DONE) is (stored >= majority(n))
        seen = events[:count]
        if verdict is Write.DONE:
            assert seen.count("stored") == majority(n)
        if verdict is Write.FAILED:  # whatever the others would say, no majority takes it now or later
            left = n - len(seen)
            assert seen.count("stored") + left < majority(n)
            assert seen.count("newer") == 0 or seen.count("stored") + left + seen.count("newer") < majority(n)
        if verdict is Write.RETRY:
            assert newer >= 1
            assert seen.count("stored") + seen.count("newer") + n - len(seen) >= majority(n)


def read(n: int, held: tuple[tuple[int, int] | None, ...], order: tuple[int, ...]) -> tuple[Read, ReadQuorum]:
    """Ask replicas in `order` as the decisions say; `held` None for one that fails."""
    quorum, asked, answered = ReadQuorum(n), 0, 0
    for _ in range(majority(n)):
        quorum.asked()
        asked += 1
    for _ in range(4 * n):
        step = quorum.decide()
        if step is Read.ASK:
            assert asked < n
            quorum.asked()
            asked += 1
        elif step is Read.WAIT:
            assert answered < asked
            index = order[answered]
            answered += 1
            version = held[index]
            if version is None:
                quorum.failed(index)
            else:
                quorum.answered(index, version)
        else:
            return step, quorum
    raise AssertionError("no decision")


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_reads(n: int) -> None:
    """The newest acknowledged version is always found; a view of too few replicas is never believed."""
    for held in product((None, NOTHING, (5, 5), (5, 6), (9, 9)), repeat=n):
        for order in permutations(range(n)):
            step, quorum = read(n, held, order)
            alive = [version for version in held if version is not None]
            acknowledged = [version for version in set(alive) if held.count(version) >= majority(n)]
            if step is Read.UNAVAILABLE:
                assert len(alive) < read_count(n)
                continue
            assert len(quorum.orders) >= read_count(n)
            assert len(alive) >= read_count(n)
            for version in acknowledged:
                assert quorum.newest >= version
            holders = sum(version == quorum.newest for version in quorum.orders.values())
            assert holders == len(quorum.holders)
            if step is Read.COMPLETE:
                assert holders < majority(n)
                assert quorum.newest != NOTHING
                assert holders + len(quorum.lacking) >= min(majority(n), len(alive))
                assert holders + quorum.missing == min(majority(n), len(alive))
            elif quorum.newest != NOTHING and holders < majority(n):
                assert holders == len(alive) < majority(n)  # half of an even number, and all of that half has it


def test_a_replica_that_hangs_is_done_without() -> None:
    quorum = ReadQuorum(3)
    for _ in range(3):
        quorum.asked()
    quorum.answered(0, (5, 5))
    assert quorum.decide() is quorum.decide(patient=False) is Read.WAIT
    quorum.answered(1, (4, 4))
    assert quorum.decide() is Read.WAIT
    assert quorum.decide(patient=False) is Read.COMPLETE
    quorum.answered(1, (5, 5))
    assert quorum.decide() is Read.DONE


def test_two_replicas_one_hung() -> None:
    quorum = ReadQuorum(2)
    quorum.asked()
    quorum.asked()
    quorum.answered(0, (5, 5))
    assert quorum.decide() is Read.WAIT
    assert quorum.decide(patient=False) is Read.DONE


def test_nothing_is_believed_only_when_all_who_answer_say_so() -> None:
    """One replica missed the write, another disk was replaced by an empty one: the third still has the object."""
    quorum = ReadQuorum(3)
    for index in range(2):
        quorum.asked()
        quorum.answered(index, NOTHING)
    assert quorum.decide() is Read.ASK
    quorum.asked()
    assert quorum.decide() is Read.WAIT
    assert quorum.decide(patient=False) is Read.DONE
    quorum.answered(2, (5, 5))
    assert quorum.decide() is Read.COMPLETE


@pytest.mark.parametrize("n", REPLICAS)
def test_what_readers_may_have_been_given_is_not_outvoted(n: int) -> None:
    """Readers believe what a majority holds; of an even number, half, when the other half is down."""
    lost = Lost(9)
    for older in range(n):
        given = n - older >= read_count(n)
        assert not (given and outvoted(lost, [(5, 5)] * older, n))
        assert outvoted(lost, [(5, 5)] * older, n) is (older >= majority(n))
    assert not outvoted(lost, [NOTHING] * (n - 1), n)


def test_what_a_majority_holds_while_something_newer_is_on_its_way() -> None:
    quorum = ReadQuorum(3)
    for index, order in enumerate([(5, 5), (4, 4), (4, 4)]):
        assert quorum.settled is None
        quorum.answered(index, order)
    assert quorum.settled == (4, 4) and quorum.newest == (5, 5)
    quorum = ReadQuorum(3)
    for index, order in enumerate([(5, 5), (4, 4), (3, 3)]):
        quorum.answered(index, order)
    assert quorum.settled is None
