"""Faults of the network between nodes."""

from typing import Any

from objstore.testing.failures import ClusterError
from objstore.testing.life import Life, Nodes
from objstore.testing.network import Network


class NetworkFaults:
    """Part of Cluster."""

    _life: Life

    async def partition(self, a: Nodes, b: Nodes, *, one_way: bool = False, refuse: bool = False) -> None:
        """Nothing that nodes `a` and `b` send each other arrives, until `heal`; nobody is told. `one_way`: what `b` sends still
        arrives at `a`. So requests of `b` arrive at `a` and are carried out, and the replies are lost. `refuse`: connections
        are reset at once instead.
        """
        what = {"refused": True} if refuse else {"lost": True}
        self._change(a, b, one_way=one_way, what=what)

    async def delay(self, a: Nodes, b: Nodes, seconds: float, *, one_way: bool = False) -> None:
        """All that they send each other arrives so much later; a request and its reply are late twice, unless `one_way`: then
        only what `a` sends is late.
        """
        self._change(a, b, one_way=one_way, what={"delay_s": seconds})

    async def bandwidth(self, a: Nodes, b: Nodes, bytes_per_s: float, *, one_way: bool = False) -> None:
        """Each connection between them carries at most so much in each direction; 0: as much as it can."""
        self._change(a, b, one_way=one_way, what={"bytes_per_s": bytes_per_s})

    async def cut(self, a: Nodes, b: Nodes, after_bytes: int = 0, *, connections: int = 1) -> None:
        """The next connections on which `a` sends `b` more than `after_bytes` from now on end there."""
        self._change(a, b, one_way=True, what={"cut_after": after_bytes, "cuts": connections})

    async def flip(self, a: Nodes, b: Nodes, after_bytes: int = 0, *, connections: int = 1) -> None:
        """One bit of what `a` sends `b` is turned over on the wire, behind `after_bytes` of a connection from now on."""
        self._change(a, b, one_way=True, what={"flip_after": after_bytes, "flips": connections})

    async def heal(self) -> None:
        """The network is whole again. Connections on which bytes were lost break now, as they would have before long."""
        if self._life.network is not None:
            self._life.network.heal()

    def connections(self, a: str, b: str) -> int:
        """How many connections `a` has made to `b` so far."""
        return self._network().connections[a, b]

    def _change(self, a: Nodes, b: Nodes, *, one_way: bool, what: dict[str, Any]) -> None:
        network = self._network()
        for one in self._life.chosen(a):
            for other in self._life.chosen(b):
                if one is not other:
                    network.change(one.member.name, other.member.name, **what)
                    if not one_way:
                        network.change(other.member.name, one.member.name, **what)

    def _network(self) -> Network:
        if self._life.network is None:
            raise ClusterError("the nodes speak to each other directly: the cluster was made with network_faults=False")
        return self._life.network
