"""Accounts: HEAD, GET (its containers), PUT, POST, DELETE."""

from objstore.api.reply import Reply
from objstore.api.swift.call import Call, Site
from objstore.api.swift.headers import account_fields, account_values
from objstore.api.swift.listings import parse_query, render_containers
from objstore.api.swift.negotiation import choose
from objstore.api.swift.plain import EMPTY_HTML, accepted
from objstore.proxy.operations import TableView


class AccountHandlers:
    def __init__(self, site: Site) -> None:
        self._site = site

    async def head(self, call: Call) -> Reply:
        chosen = choose(call.request)
        view = await self._site.store.head_account(call.ctx, call.account)
        return self._reply(204, view, chosen.content_type, chosen.by_accept)

    async def get(self, call: Call) -> Reply:
        chosen = choose(call.request)
        query = parse_query(call.query, self._site.limits.account_listing_max)
        listing = await self._site.store.list_account(call.ctx, call.account, query)
        body = render_containers(listing.rows, chosen.media_type, call.account, self._site.policies)
        return self._reply(200 if body else 204, listing.view, chosen.content_type, chosen.by_accept, body)

    async def put(self, call: Call) -> Reply:
        made = await self._site.store.put_account(call.ctx, call.account, account_values(call.headers))
        return Reply(201, [EMPTY_HTML]) if made else accepted()

    async def post(self, call: Call) -> Reply:
        await self._site.store.post_account(call.ctx, call.account, account_values(call.headers))
        return Reply(204, [EMPTY_HTML])

    async def delete(self, call: Call) -> Reply:
        await self._site.store.delete_account(call.ctx, call.account)
        return Reply(204, [EMPTY_HTML])

    def _reply(self, status: int, view: TableView, content_type: str, varies: bool, body: bytes = b"") -> Reply:
        fields = [("Content-Type", content_type), *account_fields(view, self._site.policies)]
        if varies:
            fields.append(("Vary", "Accept"))
        return Reply(status, fields, body)
