"""Who asks, as the access decisions see it. Made by `auth`, free of any protocol."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """A user and what it belongs to.

    `groups` are the words that access lists may name (`test`, `test:tester`, ...). `owns` are the accounts it administers
    (full rights, owner's view of settings). A reseller administers every account and may create and delete accounts.
    """

    user: str = ""
    groups: frozenset[str] = frozenset()
    owns: frozenset[str] = frozenset()
    reseller: bool = False

    @property
    def anonymous(self) -> bool:
        return not self.user

    def owner_of(self, account: str) -> bool:
        """Whether it has all rights in `account`. Accounts that begin with a dot are the store's own: not even a reseller's."""
        return account in self.owns or self.makes_and_deletes(account)

    def makes_and_deletes(self, account: str) -> bool:
        """Whether it may make and delete `account` as a whole, which is a reseller's alone: never the store's own ones."""
        return self.reseller and not account.startswith(".")


ANONYMOUS = Identity()
