"""The supervisor's decisions, without processes."""

from objstore.app.children import BACKOFF_MAX_S, BACKOFF_MIN_S, KILL_MARGIN_S, SETTLE_S, STABLE_AFTER_S, Child, Plan, Spec, State

PROXIES = [Spec(f"proxy{n}", "public", "p.toml", slot=n, bank=2, drain_timeout_s=10) for n in range(2)]
NODES = [Spec(f"node{n}", "storage", f"n{n}.toml", drain_timeout_s=10) for n in range(2)]


def started(specs: list[Spec], now: float = 0.0) -> Plan:
    """All children ready."""
    plan = Plan(specs)
    while children := plan.due(now).start:
        for child in children:
            plan.ready(child, now)
    assert plan.was_ready
    return plan


def of(plan: Plan, name: str) -> Child:
    (child,) = [child for child in plan.children if child.spec.name == name and child.state is not State.STOPPING]
    return child


def names(children: list[Child]) -> list[str]:
    return [child.spec.name for child in children]


def test_workers_start_once_storage_is_ready() -> None:
    plan = Plan(PROXIES + NODES)
    first = plan.due(0.0).start
    assert names(first) == ["node0", "node1"]
    assert plan.next_deadline() is None
    plan.ready(first[0], 0.0)
    assert plan.due(0.0).start == []
    plan.ready(first[1], 0.0)
    assert names(plan.due(0.0).start) == ["proxy0", "proxy1"]
    assert not plan.was_ready


def test_a_dead_child_is_restarted_with_growing_backoff() -> None:
    plan = started(NODES)
    child, now, waits = of(plan, "node0"), 1.0, []
    for _ in range(10):
        plan.ended(child, now)
        deadline = plan.next_deadline()
        assert deadline is not None
        waits.append(round(deadline - now, 6))
        assert plan.due(deadline - 0.01).start == []
        now = deadline
        assert names(plan.due(now).start) == ["node0"]
    assert waits[0] == BACKOFF_MIN_S
    assert waits == sorted(waits)
    assert waits[-1] == BACKOFF_MAX_S


def test_a_child_that_lived_long_is_restarted_at_once() -> None:
    plan = started(NODES)
    child = of(plan, "node0")
    for now in (1.0, 2.0, 3.0, 4.0):
        plan.ended(child, now)
        plan.due(now + BACKOFF_MAX_S)
    plan.ready(child, 4.0)
    end = 4.0 + BACKOFF_MAX_S + STABLE_AFTER_S
    plan.ended(child, end)
    assert plan.next_deadline() == end + BACKOFF_MIN_S


def test_a_child_that_cannot_start_ends_everything() -> None:
    plan = Plan(NODES)
    bad, good = plan.due(0.0).start
    plan.ready(good, 0.1)
    plan.ended(bad, 0.5)
    assert plan.failed == "node0 could not start"
    assert names(plan.due(0.5).terminate) == ["node1"]
    plan.ended(good, 0.6)
    assert plan.finished


def test_stop_ends_clients_first_then_data() -> None:
    plan = started(PROXIES + NODES)
    plan.stop()
    first = plan.due(1.0).terminate
    assert names(first) == ["proxy0", "proxy1"]
    assert plan.due(1.1).terminate == []
    for child in first:
        plan.ended(child, 2.0)
    second = plan.due(2.0).terminate
    assert names(second) == ["node0", "node1"]
    for child in second:
        plan.ended(child, 3.0)
    assert plan.finished


def test_a_child_that_does_not_end_is_killed() -> None:
    plan = started(NODES[:1])
    plan.stop()
    assert names(plan.due(1.0).terminate) == ["node0"]
    bound = 1.0 + 10 + KILL_MARGIN_S
    assert plan.next_deadline() == bound
    assert plan.due(bound - 0.1).kill == []
    assert names(plan.due(bound).kill) == ["node0"]


def test_a_second_stop_does_not_wait() -> None:
    plan = started(NODES[:1])
    plan.stop()
    plan.due(1.0)
    plan.stop()
    assert names(plan.due(1.1).kill) == ["node0"]


def test_reload_starts_workers_before_it_ends_their_predecessors() -> None:
    plan = started(PROXIES)
    plan.reload()
    actions = plan.due(1.0)
    assert names(actions.start) == ["proxy0", "proxy1"]
    assert actions.terminate == []
    assert sorted(child.slot for child in plan.children) == [0, 1, 2, 3], "two generations never share a slot"
    new = actions.start
    plan.ready(new[0], 1.1)
    actions = plan.due(1.5)
    assert names(actions.terminate) == ["proxy0"]
    assert actions.terminate[0] not in new
    plan.ended(actions.terminate[0], 2.0)
    plan.ready(new[1], 1.9)
    last = plan.due(2.0).terminate
    plan.ended(last[0], 2.5)
    assert not plan.reloading
    assert sorted(child.slot for child in plan.children) == [2, 3]


def test_a_worker_that_dies_while_its_successor_starts_is_not_missed() -> None:
    plan = started(PROXIES[:1])
    plan.reload()
    (new,) = plan.due(1.0).start
    old = next(child for child in plan.children if child is not new)
    plan.ended(old, 1.1)
    plan.ready(new, 1.1)
    plan.due(1.15)
    assert plan.children == [new]


def test_a_successor_that_fails_leaves_its_predecessor_alone() -> None:
    plan = started(NODES[:1])
    old = plan.children[0]
    plan.reload()
    (new,) = plan.due(1.0).start
    plan.ended(new, 1.5)
    assert plan.due(1.5).terminate == []
    assert old.state is State.READY
    retry = plan.next_deadline()
    assert retry is not None
    assert plan.due(retry).start == [new]


def test_storage_is_replaced_one_after_another() -> None:
    plan = started(NODES)
    plan.reload()
    now = 10.0
    for name, other in (("node0", "node1"), ("node1", "node0")):
        actions = plan.due(now)
        (new,) = actions.start
        assert (new.spec.name, new.generation, actions.terminate) == (name, 1, [])
        assert plan.due(now + 0.5).terminate == [], "the successor prepares beside it"
        plan.prepared(new)
        (old,) = plan.due(now + 1).terminate
        assert (old.spec.name, old.generation) == (name, 0)
        plan.ended(old, now + 2)
        assert plan.due(now + 2).start == []
        assert of(plan, other).state is State.READY
        plan.ready(new, now + 3)
        assert plan.due(now + 3).start == [], "its peers connect again first"
        now += 3 + SETTLE_S
    assert plan.due(now + 60).start == []
    assert not plan.reloading
    assert [child.generation for child in plan.children] == [1, 1]


def test_a_reload_during_a_reload_follows_it() -> None:
    plan = started(NODES[:1])
    old = plan.children[0]
    plan.reload()
    (second,) = plan.due(10.0).start
    plan.reload()
    plan.prepared(second)
    assert plan.due(10.1).terminate == [old]
    plan.ended(old, 10.2)
    plan.ready(second, 10.3)
    plan.due(10.4)
    (third,) = plan.due(10.4 + SETTLE_S).start
    assert third.generation == 2


def test_stop_during_a_reload_ends_both_generations() -> None:
    plan = started(PROXIES[:1])
    plan.reload()
    plan.due(1.0)
    plan.stop()
    ending = plan.due(1.1).terminate
    assert len(ending) == 2
    for child in ending:
        plan.ended(child, 1.2)
    assert plan.finished


def test_one_child_asks_to_be_replaced() -> None:
    plan = started(PROXIES + NODES)
    plan.replace(of(plan, "node1"))
    started_now = plan.due(STABLE_AFTER_S).start
    assert names(started_now) == ["node1"]
    successor = started_now[0]
    plan.replace(of_generation(plan, "node1", 0))
    plan.prepared(successor)
    assert names(plan.due(STABLE_AFTER_S).terminate) == ["node1"]
    plan.ended(of_generation(plan, "node1", 0), STABLE_AFTER_S)
    plan.ready(successor, STABLE_AFTER_S)
    assert plan.due(STABLE_AFTER_S + SETTLE_S).start == [], "asked twice, replaced once"
    assert sorted(names(plan.children)) == ["node0", "node1", "proxy0", "proxy1"]


def of_generation(plan: Plan, name: str, generation: int) -> Child:
    (child,) = [child for child in plan.children if child.spec.name == name and child.generation == generation]
    return child


def test_a_reload_before_all_are_ready_is_no_failed_start() -> None:
    """SIGHUP reaches a node of which one worker serves and the other is about to: the first one's successor takes over, and its
    orderly end must not be taken for a process that could not start, which would end the whole node.
    """
    plan = Plan(PROXIES)
    first, second = plan.due(0.0).start
    plan.ready(first, 1.0)
    plan.reload()
    successors = plan.due(1.0).start
    assert names(successors) == ["proxy0", "proxy1"]
    plan.ready(successors[0], 2.0)
    assert plan.due(2.0).terminate == [first]
    plan.ended(first, 3.0)
    assert plan.failed is None and not plan.stopping
    plan.ready(successors[1], 4.0)
    assert plan.due(4.0).terminate == [second]
