"""What two replicas of a database say of themselves, and what follows from it. Decisions only.

Two databases agree when their digests do. Else each lacks what the other changed since its mark. Where both have received
everything and still differ, a mark is wrong: a database was put back as it once was, or lost its log. Then all rows go both ways.
"""

from typing import NamedTuple

import msgspec
import xxhash

from objstore.formats.messages import Kind, Settings, Stats, TableState
from objstore.tables.digest import to_bytes
from objstore.tables.draft import State
from objstore.tables.schema import VERSION

LAG_MAX = 1000
"""A mark this far behind is moved even though nothing has to be sent: one commit now for fewer rows later."""
WHOLE_ROWS_MIN = 10_000
WHOLE_FACTOR = 10

_encode = msgspec.msgpack.Encoder(order="deterministic").encode


class Need(NamedTuple):
    """What brings two replicas together. `send` and `fetch`: the number after which changes go there or come here, None for
    nothing. `whole`: the other gets the whole database. `settings`: they differ. `note_there`, `note_here`: the mark may simply
    be moved, as both hold the same. `repeated`: marks were wrong.
    """

    send: int | None = None
    fetch: int | None = None
    whole: bool = False
    settings: bool = False
    note_there: bool = False
    note_here: bool = False
    repeated: bool = False

    @property
    def nothing(self) -> bool:
        """Both are equal, and know it."""
        return self == Need()

    @property
    def rows(self) -> bool:
        """Whether rows have to go either way."""
        return self.whole or self.send is not None or self.fetch is not None


def settings_digest(settings: Settings) -> bytes:
    """16 bytes; equal for equal settings, whatever the order of their values."""
    return xxhash.xxh3_128_digest(_encode(settings))


def live_rows(kind: Kind, stats: Stats) -> int:
    """How many rows of the table are not deleted."""
    return stats.container_count if kind == "account" else stats.object_count


def table_state(kind: Kind, state: State, asker: bytes) -> TableState:
    """What to tell the owner of the database `asker`."""
    return TableState(
        state.id,
        VERSION,
        state.seq,
        to_bytes(state.digests.rows),
        to_bytes(state.digests.live),
        state.reclaimed,
        settings_digest(state.settings),
        live_rows(kind, state.stats),
        state.marks.get(asker, 0),
    )


def need(kind: Kind, before: State, now: State, theirs: TableState | None, *, whole_rows_min: int = WHOLE_ROWS_MIN) -> Need:
    """`before` is what we had when the other was asked, `now` what we have after its answer: only a mark beyond the counter at a
    later time is wrong. `theirs` is None where the other has no database.
    """
    if theirs is None:
        return Need(send=0, settings=True, whole=now.seq > whole_rows_min)
    settings = settings_digest(now.settings) != theirs.settings
    here = before.marks.get(theirs.id, 0)
    if same(now, theirs):
        return Need(settings=settings, note_there=_far(theirs.received, now.seq), note_here=_far(here, theirs.seq))
    if theirs.received == now.seq and here == theirs.seq:
        if agree(now, theirs) or theirs.version != VERSION:
            return Need(settings=settings)
        return Need(send=0, fetch=0, settings=settings, repeated=True)
    send = _since(theirs.received, now.seq)
    many = send is not None and now.seq - send > whole_rows_min
    whole = many and theirs.row_count * WHOLE_FACTOR < live_rows(kind, now.stats)
    return Need(send, _since(here, theirs.seq), whole, settings)


def same(ours: State, theirs: TableState) -> bool:
    """Whether both hold the very same rows, tombstones included."""
    return theirs.version == VERSION and theirs.digest == to_bytes(ours.digests.rows)


def agree(ours: State, theirs: TableState) -> bool:
    """Whether both hold the same live rows, and tombstones as far as neither has forgotten any that the other still keeps."""
    if theirs.version != VERSION or theirs.live != to_bytes(ours.digests.live):
        return False
    return ours.reclaimed != theirs.reclaimed or theirs.digest == to_bytes(ours.digests.rows)


def acknowledged(ours: State, theirs: TableState) -> bool:
    """Whether the other durably holds every row that we hold, or a newer one."""
    return theirs.received == ours.seq or same(ours, theirs)


def _far(mark: int, seq: int) -> bool:
    return mark > seq or seq - mark > LAG_MAX


def _since(mark: int, seq: int) -> int | None:
    """From where to send: from the beginning when the mark cannot be true."""
    if mark == seq:
        return None
    return 0 if mark > seq else mark
