"""Messages to single nodes, past every proxy: what one replica holds, and changes that only one replica gets."""

import asyncio

from objstore.app.configfile import read_secret
from objstore.app.identity import cluster_fingerprint
from objstore.app.rings import load_rings
from objstore.app.ringwatch import placement_rings
from objstore.formats.messages import (
    Address,
    GetObject,
    IndexTarget,
    ListTable,
    MergeContainerRows,
    MergeObjectRows,
    Message,
    ObjectReply,
    PostObject,
    Query,
    StatTable,
    TableInfo,
    Target,
    WriteTable,
)
from objstore.model.errors import Code, NodeError
from objstore.model.names import ObjectName
from objstore.model.rows import ContainerRow, ObjectRow
from objstore.model.version import Version
from objstore.placement.places import ObjectPlace, Placement, TablePlace
from objstore.rpc.client import RpcClient
from objstore.runtime.clock import SystemClock
from objstore.runtime.rng import SystemRng
from objstore.testing import BlockingCluster

CALL_TIMEOUT_S = 10.0
ROWS_MAX = 10_000
BODY_BYTES_MAX = 64 * 1024


class Direct:
    """Speaks to the storage nodes of a cluster one by one. Names are "/account", "/account/container", "/account/container/object";
    replicas go by their place in the ring's order.
    """

    def __init__(self, cluster: BlockingCluster) -> None:
        config = cluster.config(cluster.nodes[0])
        self._secret = read_secret(config)
        self._fingerprint = cluster_fingerprint(config)
        self._placement = Placement(placement_rings(config, load_rings(config)))
        nodes = {name: cluster.config(name).node for name in cluster.nodes}
        self._listens = {name: Address(node.listen_ip, node.ports[0]) for name, node in nodes.items()}
        self._names = {Address(node.ip, node.ports[0]): name for name, node in nodes.items()}

    def call(self, node: str, request: Message) -> Message:
        """Raises NodeError when the node refuses, PeerUnavailable when it does not answer."""

        async def once() -> Message:
            client = RpcClient(self._secret, "test", self._fingerprint, SystemClock(), SystemRng())
            try:
                return await client.call(self._listens[node], request, timeout_s=CALL_TIMEOUT_S)
            finally:
                await client.close()

        return asyncio.run(once())

    # --- places ------------------------------------------------------------------------------------------------

    def table_place(self, name: str) -> TablePlace:
        return self._placement.table(name)

    def object_place(self, name: str, policy: int = 0) -> ObjectPlace:
        return self._placement.object(ObjectName(*name[1:].split("/", 2)), policy)

    def homes(self, name: str) -> list[str]:
        """The nodes of a name's replicas, in the ring's order."""
        place = self.object_place(name) if name.count("/") > 2 else self.table_place(name)
        return [self._names[replica.address] for replica in place.replicas]

    def handoffs(self, name: str) -> list[str]:
        """The nodes that an object's copies go to when its own are away, in the order in which they are tried."""
        return [self._names[replica.address] for replica in self._placement.handoffs(self.object_place(name))]

    # --- accounts and containers -------------------------------------------------------------------------------

    def info(self, name: str, replica: int) -> TableInfo:
        """Settings (None: it has no database) and figures of an account or container, at one replica."""
        place = self.table_place(name)
        info = self._at(name, replica, StatTable(place.kind, place.replicas[replica].target, place.hash, place.name))
        assert isinstance(info, TableInfo)
        return info

    def exists(self, name: str, replica: int) -> bool:
        """Whether an account or container exists, as one replica has it."""
        settings = self.info(name, replica).settings
        return settings is not None and settings.exists

    def rows(self, name: str, replica: int) -> list[ObjectRow | ContainerRow]:
        """All rows that one replica has, those of deleted names too."""
        place = self.table_place(name)
        question = ListTable(place.kind, place.replicas[replica].target, place.hash, place.name, Query(ROWS_MAX), raw_rows=True)
        return self._at(name, replica, question).rows  # type: ignore[attr-defined, no-any-return]

    def live(self, name: str, replica: int) -> list[str]:
        """The names that one replica would list."""
        return [row.name for row in self.rows(name, replica) if not row.deleted]

    def write_table(self, name: str, replica: int, action: str, timestamp: int, values: dict[str, str] | None = None) -> None:
        """Create, update or delete an account or container at one replica alone. Raises NodeError."""
        place = self.table_place(name)
        target, parent = place.replicas[replica].target, place.parents[replica]
        self._at(
            name,
            replica,
            WriteTable(place.kind, target, place.hash, name, timestamp, action, values or {}, 0, parent),  # type: ignore[arg-type]
        )

    def merge_rows(self, name: str, replica: int, rows: list[ObjectRow]) -> None:
        """Tell one container replica rows."""
        place = self.table_place(name)
        kind = MergeObjectRows if place.kind == "container" else MergeContainerRows
        self._at(name, replica, kind(place.replicas[replica].target, place.hash, name, rows))  # type: ignore[arg-type]

    # --- objects -----------------------------------------------------------------------------------------------

    def get(self, name: str, replica: int, start: int = 0, length: int = -1) -> ObjectReply:
        """A small object, or a range of it, as one primary has it. Raises NodeError not_found, corrupt."""
        place = self.object_place(name)
        request = GetObject(place.replicas[replica].target, place.hash, name, BODY_BYTES_MAX, start, length)
        reply = self._at(name, replica, request)
        assert isinstance(reply, ObjectReply)
        return reply

    def head(self, name: str, replica: int) -> Version:
        """The version that one primary has. Raises NodeError not_found, corrupt."""
        place = self.object_place(name)
        reply = self._at(name, replica, GetObject(place.replicas[replica].target, place.hash, name))
        assert isinstance(reply, ObjectReply)
        return reply.version

    def has(self, name: str, replica: int) -> bool:
        """Whether one primary has the object, so that it would be read there."""
        try:
            self.head(name, replica)
        except NodeError as error:
            if error.code is not Code.NOT_FOUND:
                raise
            return False
        return True

    def post(self, name: str, replica: int, timestamp: int, user: dict[str, str], content_type: str | None = None) -> None:
        """Set an object's metadata at one primary. Raises NodeError."""
        place = self.object_place(name)
        target, paired = self._pair(place, replica)
        self._at(name, replica, PostObject(target, place.hash, name, timestamp, {}, user, content_type, paired))

    def _pair(self, place: ObjectPlace, replica: int) -> tuple[Target, IndexTarget]:
        return place.replicas[replica].target, place.index[replica]

    def _at(self, name: str, replica: int, request: Message) -> Message:
        return self.call(self.homes(name)[replica], request)
