"""Changing and deleting objects."""

from objstore.formats.messages import DeleteObject, IndexTarget, PostObject, Target
from objstore.model.conditions import Conditions
from objstore.model.errors import Code, ContainerNotFound, NodeError, ObjectNotFound
from objstore.model.metadata import check_headers, check_metadata
from objstore.model.names import ObjectName
from objstore.placement.places import ObjectPlace, Placement
from objstore.proxy.access import Access
from objstore.proxy.completion import Completion
from objstore.proxy.opening import Opener
from objstore.proxy.operations import Context, NewObject
from objstore.proxy.reads import NO_BYTES
from objstore.proxy.storing import Storer
from objstore.proxy.tables import Tables
from objstore.proxy.writes import RequestFor, Writer


class Changer:
    """POST and DELETE, in Swift's words."""

    def __init__(
        self,
        placement: Placement,
        tables: Tables,
        access: Access,
        opener: Opener,
        storer: Storer,
        writer: Writer,
        completion: Completion,
    ) -> None:
        self._placement = placement
        self._tables = tables
        self._access = access
        self._opener = opener
        self._storer = storer
        self._writer = writer
        self._completion = completion

    async def _place(self, ctx: Context, name: ObjectName) -> ObjectPlace:
        info = await self._tables.container(name.account, name.container)
        await self._access.write_object(ctx, name.account, info)
        if not info.exists:
            raise ContainerNotFound("there is no such container")
        return self._placement.object(name, info.settings.policy)

    async def post(self, ctx: Context, name: ObjectName, new: NewObject, content_type: str | None, open_expired: bool) -> None:
        """As Store. The object is completed on a majority first, so that there is something to change there."""
        place = await self._place(ctx, name)
        check_metadata("object", new.user)
        check_headers(new.headers)
        found = await self._opener.newest(place, NO_BYTES, ctx.txn, open_expired=open_expired)

        def at(timestamp: int) -> RequestFor:
            def request(target: Target, index: IndexTarget | None) -> PostObject:
                return PostObject(target, place.hash, place.name, timestamp, new.headers, new.user, content_type, index)

            return request

        try:
            written = await self._writer.write(place, at, ctx.txn, found.timestamp)
        except NodeError as error:
            if error.code is Code.NOT_FOUND:
                raise ObjectNotFound("the object was deleted meanwhile") from None
            raise
        assert found.version is not None
        for index in written.absent:
            self._completion.mend(place, found.holders[0], index, found.version.size, ctx.txn)

    async def delete(self, ctx: Context, name: ObjectName, conditions: Conditions) -> int:
        """As Store."""
        place = await self._place(ctx, name)
        after = await self._storer.check(place, conditions, ctx.txn)

        def at(timestamp: int) -> RequestFor:
            def request(target: Target, index: IndexTarget | None) -> DeleteObject:
                return DeleteObject(target, place.hash, place.name, timestamp, index)

            return request

        written = await self._writer.write(place, at, ctx.txn, after)
        if not written.existed:
            raise ObjectNotFound("there is no such object", written.timestamp)
        return written.timestamp
