"""Conditional requests (RFC 9110 section 13), as values; the decision is made once, here."""

from dataclasses import dataclass

from objstore.model.errors import NotModified, PreconditionFailed

ANY = "*"


@dataclass(frozen=True, slots=True)
class Conditions:
    """What must hold of the current version. Entity tags without quotes; `*` stands for any version.

    Times are whole seconds since the epoch.
    """

    if_match: frozenset[str] | None = None
    if_none_match: frozenset[str] | None = None
    modified_since_s: int | None = None
    unmodified_since_s: int | None = None

    @property
    def empty(self) -> bool:
        return self == NO_CONDITIONS


NO_CONDITIONS = Conditions()


def names(tags: frozenset[str], etag: str) -> bool:
    """Whether a list of entity tags names a version that exists."""
    return ANY in tags or etag in tags


def check_read(conditions: Conditions, etag: str, modified_s: int, timestamp: int = 0) -> None:
    """Decide a read of a version that exists, in the order of RFC 9110 section 13.2.2.

    `modified_s` is the last modification rounded up to whole seconds, as it is shown. One deviation, which Swift's own tests
    demand: If-Unmodified-Since counts beside If-Match too; an API that follows the RFC leaves it out then.

    Raises PreconditionFailed or NotModified.
    """
    if conditions.if_match is not None and not names(conditions.if_match, etag):
        raise PreconditionFailed(etag=etag)
    if conditions.unmodified_since_s is not None and modified_s > conditions.unmodified_since_s:
        raise PreconditionFailed(etag=etag)
    if conditions.if_none_match is not None:
        if names(conditions.if_none_match, etag):
            raise NotModified(etag, timestamp)
    elif conditions.modified_since_s is not None and modified_s <= conditions.modified_since_s:
        raise NotModified(etag, timestamp)


def check_write(conditions: Conditions, etag: str | None, modified_s: int = 0) -> None:
    """Decide a write over the version with `etag`, None when there is none. Raises PreconditionFailed."""
    if conditions.if_match is not None and (etag is None or not names(conditions.if_match, etag)):
        raise PreconditionFailed(etag=etag or "")
    if etag is None:
        return
    if conditions.unmodified_since_s is not None and modified_s > conditions.unmodified_since_s:
        raise PreconditionFailed(etag=etag)
    if conditions.if_none_match is not None and names(conditions.if_none_match, etag):
        raise PreconditionFailed(etag=etag)
