"""What clients did and what they were told: the history that checkers judge.

Every write carries a tag of its own, which is in the body, so that a read says which write it saw. A write that got no answer, or
an error, may or may not have happened.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Literal

Kind = Literal["put", "post", "delete", "get", "head", "list"]
Outcome = Literal["ok", "absent", "unknown", "wrong", "unsent"]
ABSENT = ""
"""The tag of an object that is not there."""


@dataclass(slots=True)
class Operation:
    """One request. Times are monotonic seconds; `ended_s` is None while it runs and when no answer came.

    `tag`: what a PUT or a DELETE wrote, or the write whose body a read returned. `note`: the same for metadata, which a PUT and a
    POST set; None where an answer does not tell. `outcome`: "ok"; "absent", 404; "unknown", any other answer or none; "wrong", a
    read whose bytes no write wrote; "unsent", nobody was there to take it.
    """

    id: int
    client: int
    kind: Kind
    key: str
    begun_s: float
    ended_s: float | None = None
    outcome: Outcome = "unknown"
    tag: str = ABSENT
    note: str | None = ABSENT
    names: tuple[str, ...] = ()
    """Of a listing."""
    what: str = ""
    """The answer in words: status, error, transaction."""

    @property
    def known(self) -> bool:
        """It was answered, and the answer is a fact."""
        return self.ended_s is not None and self.outcome in ("ok", "absent")


@dataclass(slots=True)
class History:
    """All operations, in the order of their beginning."""

    operations: list[Operation] = field(default_factory=list)

    def begin(self, client: int, kind: Kind, key: str, now_s: float, tag: str = ABSENT, note: str = ABSENT) -> Operation:
        """One more, under way."""
        operation = Operation(len(self.operations), client, kind, key, now_s, tag=tag, note=note)
        self.operations.append(operation)
        return operation

    def of(self, *kinds: Kind) -> Iterator[Operation]:
        """Those of these kinds."""
        return (one for one in self.operations if one.kind in kinds)

    def by_key(self) -> dict[str, list[Operation]]:
        """All but listings, by key."""
        found: dict[str, list[Operation]] = {}
        for one in self.operations:
            if one.kind != "list":
                found.setdefault(one.key, []).append(one)
        return found

    @property
    def ambiguous(self) -> float:
        """The share of operations whose outcome is not known."""
        sent = [one for one in self.operations if one.outcome != "unsent"]
        return sum(not one.known for one in sent) / max(1, len(sent))

    def lines(self, operations: Iterable[Operation] | None = None) -> Iterator[str]:
        """A JSON object per operation, to be kept with a failure."""
        for one in self.operations if operations is None else operations:
            yield json.dumps(asdict(one))
