"""Containers: HEAD, GET (its objects), PUT, POST, DELETE."""

from objstore.api.reply import Reply
from objstore.api.swift.call import Call, Site
from objstore.api.swift.headers import container_fields, container_values
from objstore.api.swift.listings import parse_query, render_objects
from objstore.api.swift.negotiation import choose
from objstore.api.swift.plain import EMPTY_HTML, accepted
from objstore.api.swift.pseudodirs import list_directory
from objstore.model.names import check_container_name
from objstore.proxy.operations import TableView


class ContainerHandlers:
    def __init__(self, site: Site) -> None:
        self._site = site

    async def head(self, call: Call) -> Reply:
        chosen = choose(call.request)
        view = await self._site.store.head_container(call.ctx, call.account, call.container)
        return self._reply(204, view, chosen.content_type, chosen.by_accept)

    async def get(self, call: Call) -> Reply:
        chosen = choose(call.request)
        query = parse_query(call.query, self._site.limits.container_listing_max)
        path = call.query.get("path")
        if path is None:
            listing = await self._site.store.list_container(call.ctx, call.account, call.container, query)
        else:
            listing = await list_directory(self._site.store, call, query, path)
        body = render_objects(listing.rows, chosen.media_type, call.container)
        return self._reply(200 if body else 204, listing.view, chosen.content_type, chosen.by_accept, body)

    async def put(self, call: Call) -> Reply:
        check_container_name(call.container)
        values = container_values(call.headers)
        policy = call.headers.get("x-storage-policy") or None
        made = await self._site.store.put_container(call.ctx, call.account, call.container, values, policy)
        return Reply(201, [EMPTY_HTML]) if made else accepted()

    async def post(self, call: Call) -> Reply:
        await self._site.store.post_container(call.ctx, call.account, call.container, container_values(call.headers))
        return Reply(204, [EMPTY_HTML])

    async def delete(self, call: Call) -> Reply:
        await self._site.store.delete_container(call.ctx, call.account, call.container)
        return Reply(204, [EMPTY_HTML])

    def _reply(self, status: int, view: TableView, content_type: str, varies: bool, body: bytes = b"") -> Reply:
        fields = [("Content-Type", content_type), *container_fields(view, self._site.policies)]
        if varies:
            fields.append(("Vary", "Accept"))
        return Reply(status, fields, body)
