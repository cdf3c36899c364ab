"""Access lists of containers and accounts: their text forms, and whom they name.

Forms as in Swift's "Access Control Lists (ACLs)" page. A container's list is comma-separated: `account:user`, `account`,
`*:user`, `account:*`, `.r:*`, `.r:host`, `.r:.domain`, `.r:-host`, `.rlistings`. An account's list is a JSON object of
`admin`, `read-write` and `read-only`, each a list of groups.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass
from enum import IntEnum
from urllib.parse import urlsplit

from objstore.model.errors import InvalidInput

LISTINGS = ".rlistings"
_REFERRER_FORMS = frozenset({".r", ".ref", ".referer", ".referrer"})


def clean_container_acl(text: str, write: bool) -> str:
    """The normal form of a container's list. Raises InvalidInput with Swift's words.

    >>> clean_container_acl(" .referrer : *.example.com , a:b", write=False)
    '.r:.example.com,a:b'
    """
    words = []
    for item in text.split(","):
        word = item.strip()
        if not word:
            continue
        first, colon, second = word.partition(":")
        first, second = first.strip(), second.strip()
        if colon and first.startswith("."):
            word = _clean_referrer(first, second, word, write)
        words.append(word)
    return ",".join(words)


def _clean_referrer(designator: str, host: str, word: str, write: bool) -> str:
    if designator not in _REFERRER_FORMS:
        raise InvalidInput(f"Unknown designator {designator!r} in ACL: {word!r}")
    if write:
        raise InvalidInput(f"Referrers not allowed in write ACL: {word!r}")
    minus = "-" if host.startswith("-") else ""
    host = host.removeprefix("-").strip()
    if host != "*" and host.startswith("*"):
        host = host[1:].strip()
    if not host or host == ".":
        raise InvalidInput(f"No host/domain value after referrer designation in ACL: {word!r}")
    return f".r:{minus}{host}"


@dataclass(frozen=True, slots=True)
class ContainerAcl:
    """A parsed list. `referrers` keep their order: the last one that matches decides."""

    groups: frozenset[str] = frozenset()
    referrers: tuple[str, ...] = ()
    listings: bool = False

    def names_user(self, groups: Collection[str]) -> bool:
        """Whether the list names one of a user's groups; never true of an anonymous user, who has none."""
        if not self.groups or not groups:
            return False
        if not self.groups.isdisjoint(groups):
            return True
        return "*:*" in self.groups or any(self._matches_wildcard(group) for group in groups)

    def _matches_wildcard(self, group: str) -> bool:
        account, colon, user = group.partition(":")
        return bool(colon) and (f"*:{user}" in self.groups or f"{account}:*" in self.groups)

    def names_referrer(self, referrer: str) -> bool:
        """Whether a page at URL `referrer` ("" for none) may show the container's objects to anybody."""
        if not self.referrers:
            return False
        host = _host_of(referrer)
        allowed = False
        for rule in self.referrers:
            pattern = rule.removeprefix("-")
            if pattern == host or (pattern.startswith(".") and host.endswith(pattern)):
                allowed = not rule.startswith("-")
            elif rule == "*":
                allowed = True
        return allowed


NOBODY = ContainerAcl()


def parse_container_acl(text: str) -> ContainerAcl:
    """The list of a text in normal form; never fails, for what is stored was cleaned."""
    if not text:
        return NOBODY
    words = [word for word in text.split(",") if word]
    referrers = tuple(word[3:] for word in words if word.startswith(".r:"))
    groups = frozenset(word for word in words if not word.startswith("."))
    return ContainerAcl(groups, referrers, LISTINGS in words)


def _host_of(referrer: str) -> str:
    try:
        return urlsplit(referrer).hostname or "unknown"
    except ValueError:
        return "unknown"


class Grant(IntEnum):
    """What an account's list gives a user; each includes the one before."""

    NONE = 0
    READ_ONLY = 1
    READ_WRITE = 2
    ADMIN = 3


_KEYS = {"admin": Grant.ADMIN, "read-only": Grant.READ_ONLY, "read-write": Grant.READ_WRITE}


def clean_account_acl(text: str) -> str:
    """The normal form of an account's list: compact JSON with sorted keys, "" for one that grants nothing.

    Raises InvalidInput with Swift's words.
    """
    if not text.strip():
        return ""
    try:
        lists = json.loads(text)
    except (ValueError, RecursionError):
        lists = None
    if not isinstance(lists, dict):
        raise InvalidInput(f"Syntax error in input ({text!r})")
    for key, groups in lists.items():
        if key not in _KEYS:
            raise InvalidInput(f"Key {json.dumps(key)} not recognized")
        if not isinstance(groups, list):
            raise InvalidInput(f"Value for key {json.dumps(key)} must be a list")
        if not all(isinstance(group, str) for group in groups):
            raise InvalidInput(f"Elements of {json.dumps(key)} list must be strings")
    return json.dumps(lists, separators=(",", ":"), sort_keys=True) if lists else ""


@dataclass(frozen=True, slots=True)
class AccountAcl:
    """A parsed list: what each group is granted."""

    grants: dict[str, Grant]

    def grant_of(self, groups: Collection[str]) -> Grant:
        """The most that any of a user's groups is granted."""
        if not self.grants:
            return Grant.NONE
        return max((self.grants.get(group, Grant.NONE) for group in groups), default=Grant.NONE)


def parse_account_acl(text: str) -> AccountAcl:
    """The list of a text in normal form; what cannot be read grants nothing."""
    if not text:
        return AccountAcl({})
    try:
        lists = json.loads(text)
    except (ValueError, RecursionError):
        return AccountAcl({})
    grants: dict[str, Grant] = {}
    for key, groups in lists.items() if isinstance(lists, dict) else ():
        for group in groups if key in _KEYS and isinstance(groups, list) else ():
            if isinstance(group, str):
                grants[group] = max(grants.get(group, Grant.NONE), _KEYS[key])
    return AccountAcl(grants)
