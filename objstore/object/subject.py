"""What a change is about, and what it may replace."""

from typing import NamedTuple

from objstore.formats.messages import IndexTarget, Target
from objstore.model.errors import Code, NodeError
from objstore.model.lost import Lost
from objstore.object.device import ObjectDevice
from objstore.object.files import Files, Place


class Subject(NamedTuple):
    """Whom a change is about: the device, the place on it, and the names the container must hear."""

    device: ObjectDevice
    target: Target
    place: Place
    name: str
    paired: IndexTarget | None  # the container replica to tell
    wait_s: float  # for how long the change waits for its row
    pushed: bool
    settled: bool


def existed(before: Files, missed: Lost) -> bool:
    """Whether there was an object, as far as is known here."""
    return missed.data > 0 or (before.alive and not missed.deletion)


def require_newer(subject: Subject, timestamp: int, before: Files, missed: Lost) -> None:
    """A tie between data and a tombstone goes to whichever is there: timestamps are unique, so it cannot happen to users. What went
    to quarantine (`missed`) was older than any change that a user may make now, and may come back as it was.
    """
    if timestamp < missed.newest and not subject.pushed:
        raise NodeError(Code.NEWER_EXISTS, "", missed.newest)
    if timestamp <= (before.timestamp if subject.pushed else before.newest):
        raise NodeError(Code.NEWER_EXISTS, "", before.newest)
    require_not_promised(subject, timestamp, missed)


def is_newer(subject: Subject, before: Files, missed: Lost, timestamp: int) -> bool:
    """Whether `require_newer` lets it pass."""
    try:
        require_newer(subject, timestamp, before, missed)
    except NodeError:
        return False
    return True


def require_not_promised(subject: Subject, timestamp: int, missed: Lost) -> None:
    """What was held here before it was lost, or is held by a majority, was known to whoever got the promise."""
    ballot = subject.device.promises.get(subject.place)
    if timestamp >= ballot:
        return
    if not subject.pushed:
        raise NodeError(Code.NEWER_EXISTS, "promised to a later change", ballot)
    if not subject.settled and timestamp not in missed:
        raise NodeError(Code.PROMISED, "", ballot)
