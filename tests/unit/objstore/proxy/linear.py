"""Whether what clients of one object were told has an order in which it could have happened one after the other."""

from dataclasses import dataclass

OPEN = 1 << 62
"""The return of an operation whose outcome nobody knows: it may happen at any time."""


@dataclass(frozen=True)
class Step:
    """An operation from `began` to `ended` (positions in one order of all beginnings and ends). A state is a body, None for
    no object.

    kind: "read" (saw `value`), "set" (to `value`), "swap" (to `value`, as it was `expected`), "refused" (as it was not `expected`).
    `expected`: the body that a condition named; None for "nothing is there".
    """

    kind: str
    began: int
    ended: int
    value: bytes | None = None
    expected: bytes | None = None
    certain: bool = True
    """False: it may happen within its time, or not at all."""

    def after(self, state: bytes | None) -> tuple[bool, bytes | None]:
        """Whether it may happen in `state`, and what is there then."""
        match self.kind:
            case "read":
                return state == self.value, state
            case "set":
                return True, self.value
            case "swap":
                return state == self.expected, self.value
            case "refused":
                return state != self.expected, state
        raise ValueError(self.kind)


def explained(steps: list[Step], state: bytes | None = None) -> bool:
    """Wing and Gong's search, remembering where it has been. Linearizability as of Herlihy and Wing (1990)."""
    seen: set[tuple[int, bytes | None]] = set()
    everything = sum(1 << number for number, step in enumerate(steps) if step.certain)
    stack = [(0, state)]
    while stack:
        done, state = stack.pop()
        if (done, state) in seen:
            continue
        seen.add((done, state))
        if done & everything == everything:
            return True
        first_end = min(step.ended for number, step in enumerate(steps) if everything & ~done & 1 << number)
        last_start = max((step.began for number, step in enumerate(steps) if done & 1 << number), default=0)
        for number, step in enumerate(steps):
            if not done & 1 << number and step.began <= first_end and step.ended >= last_start:
                possible, after = step.after(state)
                if possible:
                    stack.append((done | 1 << number, after))
    return False
