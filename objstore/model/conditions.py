"""Conditional requests (RFC 9110 section 13), as values; the decision is made once, here."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Conditions:
    """What must hold of the current version. Entity tags without quotes; `*` stands for any version.

    Times are whole seconds since the epoch.
    """

    if_match: frozenset[str] | None = None
    if_none_match: frozenset[str] | None = None
    modified_since_s: int | None = None
    unmodified_since_s: int | None = None


NO_CONDITIONS = Conditions()
