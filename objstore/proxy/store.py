"""The store as the APIs see it: the one place that puts the proxy's parts together."""

from collections.abc import Sequence

from objstore.formats.messages import Query, Settings
from objstore.model.checksums import ChecksumAlgorithm, ChecksumType
from objstore.model.conditions import Conditions
from objstore.model.manifest import Segment
from objstore.model.names import ObjectName
from objstore.model.policy import ONE_POLICY, Policies
from objstore.model.rows import Subdir
from objstore.placement.places import Placement, Rings
from objstore.proxy.access import Access
from objstore.proxy.buckets import Buckets
from objstore.proxy.changes import Changer
from objstore.proxy.completion import Completion
from objstore.proxy.copying import Copier
from objstore.proxy.infocache import InfoCache
from objstore.proxy.knobs import DEFAULTS, ProxyKnobs
from objstore.proxy.largereads import LargeReader
from objstore.proxy.listings import Lister
from objstore.proxy.manifests import Manifests
from objstore.proxy.multipart import Multipart
from objstore.proxy.nodes import Nodes
from objstore.proxy.opening import Opener, part_of
from objstore.proxy.operations import (
    AccountListing,
    ContainerListing,
    Context,
    CopyRequest,
    CopyResult,
    NewObject,
    ObjectRead,
    OpenUpload,
    PutResult,
    ReadRequest,
    TableView,
    Upload,
    WantedPart,
)
from objstore.proxy.proposals import Proposer
from objstore.proxy.quotas import Quotas
from objstore.proxy.reads import Finder
from objstore.proxy.storing import Offload, Storer, in_thread
from objstore.proxy.tables import Tables, settings_or_none
from objstore.proxy.tablewrites import TableWriter
from objstore.proxy.writes import Writer
from objstore.rpc.interface import Caller, Dispatcher
from objstore.runtime.clock import HybridClock
from objstore.runtime.interface import Clock


class ClusterStore:
    """Store over a cluster's nodes. Has no durable state: any number of them may serve one cluster."""

    def __init__(
        self,
        rings: Rings,
        caller: Caller,
        clock: Clock,
        hlc: HybridClock,
        dispatcher: Dispatcher,
        *,
        policies: Policies = ONE_POLICY,
        knobs: ProxyKnobs = DEFAULTS,
        offload: Offload = in_thread,
    ) -> None:
        """`dispatcher` must be the one that answers calls which nodes make back over the caller's connections: leases are revoked
        that way. The rings in `rings` may be replaced at any time. `offload` runs long computations.
        """
        self.nodes = Nodes(caller, clock, knobs)
        placement = Placement(rings, [policy.index for policy in policies if policy.sloppy], entries_max=knobs.place_entries_max)
        completion = Completion(self.nodes, placement)
        writer = Writer(self.nodes, placement, hlc)
        proposer = Proposer(self.nodes, completion, writer, hlc)
        finder = Finder(self.nodes, placement, completion, proposer.settle)
        self.cache = InfoCache(self.nodes, dispatcher)
        access = Access(self.cache, placement)
        lister = Lister(self.nodes, self.cache)
        quotas = Quotas(self.cache, placement, policies)
        self._inline_bytes_max = knobs.inline_bytes_max
        self._tables = Tables(placement, self.cache, access, lister, TableWriter(self.nodes, self.cache, hlc), policies)
        self._opener = Opener(self.nodes, placement, finder, self._tables, access)
        self._storer = Storer(placement, self._tables, access, quotas, self._opener, finder, writer, completion, proposer, offload)
        self._large = LargeReader(self._opener, placement, self._tables, access, lister)
        self._manifests = Manifests(self._opener, self._storer, self._large)
        self._changer = Changer(placement, self._tables, access, self._opener, self._storer, writer, completion)
        self._copier = Copier(self.open_object, self._storer, self._manifests)
        parts = (placement, self._tables, access, self._opener, self._storer, self._changer, lister, hlc)
        self._multipart = Multipart(*parts)
        self._buckets = Buckets(self.nodes, placement, policies, self._tables, access, finder, self._storer, self._changer, hlc)

    async def start(self) -> None:
        """Ready for operations."""

    async def stop(self) -> None:
        """No operation may be under way. Waits, for a bounded time, for what goes on in the background."""
        await self.nodes.stop()

    # --- what an API must know -----------------------------------------------------------------------------------

    async def peek_account(self, account: str) -> Settings | None:
        """As Store."""
        return settings_or_none(await self._tables.account(account))

    async def peek_container(self, account: str, container: str) -> Settings | None:
        """As Store."""
        return settings_or_none(await self._tables.container(account, container))

    # --- accounts ------------------------------------------------------------------------------------------------

    async def head_account(self, ctx: Context, account: str) -> TableView:
        """As Store."""
        return await self._tables.head_account(ctx, account)

    async def list_account(self, ctx: Context, account: str, query: Query) -> AccountListing:
        """As Store."""
        return await self._tables.list_account(ctx, account, query)

    async def put_account(self, ctx: Context, account: str, values: dict[str, str]) -> bool:
        """As Store."""
        return await self._tables.put_account(ctx, account, values)

    async def post_account(self, ctx: Context, account: str, values: dict[str, str]) -> None:
        """As Store."""
        await self._tables.post_account(ctx, account, values)

    async def delete_account(self, ctx: Context, account: str) -> None:
        """As Store."""
        await self._tables.delete_account(ctx, account)

    # --- containers ----------------------------------------------------------------------------------------------

    async def head_container(self, ctx: Context, account: str, container: str) -> TableView:
        """As Store."""
        return await self._tables.head_container(ctx, account, container)

    async def list_container(self, ctx: Context, account: str, container: str, query: Query) -> ContainerListing:
        """As Store."""
        return await self._tables.list_container(ctx, account, container, query)

    async def put_container(
        self, ctx: Context, account: str, container: str, values: dict[str, str], policy: str | None = None
    ) -> bool:
        """As Store."""
        return await self._tables.put_container(ctx, account, container, values, policy)

    async def post_container(self, ctx: Context, account: str, container: str, values: dict[str, str]) -> None:
        """As Store."""
        await self._tables.post_container(ctx, account, container, values)

    async def delete_container(self, ctx: Context, account: str, container: str) -> None:
        """As Store."""
        await self._tables.delete_container(ctx, account, container)

    async def bucket_holder(self, bucket: str, txn: str) -> str:
        """As Store."""
        return await self._buckets.holder(bucket, txn)

    async def create_bucket(self, ctx: Context, account: str, bucket: str, values: dict[str, str]) -> bool:
        """As Store."""
        return await self._buckets.create(ctx, account, bucket, values)

    async def delete_bucket(self, ctx: Context, account: str, bucket: str) -> None:
        """As Store."""
        await self._buckets.delete(ctx, account, bucket)

    # --- objects -------------------------------------------------------------------------------------------------

    async def open_object(self, ctx: Context, request: ReadRequest) -> ObjectRead:
        """As Store."""
        part = part_of(request, self._inline_bytes_max)
        place, found = await self._opener.find(ctx, request.name, part, request.newest, request.open_expired)
        assert found.version is not None
        manifest = found.version.system.get("manifest")
        if manifest == "parts" or (manifest and not request.raw_manifest):  # nobody sees where parts are
            return await self._large.open_static(ctx, request, place, found)
        if not request.raw_manifest and "x-object-manifest" in found.version.headers:
            return await self._large.open_dynamic(ctx, request, found)
        return self._opener.plain(request, place, found, part, ctx.txn)

    async def put_object(self, ctx: Context, name: ObjectName, new: NewObject, upload: Upload, conditions: Conditions) -> PutResult:
        """As Store."""
        slot = await self._storer.slot(ctx, name, new, upload.size, conditions)
        return await self._storer.put(ctx, slot, new, upload)

    async def put_manifest(
        self, ctx: Context, name: ObjectName, new: NewObject, segments: list[Segment], conditions: Conditions
    ) -> PutResult:
        """As Store."""
        return await self._manifests.put(ctx, name, new, segments, conditions)

    async def post_object(
        self, ctx: Context, name: ObjectName, new: NewObject, content_type: str | None, open_expired: bool = False
    ) -> None:
        """As Store."""
        await self._changer.post(ctx, name, new, content_type, open_expired)

    async def delete_object(self, ctx: Context, name: ObjectName, conditions: Conditions) -> int:
        """As Store."""
        return await self._changer.delete(ctx, name, conditions)

    async def read_manifest(self, ctx: Context, name: ObjectName) -> list[Segment]:
        """As Store."""
        return await self._manifests.read(ctx, name)

    async def copy_object(self, ctx: Context, request: CopyRequest) -> CopyResult:
        """As Store."""
        return await self._copier.copy(ctx, request)

    # --- multipart uploads ---------------------------------------------------------------------------------------

    async def begin_upload(
        self, ctx: Context, name: ObjectName, new: NewObject, algorithm: ChecksumAlgorithm | None, kind: ChecksumType | None
    ) -> str:
        """As Store."""
        return await self._multipart.begin(ctx, name, new, algorithm, kind)

    async def list_uploads(self, ctx: Context, account: str, container: str, query: Query) -> list[OpenUpload | Subdir]:
        """As Store."""
        return await self._multipart.uploads(ctx, account, container, query)

    async def put_part(self, ctx: Context, name: ObjectName, id_: str, number: int, upload: Upload, etag: str | None) -> PutResult:
        """As Store."""
        return await self._multipart.put_part(ctx, name, id_, number, upload, etag)

    async def list_parts(self, ctx: Context, name: ObjectName, id_: str) -> OpenUpload:
        """As Store."""
        return await self._multipart.parts(ctx, name, id_)

    async def complete_upload(
        self, ctx: Context, name: ObjectName, id_: str, wanted: Sequence[WantedPart], conditions: Conditions
    ) -> PutResult:
        """As Store."""
        return await self._multipart.complete(ctx, name, id_, wanted, conditions)

    async def abort_upload(self, ctx: Context, name: ObjectName, id_: str) -> None:
        """As Store."""
        await self._multipart.abort(ctx, name, id_)
