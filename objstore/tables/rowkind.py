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


@dataclass(frozen=True, slots=True)
class RowKind(Generic[R]):
    """One kind of table. `columns` are SQL column definitions, the primary key `name` first; `pack` and `unpack` go between a
    row and its values in that order. `merge` is commutative, associative and idempotent; `normal` is `merge(row, row)`, done
    faster. `weigh` sums up what live rows add to the figures of their table.
    """

    kind: Kind
    directory: str
    columns: tuple[str, ...]
    pack: Callable[[R], tuple[SqlValue, ...]]
    unpack: Callable[[Iterable[tuple[SqlValue, ...]]], list[R]]
    merge: Callable[[R, R], R]
    normal: Callable[[R], R]
    weigh: Callable[[Sequence[R]], Tally]

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(column.split()[0] for column in self.columns)
