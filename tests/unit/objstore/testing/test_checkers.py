"""The judges: histories that a correct store can produce pass, and each kind of violation is found."""

import random
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from objstore.model.rows import ContainerRow, ObjectRow
from objstore.model.version import Version
from objstore.testing.checkers import counts, listings, registers, rows_and_objects, unsettled
from objstore.testing.history import ABSENT, History, Kind, Operation, Outcome
from objstore.testing.snapshot import Copy, Snapshot, Thing


def op(
    kind: Kind,
    begun_s: float,
    ended_s: float | None,
    tag: str = ABSENT,
    *,
    note: str | None = None,
    outcome: Outcome = "ok",
    key: str = "k",
    names: tuple[str, ...] = (),
) -> Operation:
    return Operation(0, 0, kind, key, begun_s, ended_s, outcome, tag, tag if note is None else note, names, "200")


def judged(*operations: Operation, monotone: bool = True) -> list[str]:
    return registers(History([replace(one, id=number) for number, one in enumerate(operations)]), monotone=monotone)


GOOD = {
    "nothing was written": [op("get", 0, 1, outcome="absent")],
    "a write is read": [op("put", 0, 1, "a"), op("get", 2, 3, "a")],
    "during a write, either": [op("put", 0, 1, "a"), op("put", 2, 5, "b"), op("get", 3, 4, "a"), op("get", 3, 4, "b")],
    "concurrent writes, either": [op("put", 0, 3, "a"), op("put", 1, 2, "b"), op("get", 4, 5, "a")],
    "an unanswered write may show": [op("put", 0, None, "a", outcome="unknown"), op("get", 2, 3, "a")],
    "or not": [op("put", 0, None, "a", outcome="unknown"), op("get", 2, 3, outcome="absent")],
    "or late": [op("put", 0, 9, "a", outcome="unknown"), op("put", 10, 11, "b"), op("get", 12, 13, "a")],
    "a deletion": [op("put", 0, 1, "a"), op("delete", 2, 3), op("get", 4, 5, outcome="absent")],
    "a deletion of nothing tells nothing": [op("put", 0, 1, "a"), op("delete", 2, 3, outcome="absent"), op("get", 4, 5, "a")],
    "what was never sent is not there": [op("put", 0, None, "a", outcome="unsent"), op("get", 2, 3, outcome="absent")],
    "a failed read tells nothing": [op("put", 0, 1, "a"), op("get", 2, 3, "z", outcome="unknown")],
    "metadata of a POST": [op("put", 0, 1, "a"), op("post", 2, 3, note="n"), op("head", 4, 5, "a", note="n")],
    "a PUT replaces metadata": [op("put", 0, 1, "a"), op("post", 2, 3, note="n"), op("put", 4, 5, "b"), op("head", 6, 7, "b")],
}
BAD = {
    "an acknowledged write is lost": ([op("put", 0, 1, "a"), op("get", 2, 3, outcome="absent")], "acknowledged after it"),
    "an overwritten body comes back": (
        [op("put", 0, 1, "a"), op("put", 2, 3, "b"), op("get", 4, 5, "a")],
        "'b' was acknowledged after it",
    ),
    "a deletion is undone": ([op("put", 0, 1, "a"), op("delete", 2, 3), op("get", 4, 5, "a")], "a deletion was acknowledged"),
    "what was never sent is there": ([op("put", 0, None, "a", outcome="unsent"), op("get", 2, 3, "a")], "nobody had written"),
    "a body from nowhere": ([op("get", 0, 1, "x")], "which nobody had written"),
    "a body from the future": ([op("get", 0, 1, "a"), op("put", 2, 3, "a")], "which nobody had written"),
    "wrong bytes": ([op("put", 0, 1, "a"), op("get", 2, 3, outcome="wrong")], "bytes that no write wrote"),
    "a read goes back": (
        [op("put", 0, 1, "a"), op("put", 2, 9, "b"), op("get", 3, 4, "b"), op("get", 5, 6, "a")],
        "older than what GET 2",
    ),
    "what was read once vanishes": (
        [op("put", 0, 9, "a", outcome="unknown"), op("get", 1, 2, "a"), op("get", 3, 4, outcome="absent")],
        "older than what GET 1",
    ),
    "metadata is lost": (
        [op("put", 0, 1, "a"), op("post", 2, 3, note="n"), op("head", 4, 5, "a", note="a")],
        "metadata: HEAD 2",
    ),
    "metadata of another time": (
        [op("put", 0, 1, "a"), op("post", 2, 3, note="n"), op("put", 4, 5, "b"), op("head", 6, 7, "b", note="n")],
        "metadata: HEAD 3",
    ),
}


@pytest.mark.parametrize("case", GOOD)
def test_good_histories(case: str) -> None:
    assert judged(*GOOD[case]) == []


@pytest.mark.parametrize("case", BAD)
def test_bad_histories(case: str) -> None:
    operations, words = BAD[case]
    complaints = judged(*operations)
    assert complaints and words in complaints[0]


def test_reads_may_go_back_where_that_is_allowed() -> None:
    assert judged(*BAD["a read goes back"][0], monotone=False) == []


def simulated(seed: int, *, lost_answers: float = 0.2) -> History:
    """What clients of a perfect store see: each operation takes effect at one moment between its beginning and its end. Some
    writes are never answered, and of these some never happen.
    """
    rng = random.Random(seed)
    moments = []
    for number in range(40):
        begun = rng.random() * 20
        ended = begun + rng.random() * rng.choice((0.2, 3))
        kind = rng.choice(("put", "put", "get", "get", "head", "delete", "post", "list"))
        moments.append((begun + rng.random() * (ended - begun), number, op(kind, begun, ended, key=rng.choice("kl"))))
    held: dict[str, tuple[str, str]] = {}
    history = []
    for _, number, one in sorted(moments, key=lambda moment: moment[:2]):
        write = one.kind in ("put", "delete", "post")
        unanswered = write and rng.random() < lost_answers
        tag, note = held.get(one.key, (ABSENT, ABSENT))
        if one.kind in ("put", "post"):
            one.tag = one.note = f"t{number}"
        happens = not unanswered or rng.random() < 0.5
        if one.kind == "list":
            one.names = tuple(sorted(held))
        elif not write:
            one.tag, one.note, one.outcome = tag, note, "ok" if tag else "absent"
        elif one.kind in ("post", "delete") and not tag:
            one.outcome = "absent"
        elif happens and one.kind == "put":
            held[one.key] = (one.tag, one.note)
        elif happens and one.kind == "post":
            held[one.key] = (tag, one.note)
        elif happens:
            del held[one.key]
        if unanswered:
            one.outcome, one.ended_s = "unknown", None
        history.append(one)
    return History(sorted(history, key=lambda one: one.begun_s))


@given(st.integers(0, 1 << 32))
@settings(max_examples=150, deadline=None)
def test_a_perfect_store_is_never_blamed(seed: int) -> None:
    history = simulated(seed)
    assert registers(history) == []
    assert listings(history).problems == []


@given(st.integers(0, 1 << 32))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
def test_a_forgotten_write_is_always_found(seed: int) -> None:
    """Take any history, forget the last acknowledged PUT of a key once everything is over, and read."""
    history = simulated(seed, lost_answers=0.0)
    puts = [one for one in history.of("put") if one.key == "k"]
    others = [one for one in history.operations if one.key == "k" and one.kind in ("put", "delete", "post")]
    assume(puts and others[-1] is puts[-1] and all((one.ended_s or 0) < puts[-1].begun_s for one in others[:-1]))
    assume(all(one.outcome == "ok" for one in others))  # a DELETE that found nothing may count as late
    before = next((one.tag for one in reversed(puts[:-1])), ABSENT)
    read = op("get", 50, 51, before, outcome="ok" if before else "absent")
    assert registers(History([*history.operations, read]))
    listing = op("list", 50, 51)
    assert any("lacks 'k'" in line for line in listings(History([*history.operations, listing])).problems)


LISTINGS = {
    "complete": ([op("put", 0, 1, "a"), op("list", 2, 3, names=("k",))], ""),
    "lacks an acknowledged name": ([op("put", 0, 1, "a"), op("list", 2, 3)], "lacks 'k', since 1"),
    "shows a deleted name": ([op("put", 0, 1, "a"), op("delete", 2, 3), op("list", 4, 5, names=("k",))], "shows 'k', since 3"),
    "shows a name from nowhere": ([op("list", 2, 3, names=("x",))], "shows 'x', which nobody wrote"),
    "a name being written": ([op("put", 0, 9, "a"), op("list", 2, 3), op("list", 2, 3, names=("k",))], ""),
    "a name being deleted": ([op("put", 0, 1, "a"), op("delete", 1.5, 9), op("list", 2, 3), op("list", 2, 3, names=("k",))], ""),
    "an unanswered write": ([op("put", 0, None, "a", outcome="unknown"), op("list", 2, 3), op("list", 2, 3, names=("k",))], ""),
    "a listing that failed": ([op("put", 0, 1, "a"), op("list", 2, 3, outcome="unknown")], ""),
    "written again": ([op("put", 0, 1, "a"), op("delete", 2, 3), op("put", 3.5, 4, "b"), op("list", 5, 6, names=("k",))], ""),
}


@pytest.mark.parametrize("case", LISTINGS)
def test_listings(case: str) -> None:
    operations, words = LISTINGS[case]
    problems = listings(History(operations)).problems
    assert (words in problems[0]) if words else problems == []


def test_listings_that_may_be_behind_are_counted() -> None:
    history = History([op("put", 0, 1, "a"), op("list", 2, 3), op("list", 4.5, 5), op("list", 6, 7, names=("k",))])
    report = listings(history, strict=history.operations[-1:])
    assert (report.problems, report.listings, report.stale, report.stale_s_max) == ([], 3, 2, 3.5)


def test_counts() -> None:
    assert counts("c", {"a": 3, "b": 4}, (2, 7)) == []
    assert counts("c", {"a": 3}, (2, 7)) == ["c says (2, 7) objects and bytes, its listing holds (1, 3)"]


# --- snapshots ---


def settled() -> Snapshot:
    copies = [Copy(f"node{n}", "d1", n - 1, "same") for n in (1, 2, 3)]
    thing = Thing("object", "/a/c/o", 3, list(copies), Version("/a/c/o", 9, size=5, etag="e"))
    container = Thing("container", "/a/c", 3, list(copies), rows={"o": ObjectRow("o", 9, False, 5, "e")}, figures=(1, 5))
    account = Thing("account", "/a", 3, list(copies), rows={"c": ContainerRow("c", 1, 0, 1, 5)}, figures=(1, 5))
    return Snapshot({("object", b"o"): thing, ("container", b"c"): container, ("account", b"a"): account})


def test_a_settled_cluster() -> None:
    assert unsettled(settled()) == [] == rows_and_objects(settled())


def test_each_thing_that_is_not_settled_is_named() -> None:
    cases = {
        "object /a/c/o: 2 of 3 primaries hold it: node1/d1, node2/d1": lambda s: s.named("object")["/a/c/o"].copies.pop(),
        "object /a/c/o: its copies differ": lambda s: change(s, "object", "/a/c/o", content="other"),
        "object /a/c/o: node3/d1 is a handoff": lambda s: change(s, "object", "/a/c/o", primary=None),
        "object /a/c/o: node3/d1 holds 2 files that do not count": lambda s: change(s, "object", "/a/c/o", surplus=2),
        "container /a/c: node3/d1 has something to tell its account": lambda s: change(s, "container", "/a/c", to_report=True),
        "container /a/c: its copies differ": lambda s: change(s, "container", "/a/c", content="other"),
        "container /a/c: holds (1, 5) objects and bytes, its account was told (0, 0)": lambda s: s.named("account")[
            "/a"
        ].rows.update({"c": ContainerRow("c", 1)}),
        "container /a/c: was deleted, and holds 1 objects": bury,
        "container /a/c: exists, its account was not told": lambda s: s.named("account")["/a"].rows.clear(),
        "node1/d1 holds the temporary file x": lambda s: s.stray.append("node1/d1 holds the temporary file x"),
    }
    for words, damage in cases.items():
        snapshot = settled()
        damage(snapshot)
        assert [line for line in unsettled(snapshot) if line.startswith(words)], words


def bury(snapshot: Snapshot) -> None:
    """The container was deleted, as its account knows."""
    container = snapshot.named("container")["/a/c"]
    container.copies = [replace(copy, alive=False) for copy in container.copies]
    snapshot.named("account")["/a"].rows.clear()


def change(snapshot: Snapshot, kind: str, name: str, **fields: object) -> None:
    copies = snapshot.named(kind)[name].copies
    copies[-1] = replace(copies[-1], **fields)  # type: ignore[arg-type]


def test_rows_without_objects_and_objects_without_rows() -> None:
    snapshot = settled()
    snapshot.named("container")["/a/c"].rows["ghost"] = ObjectRow("ghost", 1, False, 0, "")
    assert rows_and_objects(snapshot) == ["container /a/c lists 'ghost', and there is no such object"]
    snapshot = settled()
    snapshot.named("container")["/a/c"].rows.clear()
    assert rows_and_objects(snapshot) == ["object /a/c/o is in no listing"]
    snapshot = settled()
    snapshot.named("container")["/a/c"].rows["o"] = ObjectRow("o", 9, False, 6, "e")
    assert "lists 'o' as (9, 6, 'e'), it is (9, 5, 'e')" in rows_and_objects(snapshot)[0]
    snapshot = settled()
    for _ in range(3):
        copies = snapshot.named("object")["/a/c/o"].copies
        copies.append(replace(copies.pop(0), alive=False))
    assert "there is no such object" in rows_and_objects(snapshot)[0], "it was deleted, its row was not"
