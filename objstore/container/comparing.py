"""What a container says to rows that somebody else believes in."""

from collections.abc import Sequence
from dataclasses import dataclass

from objstore.formats.messages import IndexTarget, RowCompared, RowsCompared
from objstore.model.rows import ObjectRow
from objstore.tables.draft import Draft
from objstore.tables.operations import Merge


@dataclass(frozen=True, slots=True)
class Compare:
    """The operation behind CompareRows: merge rows, and tell of each what was known before."""

    name: str
    rows: Sequence[ObjectRow]
    parent: IndexTarget | None = None
    creates: bool = True

    def run(self, draft: Draft[ObjectRow]) -> RowsCompared:
        known = draft.known([row.name for row in self.rows])
        Merge(self.name, self.rows, None, self.parent).run(draft)
        return RowsCompared(draft.settings.exists, [_compared(known.get(row.name), row) for row in self.rows])


def _compared(known: ObjectRow | None, row: ObjectRow) -> RowCompared:
    if known is None:
        return RowCompared("missing")
    if known.deleted and known.timestamp >= row.timestamp:
        return RowCompared("deleted", known.timestamp)
    return RowCompared("known")
