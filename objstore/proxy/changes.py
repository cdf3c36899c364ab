"""Changing and deleting objects."""

from collections.abc import Callable

from objstore.formats.messages import DeleteObject, IndexTarget, PostObject, Target
from objstore.model.conditions import Conditions
from objstore.model.errors import Code, ContainerNotFound, NodeError, ObjectNotFound, Unavailable
from objstore.model.metadata import check_headers, check_metadata
from objstore.model.names import ObjectName
from objstore.model.version import Version
from objstore.placement.places import ObjectPlace, Placement
from objstore.proxy.access import Access
from objstore.proxy.completion import Completion
from objstore.proxy.found import NO_BYTES
from objstore.proxy.opening import Opener
from objstore.proxy.operations import Context, NewObject
from objstore.proxy.proposals import Attempt, Ballot, attempted
from objstore.proxy.storing import Storer
from objstore.proxy.tables import Tables
from objstore.proxy.writes import RequestFor, Writer

POST_ATTEMPTS_MAX = 3


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
        for attempt in range(POST_ATTEMPTS_MAX):
            found = await self._opener.newest(place, NO_BYTES, ctx.txn, attempt > 0, open_expired)
            assert found.version is not None
            if attempt:  # it is there, but not where it could be changed
                lacking = [i for i, replica in enumerate(place.replicas) if replica not in found.holders]
                version = found.version
                await self._completion.spread(place, found.holders[0], version.order, lacking, len(lacking), version.size, ctx.txn)
            at = _post_at(place, new, content_type, found.version)
            try:
                written = await self._writer.write(place, at, ctx.txn, found.timestamp)
            except NodeError as error:
                if error.code is not Code.NOT_FOUND:
                    raise
                continue
            for index in written.absent:
                self._completion.mend(place, found.holders[0], index, found.version.size, ctx.txn)
            return
        raise Unavailable("too few replicas that hold the object answered; the change may or may not have been applied")

    async def delete(self, ctx: Context, name: ObjectName, conditions: Conditions) -> int:
        """As Store."""
        place = await self._place(ctx, name)
        after = await self._storer.check(place, conditions, ctx.txn)
        if self._storer.proposes(place, conditions):
            return await self._delete_if(place, conditions, ctx.txn)

        def at(timestamp: int) -> RequestFor:
            def request(target: Target, index: IndexTarget | None) -> DeleteObject:
                return DeleteObject(target, place.hash, place.name, timestamp, index)

            return request

        written = await self._writer.write(place, at, ctx.txn, after)
        if not written.existed:
            raise ObjectNotFound("there is no such object", written.timestamp)
        return written.timestamp

    async def _delete_if(self, place: ObjectPlace, conditions: Conditions, txn: str) -> int:
        existed = False

        async def change(ballot: Ballot, _base: int) -> Attempt:
            nonlocal existed
            newest = ballot.newest
            existed |= newest is not None and not newest.deleted

            def request(target: Target, index: IndexTarget | None) -> DeleteObject:
                return DeleteObject(target, place.hash, place.name, ballot.timestamp, index, members=ballot.members)

            return attempted(ballot, *await self._writer.write_at(place, request, txn))

        written = await self._storer.propose(place, conditions, change, txn)
        if not existed:
            raise ObjectNotFound("there is no such object", written.timestamp)
        return written.timestamp


def _post_at(place: ObjectPlace, new: NewObject, content_type: str | None, version: Version) -> Callable[[int], RequestFor]:
    """The POST at a timestamp. Where it names no content type it carries the one that an earlier POST set: a replica that missed
    that one would else keep metadata of this timestamp with another type than the others', for ever.
    """
    kept = content_type is None and version.type_timestamp > version.timestamp
    named, type_timestamp = (version.content_type, version.type_timestamp) if kept else (content_type, 0)

    def at(timestamp: int) -> RequestFor:
        def request(target: Target, index: IndexTarget | None) -> PostObject:
            return PostObject(target, place.hash, place.name, timestamp, new.headers, new.user, named, index, type_timestamp)

        return request

    return at
