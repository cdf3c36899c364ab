"""Messages to account and container servers."""

from typing import Literal, NamedTuple

import msgspec

from objstore.formats.messages.addressing import IndexTarget, Message, Target
from objstore.model.rows import ContainerRow, ObjectRow, Subdir

Kind = Literal["account", "container"]


class Setting(NamedTuple):
    """One register of a database's settings; the newest timestamp wins, an empty value means removed."""

    value: str
    timestamp: int


class Settings(msgspec.Struct, array_like=True, frozen=True):
    """What is set on an account or a container, mergeable register by register.

    It exists when put_timestamp > delete_timestamp. Keys of `values`: `user:<name>` for metadata, `acl:read`, `acl:write`,
    `sys:<name>` for the rest; all lower case but values.
    """

    name: str  # "/account" or "/account/container"
    put_timestamp: int = 0
    delete_timestamp: int = 0
    policy: int = 0
    created_timestamp: int = 0  # the first put since the last deletion
    values: dict[str, Setting] = {}
    base_timestamp: int = 0  # the deletion that preceded `created_timestamp`; it makes (created_timestamp, policy) mergeable

    @property
    def exists(self) -> bool:
        return self.put_timestamp > self.delete_timestamp


class Stats(msgspec.Struct, array_like=True, frozen=True):
    """Exact figures of one database. For a container: objects and bytes. For an account: the sums over its containers."""

    container_count: int = 0
    object_count: int = 0
    bytes_used: int = 0
    policies: dict[int, tuple[int, int, int]] = {}  # account only: policy -> containers, objects, bytes


class WriteTable(Message, frozen=True):
    """Create, update or delete an account or container. Reply: TableWritten.

    create: makes it exist, sets `values` too. update: sets `values`; refused not_found when it does not exist here.
    delete: refused not_empty while rows live (of a container), not_found when it does not exist.
    For a container, `parent` tells where this replica reports its row in the account. Leases on the old settings are revoked,
    or have run out, before the reply.
    """

    kind: Kind
    target: Target
    hash: bytes
    name: str
    timestamp: int
    action: Literal["create", "update", "delete"]
    values: dict[str, str] = {}
    policy: int = 0
    parent: IndexTarget | None = None


class TableWritten(Message, frozen=True):
    existed: bool


class StatTable(Message, frozen=True):
    """Settings and figures. Reply: TableInfo; a database this device does not have answers `settings` None (never a refusal:
    the caller decides by majority). With `lease`, the caller is told by RevokeLease before a change is acknowledged, for
    `lease_s` seconds.
    """

    kind: Kind
    target: Target
    hash: bytes
    name: str
    lease: bool = False


class TableInfo(Message, frozen=True):
    settings: Settings | None
    stats: Stats
    lease_s: float = 0.0


class RevokeLease(Message, frozen=True):
    """Server to lease holder, on the holder's own connection: forget what you know of this name. Reply: Ready."""

    kind: Kind
    name: str


class Query(msgspec.Struct, array_like=True, frozen=True):
    """Which part of a listing. `marker` and `end_marker` are exclusive; with `reverse` names descend. `delimiter` may have
    several characters. `path` (Swift's pseudo-directory form) is turned into prefix and delimiter by the API.
    """

    limit: int
    marker: str = ""
    end_marker: str = ""
    prefix: str = ""
    delimiter: str = ""
    reverse: bool = False


class ListTable(Message, frozen=True):
    """One page of a listing. Reply: ObjectPage or ContainerPage.

    Deleted rows never come in `rows`; they count in `digest`. With `digest_only`, `rows` is empty. With `table_only`, too, the page
    is not even read where the digest of the whole table is known at once: the answer has `table`, and b"" for `digest`. `known` is
    the `table` of a page that the caller has: who holds that very table answers in the same way.
    """

    kind: Kind
    target: Target
    hash: bytes
    name: str
    query: Query
    digest_only: bool = False
    raw_rows: bool = False  # all rows of the same range, deleted ones too, no delimiter: for merging two replicas
    packed: bool = False  # the rows may come in `packed`
    table_only: bool = False
    known: bytes = b""


class ObjectPage(Message, frozen=True):
    """`digest` covers every row (tombstones included) from the marker to the last name the page looked at; two replicas with
    equal digests and `until` have the same page. `until`: the last name looked at, "" when the listing ended. `packed`: a JSON
    array of the rows instead of `rows`, `dead` of them tombstones. `table`: the digest of all rows of the table at the moment when
    the page was read, b"" when not known; where that is equal, so is every page.
    """

    info: TableInfo
    rows: list[ObjectRow | Subdir]
    digest: bytes
    until: str
    packed: bytes = b""
    dead: int = 0
    table: bytes = b""

    def all_rows(self) -> list[ObjectRow | Subdir]:
        """However they came. Raises msgspec.MsgspecError for a packed page that is none."""
        if not self.packed:
            return self.rows
        rows = _PACKED.decode(self.packed)
        return [row for row in rows if not row.deleted] if self.dead else [*rows]


_PACKED = msgspec.json.Decoder(list[ObjectRow], strict=False)


class ContainerPage(Message, frozen=True):
    info: TableInfo
    rows: list[ContainerRow | Subdir]
    digest: bytes
    until: str
    table: bytes = b""


class MergeObjectRows(Message, frozen=True):
    """Merge rows (and settings, when given) into a container database, made on the spot where it is missing (it then holds
    rows but does not exist for users until settings say so). Reply: Ready when durable.
    """

    target: Target
    hash: bytes
    name: str
    rows: list[ObjectRow]
    settings: Settings | None = None
    parent: IndexTarget | None = None  # as in WriteTable; kept where the database does not know its parent yet


class MergeContainerRows(Message, frozen=True):
    """The same for an account database. Reply: ContainersMerged when durable."""

    target: Target
    hash: bytes
    name: str
    rows: list[ContainerRow]
    settings: Settings | None = None


class CompareRows(Message, frozen=True):
    """Does the container know these rows? Reply: RowsCompared when durable: what it did not know, or knew older, is merged. The
    database is made where it is missing, as by MergeObjectRows.
    """

    target: Target
    hash: bytes
    name: str
    rows: list[ObjectRow]
    parent: IndexTarget | None = None


class RowCompared(NamedTuple):
    """known: listed as it is told, or newer. missing: nothing of this name was known until now. deleted: a deletion at
    `timestamp` is known, and it is not older.
    """

    state: Literal["known", "missing", "deleted"]
    timestamp: int = 0


class RowsCompared(Message, frozen=True):
    """In the order of the request. `exists`: whether the container exists for users, here."""

    exists: bool
    rows: list[RowCompared]


class ContainersMerged(Message, frozen=True):
    """For each row that came, in order: 0, or when the report that the account keeps instead was made (`ContainerRow.reported`),
    because that is later and says something else.
    """

    kept: list[int] = []
