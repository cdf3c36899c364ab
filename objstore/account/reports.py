"""What containers report to their account."""

from collections.abc import Sequence
from dataclasses import dataclass

from objstore.formats.messages import ContainersMerged, Settings
from objstore.model.rows import ContainerRow
from objstore.tables.draft import Draft
from objstore.tables.operations import Merge


@dataclass(frozen=True, slots=True)
class TakeReports:
    """The operation behind MergeContainerRows: merge rows, and say which of them lost to a later report."""

    name: str
    rows: Sequence[ContainerRow]
    settings: Settings | None = None
    creates: bool = True

    def run(self, draft: Draft[ContainerRow]) -> ContainersMerged:
        known = draft.known([row.name for row in self.rows])
        Merge(self.name, self.rows, self.settings).run(draft)
        return ContainersMerged([_kept(known.get(row.name), row) for row in self.rows])


def _kept(known: ContainerRow | None, row: ContainerRow) -> int:
    if known is None or known.reported <= row.reported:
        return 0
    same = (known.object_count, known.bytes_used) == (row.object_count, row.bytes_used)
    return 0 if same else known.reported
