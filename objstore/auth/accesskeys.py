"""Access keys: a configured user's name `account:user` is its access key, its key the secret."""

from collections.abc import Iterable
from dataclasses import dataclass

from objstore.auth.tempauth import User, identity_of
from objstore.model.identity import ANONYMOUS, Identity
from objstore.runtime.interface import Rng


@dataclass(frozen=True, slots=True)
class AccessKey:
    """Who a signature is of, once it is proven. `account` is the storage account in which its buckets are.

    For an access key that nobody has, `known` is False, and the secret one that nobody can sign with.
    """

    secret: str
    identity: Identity
    account: str
    known: bool = True

    def __repr__(self) -> str:
        return f"AccessKey({self.identity.user!r})"  # never the secret


class AccessKeys:
    """The configured users' access keys."""

    def __init__(self, users: Iterable[User], rng: Rng) -> None:
        self._keys = {user.full_name: AccessKey(user.key, identity_of(user), user.storage_account) for user in users}
        self._nobody = AccessKey(rng.token_bytes(32).hex(), ANONYMOUS, "", known=False)

    def find(self, access_key: str) -> AccessKey:
        """Never fails: whoever verifies takes the same steps for an access key that nobody has."""
        return self._keys.get(access_key, self._nobody)
