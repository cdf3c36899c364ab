"""What distinguishes a container's database from an account's: the rows it holds. Everything else they share."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from objstore.formats.messages import Kind
from objstore.model.listing import Listed

SqlValue = str | int | bytes | None

R = TypeVar("R", bound=Listed)


Tally = dict[int, tuple[int, int, int]]
"""Storage policy -> containers, objects, bytes of live rows."""


def added(tally: Tally, weight: Tally, sign: int = 1) -> Tally:
    """The figures with so much more, or with sign -1 less."""
    total = dict(tally)
    for policy, (containers, objects, size) in weight.items():
        known = total.get(policy, (0, 0, 0))
        total[policy] = (known[0] + sign * containers, known[1] + sign * objects, known[2] + sign * size)
    return total


@dataclass(frozen=True, slots=True)
class Gone(Generic[R]):
    """Which rows are deleted, and when they died, in SQL and in Python: below a horizon they may be forgotten."""

    column: str
    where: str
    died: Callable[[R], int]


@dataclass(frozen=True, slots=True, eq=False)  # two, compared and hashed as part of every place: being the same is enough
class RowKind(Generic[R]):
    """One kind of table. `columns` are SQL column definitions, the primary key `name` first; `pack` and `unpack` go between a
    row and its values in that order. `indexes` are statements for indexes of this kind alone. `merge` is commutative,
    associative and idempotent; `normal` is `merge(row, row)`, done faster. `weigh` sums up what live rows add to the figures
    of their table.
    """

    kind: Kind
    directory: str
    row: type[R]
    columns: tuple[str, ...]
    indexes: tuple[str, ...]
    gone: Gone[R]
    pack: Callable[[R], tuple[SqlValue, ...]]
    unpack: Callable[[Iterable[tuple[SqlValue, ...]]], list[R]]
    merge: Callable[[R, R], R]
    normal: Callable[[R], R]
    weigh: Callable[[Sequence[R]], Tally]
    json: str = ""
    """A row as the array that `row` is in JSON, in SQL, with numbers for truth values; "" where listings are read row by row."""

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(column.split()[0] for column in self.columns)
