"""The Swift API: which handler answers `/v1/{account}[/{container}[/{object}]]`."""

from collections.abc import Awaitable, Callable

from objstore.api.limits import EdgeLimits
from objstore.api.reply import Reply
from objstore.api.request import Request, path_segments
from objstore.api.swift.account import AccountHandlers
from objstore.api.swift.bulk import BulkHandlers
from objstore.api.swift.call import Call, Site, SwiftLimits
from objstore.api.swift.container import ContainerHandlers
from objstore.api.swift.copying import CopyHandlers
from objstore.api.swift.cors import CorsHandlers
from objstore.api.swift.errors import Refusal, error_reply
from objstore.api.swift.large_objects import LargeObjectHandlers
from objstore.api.swift.objects import ObjectHandlers
from objstore.auth.tempauth import TempAuth, TokenRejected
from objstore.model.errors import NotAuthenticated, StoreError
from objstore.model.identity import ANONYMOUS, Identity
from objstore.model.policy import Policies
from objstore.proxy.operations import Context, Store
from objstore.runtime.interface import Clock, Rng

Handler = Callable[[Call], Awaitable[Reply]]
NAME_REFUSED = "Invalid UTF8 or contains NULL"


class SwiftApi:
    """See `edge.Api`."""

    def __init__(
        self,
        store: Store,
        auth: TempAuth,
        policies: Policies,
        clock: Clock,
        rng: Rng,
        limits: SwiftLimits | None = None,
        edge_limits: EdgeLimits | None = None,
    ) -> None:
        site = Site(store, policies, clock, rng, limits or SwiftLimits(), edge_limits or EdgeLimits())
        self._auth = auth
        self._cors = CorsHandlers(site)
        self._bulk = BulkHandlers(site)
        self._objects = ObjectHandlers(site)
        self._copies = CopyHandlers(site)
        self._large = LargeObjectHandlers(site)
        account, container = AccountHandlers(site), ContainerHandlers(site)
        self._account: dict[str, Handler] = {
            "GET": account.get, "HEAD": account.head, "PUT": account.put, "POST": account.post, "DELETE": account.delete,
        }  # fmt: skip
        self._container: dict[str, Handler] = {
            "GET": container.get, "HEAD": container.head, "PUT": container.put, "POST": container.post,
            "DELETE": container.delete,
        }  # fmt: skip
        self._object: dict[str, Handler] = {
            "GET": self._objects.get, "HEAD": self._objects.get, "PUT": self._objects.put, "POST": self._objects.post,
            "DELETE": self._objects.delete, "COPY": self._copies.copy,
        }  # fmt: skip

    async def handle(self, request: Request) -> Reply:
        """Raises StoreError."""
        segments = path_segments(request.path, 4)
        if segments is None:
            raise Refusal(412, NAME_REFUSED)
        _, account, container, name = segments + [""] * (4 - len(segments))
        if not account or (name and not container):
            raise Refusal(412, "Bad URL")
        handlers = self._object if name else self._container if container else self._account
        if request.method == "OPTIONS":
            ctx = Context(ANONYMOUS, request.txn)
            return await self._cors.options(Call(request, ctx, account, container, name), _allow(handlers))
        identity = self._identify(request)
        ctx = Context(identity, request.txn, request.headers.get("referer", ""))
        call = Call(request, ctx, account, container, name)
        handler = handlers.get(request.method)
        if handler is None:
            raise Refusal(405, fields=[("Allow", _allow(handlers))])
        special = self._special(call) if request.query_text or "x-copy-from" in request.headers else None
        if "origin" not in request.headers:
            return await (special or handler)(call)
        return await self._exposed(special or handler, call)

    def error_reply(self, request: Request, error: StoreError) -> Reply:
        """See `edge.Api`."""
        segments = path_segments(request.path, 3)
        reply = error_reply(error, (segments[1] if segments and len(segments) > 1 else "") or "unknown")
        if request.method == "HEAD":
            reply.body = b""  # Swift says Content-Length: 0 here
        return reply

    def _identify(self, request: Request) -> Identity:
        get = request.headers.get
        token = get("x-auth-token") or get("x-storage-token") or ""
        try:
            identity = self._auth.identify(token, get("x-service-token") or "")
        except TokenRejected:
            raise NotAuthenticated from None
        request.user = identity.user
        return identity

    def _special(self, call: Call) -> Handler | None:
        """The handler that a query field or X-Copy-From asks for, if any."""
        method, query = call.request.method, call.query
        if "bulk-delete" in query and method in ("POST", "DELETE"):
            return self._bulk.delete
        if not call.object:
            return None
        manifest = query.get("multipart-manifest", "")
        if method == "PUT":
            if manifest == "put":
                return self._large.put
            return self._copies.put if "x-copy-from" in call.headers else None
        if method in ("GET", "HEAD") and manifest == "get" and query.get("format") == "raw":
            return self._large.get_raw
        if method == "DELETE" and manifest == "delete":
            return self._large.delete
        return None

    async def _exposed(self, handler: Handler, call: Call) -> Reply:
        """A response, errors too, with what a page of another origin may see of it."""
        try:
            reply = await handler(call)
        except StoreError as error:
            reply = self.error_reply(call.request, error)
        await self._cors.expose(call, reply)
        return reply


def _allow(handlers: dict[str, Handler]) -> str:
    return ", ".join(sorted([*handlers, "OPTIONS"]))
