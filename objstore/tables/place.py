"""Where a database is."""

from typing import Any, NamedTuple

from objstore.tables.rowkind import RowKind


class Place(NamedTuple):
    """Where one database is on its device."""

    kind: RowKind[Any]
    partition: int
    hash: bytes

    @property
    def directory(self) -> str:
        return f"{self.kind.directory}/{self.partition}"

    @property
    def path(self) -> str:
        return f"{self.kind.directory}/{self.partition}/{self.hash.hex()}.db"
