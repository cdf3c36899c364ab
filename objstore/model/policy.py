"""Storage policies: which object ring a container's objects live on, under names a user may choose from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from objstore.model.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Policy:
    """One storage policy. `index` is kept in containers and paths and never reused; names are compared without case.

    A deprecated policy takes no new containers. `sloppy` lets handoffs count in quorums and waives read-after-write.
    """

    index: int
    name: str
    default: bool = False
    deprecated: bool = False
    aliases: tuple[str, ...] = ()
    sloppy: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, *self.aliases)


class Policies:
    """The policies of a cluster. Raises ValueError for a set that no cluster can have."""

    def __init__(self, policies: Sequence[Policy]) -> None:
        self._by_index = {policy.index: policy for policy in policies}
        self._by_name = {name.upper(): policy for policy in policies for name in policy.names}
        defaults = [policy for policy in policies if policy.default]
        if len(self._by_index) != len(policies) or len(self._by_name) != sum(len(policy.names) for policy in policies):
            raise ValueError("two storage policies share an index or a name")
        if len(defaults) != 1 or defaults[0].deprecated:
            raise ValueError("exactly one storage policy must be the default, and it cannot be deprecated")
        self.default = defaults[0]

    def __iter__(self) -> Iterator[Policy]:
        return iter(self._by_index.values())

    def get(self, index: int) -> Policy | None:
        return self._by_index.get(index)

    def choose(self, name: str) -> Policy:
        """The policy a user names for a new container. Raises InvalidInput when there is none of this name."""
        policy = self._by_name.get(name.upper())
        if policy is None:
            raise InvalidInput(f"Invalid X-Storage-Policy '{name}'")
        if policy.deprecated:
            raise InvalidInput(f"Storage Policy '{policy.name}' is deprecated")
        return policy


ONE_POLICY = Policies([Policy(0, "Policy-0", default=True)])
