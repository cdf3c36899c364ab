"""Users from the configuration, and who they are to the access decisions (Swift's tempauth, auth version 1.0).

A user `account:name` owns `AUTH_<account>` when it is an admin; together with a token of a service user it owns
`SERVICE_<account>` as well. A reseller admin owns every account. Anyone else has what access lists grant to its groups:
`<account>`, `<account>:<name>`, and `service` for a service user.
"""

import hmac
from collections.abc import Iterable
from dataclasses import dataclass

from objstore.auth.tokens import Claims, TokenSigner
from objstore.model.identity import ANONYMOUS, Identity
from objstore.runtime.interface import Rng

ACCOUNT_PREFIX = "AUTH_"
SERVICE_PREFIX = "SERVICE_"
SERVICE_GROUP = "service"
CACHE_ENTRIES_MAX = 10_000
USER_CHARS_MAX = 256
KEY_CHARS_MAX = 1024


@dataclass(frozen=True, slots=True)
class User:
    """One configured user. `admin` of its own account; `reseller` of all of them; `service` lends its token to others."""

    account: str
    name: str
    key: str
    admin: bool = False
    reseller: bool = False
    service: bool = False

    def __repr__(self) -> str:
        return f"User({self.full_name!r})"  # never the key

    @property
    def full_name(self) -> str:
        return f"{self.account}:{self.name}"

    @property
    def storage_account(self) -> str:
        return ACCOUNT_PREFIX + self.account


@dataclass(frozen=True, slots=True)
class Grant:
    """A login that succeeded."""

    token: str
    expires_in_s: int
    storage_account: str


class TokenRejected(Exception):
    """A token was presented, and it is forged, expired, or its user is gone."""


class TempAuth:
    """The configured users. Logging in and recognising a token take the same steps for known and unknown users."""

    def __init__(self, users: Iterable[User], signer: TokenSigner, rng: Rng) -> None:
        self._signer = signer
        self._users = {user.full_name: user for user in users}
        self._digests = {name: signer.digest(user.key) for name, user in self._users.items()}
        self._nobody = rng.token_bytes(32)
        self._verified: dict[str, tuple[Claims, User, Identity]] = {}
        self._identities: dict[tuple[str, str], Identity] = {}

    def log_in(self, name: str, key: str) -> Grant | None:
        """A new token, or None when there is no such user or the key is wrong."""
        if len(name) > USER_CHARS_MAX or len(key) > KEY_CHARS_MAX:
            return None
        expected = self._digests.get(name, self._nobody)
        if not hmac.compare_digest(self._signer.digest(key), expected):
            return None
        user = self._users[name]
        token, _ = self._signer.issue(name, expected)
        return Grant(token, self._signer.life_s, user.storage_account)

    def identify(self, token: str, service_token: str = "") -> Identity:
        """Who presents these tokens; anonymous without any. Raises TokenRejected.

        A service token alone names its user but lends it no groups: it is made to be lent to others.
        """
        if not token:
            return Identity(self._recognise(service_token)[1].full_name) if service_token else ANONYMOUS
        _, user, identity = self._recognise(token)
        return self._identity(user, self._recognise(service_token)[1]) if service_token else identity

    def _identity(self, user: User, service: User | None) -> Identity:
        by = (user.full_name, service.full_name if service else "")
        identity = self._identities.get(by)
        if identity is None:
            identity = self._identities[by] = identity_of(user, service)
        return identity

    def _recognise(self, token: str) -> tuple[Claims, User, Identity]:
        known = self._verified.get(token)
        if known is not None and self._signer.in_time(known[0]):
            return known
        self._verified.pop(token, None)
        claims = self._signer.verify(token, self._binding_of)
        user = self._users.get(claims.user) if claims else None
        if claims is None or user is None:
            raise TokenRejected
        if len(self._verified) >= CACHE_ENTRIES_MAX:
            del self._verified[next(iter(self._verified))]
        known = self._verified[token] = (claims, user, self._identity(user, None))
        return known

    def _binding_of(self, user: str) -> bytes:
        return self._digests.get(user, self._nobody)


def identity_of(user: User, service: User | None = None) -> Identity:
    """The identity of a user, with the help of a service user's token where there is one."""
    groups = {user.account, user.full_name}
    if user.service:
        groups.add(SERVICE_GROUP)
    owns = set()
    if user.admin:
        owns.add(user.storage_account)
        groups.add(user.storage_account)  # as in Swift's tempauth; S3's access lists name accounts so
        if service is not None and service.service:
            owns.add(SERVICE_PREFIX + user.account)
    return Identity(user.full_name, frozenset(groups), frozenset(owns), user.reseller)
