"""Cross-origin requests (the Fetch standard's CORS protocol), strict: a container names the origins that may use it.

Settings of a container: `Access-Control-Allow-Origin` (blank-separated origins, or `*`), `Access-Control-Expose-Headers`,
`Access-Control-Max-Age`, all as user metadata. Credentials are never allowed.
"""

from objstore.api.reply import Fields, Reply
from objstore.api.swift.call import Call, Site
from objstore.api.swift.errors import Refusal
from objstore.api.swift.plain import EMPTY_HTML
from objstore.formats.messages import Settings
from objstore.model.errors import NotAuthenticated

_ALWAYS_EXPOSED = ("cache-control", "content-language", "content-type", "expires", "last-modified", "pragma", "etag",
                   "x-timestamp", "x-trans-id", "x-openstack-request-id")  # fmt: skip
REQUEST_HEADERS_CHARS_MAX = 2_048


class CorsHandlers:
    def __init__(self, site: Site) -> None:
        self._site = site

    async def options(self, call: Call, allow: str) -> Reply:
        """OPTIONS, preflight or not; it needs no token. Raises NotAuthenticated for an origin that is not allowed."""
        fields: Fields = [EMPTY_HTML, ("Allow", allow)]
        origin = call.headers.get("origin", "")
        if not origin:
            return Reply(200, fields)
        method = call.headers.get("access-control-request-method", "")
        settings = await self._settings(call)
        allowed = _allowed_origin(settings, origin) if settings else ""
        if not allowed or method not in allow.split(", "):
            raise NotAuthenticated
        fields += [("Access-Control-Allow-Origin", allowed), ("Access-Control-Allow-Methods", allow)]
        wanted = call.headers.get("access-control-request-headers", "")
        if len(wanted) > REQUEST_HEADERS_CHARS_MAX:
            raise Refusal(400, "Access-Control-Request-Headers too long")
        if wanted:
            fields.append(("Access-Control-Allow-Headers", ", ".join(name.strip().lower() for name in wanted.split(","))))
        max_age = _value(settings, "access-control-max-age")
        if max_age.isascii() and max_age.isdigit():
            fields.append(("Access-Control-Max-Age", max_age))
        vary = "Access-Control-Request-Headers" if allowed == "*" else "Origin, Access-Control-Request-Headers"
        return Reply(200, [*fields, ("Vary", vary)])

    async def expose(self, call: Call, reply: Reply) -> None:
        """Add to a response what its page may see, when the container allows the page's origin."""
        settings = await self._settings(call)
        allowed = _allowed_origin(settings, call.headers["origin"])
        if not allowed:
            return
        exposed = [*_ALWAYS_EXPOSED]
        exposed += [name.lower() for name, _ in reply.fields if name.startswith(("X-Object-Meta-", "X-Container-Meta-"))]
        exposed += _value(settings, "access-control-expose-headers").lower().split()
        reply.fields.append(("Access-Control-Allow-Origin", allowed))
        reply.fields.append(("Access-Control-Expose-Headers", ", ".join(dict.fromkeys(exposed))))
        if allowed != "*":
            reply.fields.append(("Vary", "Origin"))

    async def _settings(self, call: Call) -> Settings | None:
        return await self._site.store.peek_container(call.account, call.container) if call.container else None


def _value(settings: Settings | None, name: str) -> str:
    setting = settings.values.get("user:" + name) if settings else None
    return setting.value if setting else ""


def _allowed_origin(settings: Settings | None, origin: str) -> str:
    """What to answer an origin: itself, `*`, or "" when it is not allowed."""
    origins = _value(settings, "access-control-allow-origin").split()
    if "*" in origins:
        return "*"
    return origin if origin in origins else ""
