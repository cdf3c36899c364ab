"""What can be asked of one database inside a transaction: decisions, each all or nothing, none of them waits."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import msgspec

from objstore.formats.messages import IndexTarget, RowSpan, Setting, Settings, TableWritten, WriteTable
from objstore.formats.settings import merge_settings
from objstore.model.errors import Code, NodeError
from objstore.model.listing import Listed
from objstore.model.rows import ContainerRow
from objstore.tables.digest import Digests
from objstore.tables.draft import Draft
from objstore.tables.rowkind import Tally

R = TypeVar("R", bound=Listed)
T_co = TypeVar("T_co", covariant=True)


class Operation(Protocol[R, T_co]):
    """Runs in the writer thread. Refuses with a NodeError before it changes anything of the draft."""

    @property
    def name(self) -> str:
        """Of the account or container; a database that is of another name is not touched. "" fits any."""

    @property
    def creates(self) -> bool:
        """Whether a missing database is to be made; else the operation is refused with not_found."""

    def run(self, draft: Draft[R]) -> T_co: ...


@dataclass(frozen=True, slots=True)
class Open(Generic[R]):
    """Nothing but opening the database."""

    name: str
    creates: bool = False

    def run(self, draft: Draft[R]) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Merge(Generic[R]):
    """Merge rows, settings and, where none is known yet, the parent."""

    name: str
    rows: Sequence[R]
    settings: Settings | None = None
    parent: IndexTarget | None = None
    creates: bool = True

    def run(self, draft: Draft[R]) -> None:
        if self.settings is not None:
            if self.settings.name != self.name:
                raise NodeError(Code.BAD_REQUEST, "settings of another name")
            draft.settings = merge_settings(draft.settings, self.settings)
        if draft.parent is None:
            draft.parent = self.parent
        draft.merge_rows(self.rows)


@dataclass(frozen=True, slots=True)
class Take(Generic[R]):
    """A Merge of what another replica sent, noted as received. Returns whether the settings changed."""

    name: str
    span: RowSpan
    rows: Sequence[R] = ()
    settings: Settings | None = None
    parent: IndexTarget | None = None
    creates: bool = True

    def run(self, draft: Draft[R]) -> bool:
        span, before = self.span, draft.settings
        if span.id == draft.id:
            raise NodeError(Code.BAD_REQUEST, "a database was sent its own rows")
        Merge(self.name, self.rows, self.settings, self.parent).run(draft)
        known = draft.marks.get(span.id, 0)
        mark = span.until if not span.since else max(known, span.until) if known >= span.since else known
        if mark != known:
            draft.set_mark(span.id, mark)
        return draft.settings != before


@dataclass(frozen=True, slots=True)
class Forget(Generic[R]):
    """Remove deleted rows that died before `horizon` (a timestamp), and have not changed since `seq`; returns how many."""

    name: str
    horizon: int
    seq: int
    rows_max: int
    creates: bool = False

    def run(self, draft: Draft[R]) -> int:
        return draft.forget(self.horizon, self.seq, self.rows_max)


@dataclass(frozen=True, slots=True)
class Correct(Generic[R]):
    """Add to the figures and digests what a count of the rows found missing."""

    name: str
    tally: Tally
    digests: Digests
    creates: bool = False

    def run(self, draft: Draft[R]) -> None:
        draft.correct(self.tally, self.digests)


@dataclass(frozen=True, slots=True)
class ReportTo(Generic[R]):
    """The container reports to another replica of its account from now on, which knows nothing of it yet."""

    name: str
    parent: IndexTarget
    creates: bool = False

    def run(self, draft: Draft[R]) -> None:
        if draft.parent != self.parent:
            draft.parent = self.parent
            draft.reported = None


@dataclass(frozen=True, slots=True)
class MarkReported(Generic[R]):
    """The parent holds this row of the container."""

    name: str
    row: ContainerRow
    creates: bool = False

    def run(self, draft: Draft[R]) -> None:
        if draft.reported is None or draft.reported.reported < self.row.reported:
            draft.reported = self.row


@dataclass(frozen=True, slots=True)
class Write(Generic[R]):
    """A WriteTable request. Refused, beside what the message says: newer_exists with the timestamp the request must exceed."""

    request: WriteTable

    @property
    def name(self) -> str:
        return self.request.name

    @property
    def creates(self) -> bool:
        return self.request.action == "create"

    def run(self, draft: Draft[R]) -> TableWritten:
        request, settings = self.request, draft.settings
        match request.action:
            case "create":
                changed = created(settings, request)
            case "update":
                changed = updated(settings, request)
            case "delete":
                # What a deleted account still has is its reaper's.
                if request.kind == "container" and settings.exists and not draft.empty:
                    raise NodeError(Code.NOT_EMPTY, "it is not empty")
                changed = deleted(settings, request.timestamp)
        draft.settings = changed
        if request.parent is not None:
            draft.parent = request.parent
        return TableWritten(settings.exists or request.action == "delete")


def created(settings: Settings, request: WriteTable) -> Settings:
    """Make it exist. What exists keeps its policy and its creation time. Raises NodeError newer_exists."""
    timestamp = request.timestamp
    _require_newer(timestamp, settings.delete_timestamp)
    if settings.exists:
        born = settings
    else:
        born = msgspec.structs.replace(
            settings,
            policy=request.policy,
            created_timestamp=timestamp,
            base_timestamp=settings.delete_timestamp,
        )
    return msgspec.structs.replace(
        born, put_timestamp=max(born.put_timestamp, timestamp), values=_with_values(born.values, request.values, timestamp)
    )


def updated(settings: Settings, request: WriteTable) -> Settings:
    """Set values of what exists. Raises NodeError not_found or newer_exists."""
    _require_exists(settings)
    _require_newer(request.timestamp, settings.delete_timestamp)
    return msgspec.structs.replace(settings, values=_with_values(settings.values, request.values, request.timestamp))


def deleted(settings: Settings, timestamp: int) -> Settings:
    """Void all that is set. The same deletion twice is no error. Raises NodeError not_found or newer_exists."""
    if settings.delete_timestamp == timestamp and not settings.exists:
        return settings
    _require_exists(settings)
    newest = max([settings.put_timestamp, *(setting.timestamp for setting in settings.values.values())])
    _require_newer(timestamp, newest)
    return msgspec.structs.replace(settings, delete_timestamp=timestamp, values={})


def _with_values(values: dict[str, Setting], changes: dict[str, str], timestamp: int) -> dict[str, Setting]:
    if not changes:
        return values
    merged = dict(values)
    for key, value in changes.items():
        setting, known = Setting(value, timestamp), values.get(key)
        if known is not None and known != setting:
            _require_newer(timestamp, known.timestamp)
        merged[key] = setting
    return merged


def _require_exists(settings: Settings) -> None:
    if not settings.exists:
        raise NodeError(Code.NOT_FOUND, "no such account or container here", settings.delete_timestamp)


def _require_newer(timestamp: int, known: int) -> None:
    if timestamp <= known:
        raise NodeError(Code.NEWER_EXISTS, "a later change is known", known)
