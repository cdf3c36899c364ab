"""Whether what happened is what was promised: pure functions over a history of operations, or over a snapshot of all devices. Each
returns its complaints as plain lines, none when all is well.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from objstore.model.rows import ContainerRow, ObjectRow
from objstore.testing.history import ABSENT, History, Operation
from objstore.testing.snapshot import Snapshot, Thing

FOREVER = float("inf")


@dataclass(frozen=True, slots=True)
class Write:
    """One value of a register, and when it was written: a write without an answer goes on for ever."""

    tag: str
    begun_s: float
    ended_s: float

    def before(self, other: "Write") -> bool:
        """It was acknowledged before the other one began."""
        return self.ended_s < other.begun_s


FIRST = Write(ABSENT, -FOREVER, -FOREVER)
"""Nothing is there in the beginning."""


def registers(history: History, *, monotone: bool = True) -> list[str]:
    """Each key's data, and each key's metadata, behave as one register: a read returns the last acknowledged write, one concurrent
    with the read or with that write, or one that got no answer. `monotone`: once read, a write is not followed by an earlier one.
    """
    lines = [f"{_said(one)} returned bytes that no write wrote" for one in history.operations if one.outcome == "wrong"]
    for key, operations in history.by_key().items():
        reads = [one for one in operations if one.kind in ("get", "head") and one.known]
        sent = [one for one in operations if one.outcome != "unsent"]
        changes = [one for one in sent if one.kind in ("put", "delete")]
        notes = [one for one in sent if one.kind in ("put", "delete", "post")]
        lines += _register(f"{key}: data", _writes(changes, notes=False), [(one, one.tag) for one in reads], monotone)
        lines += _register(
            f"{key}: metadata", _writes(notes, notes=True), [(one, one.note) for one in reads if one.note is not None], monotone
        )
    return lines


def _writes(operations: Sequence[Operation], *, notes: bool) -> dict[str, list[Write]]:
    """By value; that of a deletion is ABSENT, however many there are. A DELETE or POST that found nothing counts as one without an
    answer: it may have come too early, or twice.
    """
    found: dict[str, list[Write]] = {ABSENT: [FIRST]}
    for one in operations:
        ended_s = one.ended_s if one.ended_s is not None and one.outcome == "ok" else FOREVER
        tag = ABSENT if one.kind == "delete" else (one.note or ABSENT) if notes else one.tag
        found.setdefault(tag, []).append(Write(tag, one.begun_s, ended_s))
    return found


def _register(name: str, by_tag: dict[str, list[Write]], reads: Sequence[tuple[Operation, str]], monotone: bool) -> list[str]:
    lines = []
    acknowledged = [write for writes in by_tag.values() for write in writes if write.ended_s < FOREVER]
    seen: list[tuple[Operation, list[Write]]] = []
    for read, tag in sorted(reads, key=lambda one: one[0].begun_s):
        assert read.ended_s is not None
        possible = [write for write in by_tag.get(tag, []) if write.begun_s < read.ended_s]
        if not possible:
            lines.append(f"{name}: {_said(read)} returned {tag or 'nothing'!r}, which nobody had written")
            continue
        valid = [write for write in possible if not _overwritten(write, acknowledged, read.begun_s)]
        if not valid:
            later = next(one for one in acknowledged if possible[-1].before(one) and one.ended_s < read.begun_s)
            what = f"{later.tag!r} was acknowledged after it" if later.tag else "a deletion was acknowledged after it"
            lines.append(f"{name}: {_said(read)} returned {tag!r}, but {what}, before the read")
            continue
        if monotone and (earlier := _goes_back(read, valid, seen)):
            lines.append(f"{name}: {_said(read)} returned {tag!r}, older than what {_said(earlier)} had returned before")
        seen.append((read, valid))
    return lines


def _overwritten(write: Write, acknowledged: Sequence[Write], read_begun_s: float) -> bool:
    return any(write.before(other) and other.ended_s < read_begun_s for other in acknowledged)


def _goes_back(read: Operation, valid: list[Write], seen: Sequence[tuple[Operation, list[Write]]]) -> Operation | None:
    """An earlier read that saw only writes later than all that this one may have seen."""
    for earlier, its in seen:
        assert earlier.ended_s is not None
        if earlier.ended_s < read.begun_s and all(mine.before(other) for mine in valid for other in its):
            return earlier
    return None


@dataclass(slots=True)
class Listings:
    """What listings showed: `problems` of those that must be right, and how far the others were behind."""

    problems: list[str] = field(default_factory=list)
    listings: int = 0
    stale: int = 0
    """Names missing, or shown although they were gone, in listings that may be behind."""
    stale_s_max: float = 0.0


def listings(history: History, strict: Sequence[Operation] | None = None) -> Listings:
    """Each listing holds every name whose last change before it was an acknowledged PUT, and none whose last was an acknowledged
    DELETE or that was never written. Those in `strict` must (all, by default); the others are counted where they do not.
    """
    report = Listings()
    keys = history.by_key()
    for one in history.of("list"):
        if not one.known:
            continue
        report.listings += 1
        must = strict is None or any(one is other for other in strict)
        shown = set(one.names)
        for name in shown - keys.keys():
            report.problems.append(f"{_said(one)} shows {name!r}, which nobody wrote")
        for key, operations in keys.items():
            since_s = _wrongly(one, key in shown, operations)
            if since_s is None:
                continue
            if must:
                report.problems.append(f"{_said(one)} {'shows' if key in shown else 'lacks'} {key!r}, since {since_s:.3f}")
            else:
                report.stale += 1
                report.stale_s_max = max(report.stale_s_max, one.begun_s - since_s)
    return report


def _wrongly(listing: Operation, shown: bool, operations: Sequence[Operation]) -> float | None:
    """When the opposite was acknowledged, if no write makes what is shown possible; else None."""
    assert listing.ended_s is not None
    changes = [one for one in operations if one.kind in ("put", "delete") and one.outcome != "unsent"]
    by_tag = _writes(changes, notes=False)
    everything = [write for writes in by_tag.values() for write in writes if write.begun_s < listing.ended_s]
    acknowledged = [write for write in everything if write.ended_s < listing.begun_s]
    possible = [write for write in everything if (write.tag != ABSENT) == shown]
    if any(not _overwritten(write, acknowledged, listing.begun_s) for write in possible):
        return None
    return max(write.ended_s for write in acknowledged)


def counts(name: str, rows: Mapping[str, int], told: tuple[int, int]) -> list[str]:
    """What a container says of itself, (objects, bytes), is the sum of its listing, name -> size."""
    truth = (len(rows), sum(rows.values()))
    return [] if told == truth else [f"{name} says {told} objects and bytes, its listing holds {truth}"]


def _said(one: Operation) -> str:
    return f"{one.kind.upper()} {one.id} of client {one.client} ({one.what})"


# --- snapshots ----------------------------------------------------------------------------------------------------


def unsettled(snapshot: Snapshot) -> list[str]:
    """What replication and reporting still have to do: copies that are missing, differ, or are where they should not be; figures
    that an account was not told.
    """
    lines = list(snapshot.stray)
    for thing in snapshot.things.values():
        lines += _copies(thing)
    return lines + _figures(snapshot)


def _copies(thing: Thing) -> list[str]:
    lines = []
    primaries = [copy for copy in thing.copies if copy.primary is not None]
    if len(primaries) < thing.primaries:
        where = ", ".join(map(str, primaries)) or "none of them"
        lines.append(f"{thing}: {len(primaries)} of {thing.primaries} primaries hold it: {where}")
    if len({copy.content for copy in primaries}) > 1:
        lines.append(f"{thing}: its copies differ: {', '.join(f'{copy} {copy.content[:8]}' for copy in primaries)}")
    lines += [f"{thing}: {copy} is a handoff" for copy in thing.copies if copy.primary is None]
    lines += [f"{thing}: {copy} has something to tell its account" for copy in thing.copies if copy.to_report]
    lines += [f"{thing}: {copy} holds {copy.surplus} files that do not count" for copy in thing.copies if copy.surplus]
    return lines


def _figures(snapshot: Snapshot) -> list[str]:
    """Each account's row of a container says what the container's database says, and what holds objects exists."""
    lines = []
    accounts = snapshot.named("account")
    for name, container in snapshot.named("container").items():
        account, _, short = name[1:].partition("/")
        row = accounts[f"/{account}"].rows.get(short) if f"/{account}" in accounts else None
        exists = any(copy.alive for copy in container.copies)
        if exists != (row is not None):
            lines.append(f"{container}: {'exists' if exists else 'was deleted'}, its account was not told")
        elif not exists and container.rows:
            lines.append(f"{container}: was deleted, and holds {container.figures[0]} objects")
        elif isinstance(row, ContainerRow) and (told := (row.object_count, row.bytes_used)) != container.figures:
            lines.append(f"{container}: holds {container.figures} objects and bytes, its account was told {told}")
    return lines


def rows_and_objects(snapshot: Snapshot) -> list[str]:
    """Every object that lives has its row, with its time, size and etag, and every row its object."""
    lines = []
    objects = {name: thing for name, thing in snapshot.named("object").items() if any(copy.alive for copy in thing.copies)}
    for container in snapshot.named("container").values():
        for short, row in container.rows.items():
            thing = objects.pop(f"{container.name}/{short}", None)
            version = thing.version if thing is not None else None
            if thing is None or version is None:
                lines.append(f"{container} lists {short!r}, and there is no such object")
            elif isinstance(row, ObjectRow) and _listed(row) != (version.timestamp, version.size, version.etag):
                lines.append(
                    f"{container} lists {short!r} as {_listed(row)}, it is {version.timestamp, version.size, version.etag}"
                )
    return [*lines, *(f"{thing} is in no listing" for thing in objects.values())]


def _listed(row: ObjectRow) -> tuple[int, int, str]:
    return row.timestamp, row.size, row.etag
