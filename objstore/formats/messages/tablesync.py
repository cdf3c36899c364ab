"""Messages between replicas of one account or container database.

Every database has an id of its own and counts the changes of its rows. Who receives another's changes keeps a mark: the number
up to which it has them all. So what is missing on either side is a range of numbers, and a mark that is lost, or cannot be true,
costs no more than a repetition: rows merge.
"""

import msgspec

from objstore.formats.messages.addressing import Message, Target
from objstore.formats.messages.tables import Kind, Settings

TABLES_PER_CALL_MAX = 128


class TableQuery(msgspec.Struct, array_like=True, frozen=True):
    """One database on the device asked; `id` is that of the asker's own copy."""

    partition: int
    hash: bytes
    name: str
    id: bytes


class TableState(msgspec.Struct, array_like=True, frozen=True):
    """What one replica says of itself. Digests are 16 bytes each and mean nothing between two schema versions."""

    id: bytes
    version: int  # of the schema
    seq: int  # the number of its last change
    digest: bytes  # of all rows
    live: bytes  # of all rows that are not deleted
    reclaimed: int  # deletions below this timestamp were forgotten here
    settings: bytes  # digest of the settings
    row_count: int  # rows that are not deleted
    received: int  # the asker's changes were received up to this number


class CompareTables(Message, frozen=True):
    """What of these databases does the device hold? At most TABLES_PER_CALL_MAX. Reply: TablesCompared."""

    kind: Kind
    device: str
    tables: list[TableQuery]


class TablesCompared(Message, frozen=True):
    """In the order of the request: the state, None for a database that is not there, the code of a refusal for one that cannot
    be read.
    """

    tables: list[TableState | str | None]


class RowSpan(msgspec.Struct, array_like=True, frozen=True):
    """All rows of database `id` whose last change has a number above `since`, up to `until`. From 0 it starts over: then marks
    that were too high are lowered.
    """

    id: bytes
    since: int
    until: int


class TakeRows(Message, frozen=True):
    """Merge what changed in another replica; made on the spot where there is no database. `rows` is the msgpack array of rows
    of the kind. The mark moves in the same transaction, unless something before `span` was never received. Reply: RowsTaken
    when durable; `settings` as merged, if any were sent.
    """

    kind: Kind
    target: Target
    hash: bytes
    name: str
    span: RowSpan
    rows: bytes
    settings: Settings | None = None


class RowsTaken(Message, frozen=True):
    state: TableState
    settings: Settings | None = None


class FetchRows(Message, frozen=True):
    """The changes since `since`, as many as fit a message. Reply: RowsFetched; refused not_found where there is no database.
    `more`: `span` ends before the newest change.
    """

    kind: Kind
    target: Target
    hash: bytes
    name: str
    since: int


class RowsFetched(Message, frozen=True):
    span: RowSpan
    rows: bytes
    more: bool


class OpenTable(Message, frozen=True):
    """Open a stream that brings a whole database of `size` bytes. The server answers Ready or a refusal; the client sends chunks,
    then CommitTable. What is there already is merged into what came. The server answers RowsTaken when it is durable, and Ready
    from time to time before that.
    """

    kind: Kind
    target: Target
    hash: bytes
    name: str
    size: int


class CommitTable(Message, frozen=True):
    """The end of an OpenTable stream: all bytes were sent."""
