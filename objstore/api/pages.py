"""The pages that are no API: `/info`, `/healthcheck`, `/metrics`, and logging in under `/auth/v1.0`."""

from collections.abc import Callable, Mapping
from html import escape
from typing import Any
from urllib.parse import quote

import msgspec

from objstore.api.reply import Fields, Reply, reason_of
from objstore.api.request import Request
from objstore.auth.tempauth import TempAuth
from objstore.model.errors import StoreError

_TEXT = ("Content-Type", "text/plain; charset=utf-8")
_HTML = ("Content-Type", "text/html; charset=UTF-8")
_LOGIN_PATHS = frozenset({"/auth/v1.0", "/auth/v1.0/", "/auth/v1", "/auth/v1/"})
_HOST_CHARS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_:[]")

_SENTENCES = {
    202: "The request is accepted for processing.",
    400: "The server could not comply with the request since it is either malformed or otherwise incorrect.",
    401: "This resource needs a valid token or signature.",
    403: "Access was denied to this resource.",
    404: "The resource could not be found.",
    405: "The method is not allowed for this resource.",
    406: "None of the formats asked for is available.",
    408: "The client sent too slowly.",
    409: "The state of the resource does not allow this.",
    410: "The resource was deleted.",
    411: "Content-Length or a chunked body is required.",
    412: "A condition of the request does not hold.",
    413: "The body is too large.",
    416: "The range asked for is not available.",
    422: "Unable to process the contained instructions",
    499: "The client ended the request early.",
    501: "Not implemented.",
    503: "Try again later.",
    507: "There is not enough space left.",
}


def sentence_of(status: int) -> str:
    """One sentence about a status."""
    return _SENTENCES.get(status, reason_of(status))


def error_page(status: int, text: str = "", fields: Fields | None = None) -> Reply:
    """An error's response: `text` alone where there is one, else a short standard page. Nothing of the request unescaped."""
    page = f"<html><h1>{reason_of(status)}</h1><p>{sentence_of(status)}</p></html>"
    body = escape(text, quote=False) if text else page
    return Reply(status, [_HTML, *(fields or ())], body.encode("utf-8", "replace"))


def realm_field(realm: str) -> tuple[str, str]:
    """The Www-Authenticate field of a 401."""
    return ("Www-Authenticate", f'Swift realm="{quote(realm)}"')


class Pages:
    """What is served beside the APIs."""

    def __init__(
        self,
        auth: TempAuth,
        info: Mapping[str, Any],
        metrics_page: Callable[[], tuple[str, bytes]],
        storage_url: str = "",
        draining: Callable[[], bool] = lambda: False,
        scheme: str = "http",
    ) -> None:
        """`metrics_page` gives content type and body. `storage_url` is what `X-Storage-Url` begins with, "" for what the
        client called us.
        """
        self._auth = auth
        self._info = msgspec.json.encode(info)
        self._metrics_page = metrics_page
        self._storage_url = storage_url.rstrip("/")
        self._draining = draining
        self._scheme = scheme

    async def handle(self, request: Request) -> Reply:
        if request.path.startswith("/auth/") or request.path == "/auth":
            return self._log_in(request)
        if request.method == "OPTIONS":
            return Reply(200, [_HTML, ("Allow", "GET, HEAD, OPTIONS")])
        if request.method not in ("GET", "HEAD"):
            return error_page(405, fields=[("Allow", "GET, HEAD, OPTIONS")])
        if request.path == "/info":
            return Reply(200, [("Content-Type", "application/json; charset=UTF-8")], self._info)
        if request.path == "/healthcheck":
            return Reply(503, [_TEXT], b"draining") if self._draining() else Reply(200, [_TEXT], b"OK")
        if request.path == "/metrics":
            content_type, body = self._metrics_page()
            return Reply(200, [("Content-Type", content_type)], body)
        return error_page(404)

    def error_reply(self, request: Request, error: StoreError) -> Reply:  # noqa: ARG002 - every API has it
        return error_page(400, error.text)

    def _log_in(self, request: Request) -> Reply:
        if request.path not in _LOGIN_PATHS:
            return error_page(404)
        if request.method not in ("GET", "HEAD"):
            return error_page(405, fields=[("Allow", "GET, HEAD")])
        get = request.headers.get
        user = get("x-auth-user") or get("x-storage-user") or ""
        key = get("x-auth-key") or get("x-storage-pass") or ""
        account, colon, _ = user.partition(":")
        grant = self._auth.log_in(user, key)
        if grant is None:
            return error_page(401, fields=[realm_field(account if colon else "unknown")])
        request.user = user
        fields = [
            _HTML,
            ("X-Auth-Token", grant.token),
            ("X-Storage-Token", grant.token),
            ("X-Auth-Token-Expires", str(grant.expires_in_s)),
            ("X-Storage-Url", f"{self._base_url(request)}/v1/{quote(grant.storage_account)}"),
            ("Cache-Control", "no-store"),
        ]
        return Reply(200, fields)

    def _base_url(self, request: Request) -> str:
        if self._storage_url:
            return self._storage_url
        host = request.headers.get("host", "")
        return f"{self._scheme}://{host if host and _HOST_CHARS.issuperset(host) else 'localhost'}"
