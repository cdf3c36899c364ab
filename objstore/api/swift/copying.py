"""Server-side copies: COPY with Destination, PUT with X-Copy-From."""

from dataclasses import dataclass
from urllib.parse import quote, unquote

from objstore.api.conditional import parse_conditions
from objstore.api.dates import last_modified
from objstore.api.reply import Reply
from objstore.api.swift.call import Call, Site, is_true
from objstore.api.swift.errors import Refusal
from objstore.api.swift.headers import object_headers, object_user, shown_etag, user_fields
from objstore.api.swift.objectreply import LISTING_DEFERRED
from objstore.api.swift.objects import expected_etag, part_number, put_conditions, wants_manifest
from objstore.api.swift.plain import EMPTY_HTML
from objstore.model.conditions import Conditions
from objstore.model.names import ObjectName, check_container_name, check_object_name
from objstore.model.octets import bytes_of
from objstore.model.ranges import parse_ranges
from objstore.proxy.operations import CopyRequest, NewObject


@dataclass(frozen=True, slots=True)
class Ends:
    """From where to where."""

    source: ObjectName
    target: ObjectName


class CopyHandlers:
    def __init__(self, site: Site) -> None:
        self._site = site

    async def copy(self, call: Call) -> Reply:
        """COPY source, with Destination and perhaps Destination-Account."""
        text = call.headers.get("destination", "")
        if not text:
            raise Refusal(412, "Destination header required")
        container, name = _path(text, "Destination")
        account = _account(call, "destination-account")
        return await self._copy(call, Ends(call.name, ObjectName(account, container, name)))

    async def put(self, call: Call) -> Reply:
        """PUT target, with X-Copy-From and perhaps X-Copy-From-Account."""
        if call.request.has_body:
            raise Refusal(400, "Copy requests require a zero byte body")
        container, name = _path(call.headers["x-copy-from"], "X-Copy-From")
        account = _account(call, "x-copy-from-account")
        return await self._copy(call, Ends(ObjectName(account, container, name), call.name))

    async def _copy(self, call: Call, ends: Ends) -> Reply:
        check_container_name(ends.target.container)
        check_object_name(ends.target.object)
        source_conditions = parse_conditions(call.headers)
        range_text = call.headers.get("range")
        content_type = call.headers.get("content-type") or None
        request = CopyRequest(
            ends.source,
            ends.target,
            NewObject(
                content_type or "",
                object_headers(call.headers, self._site.clock.now()),
                object_user(call.headers),
                expected_etag(call),
            ),
            content_type,
            Conditions(source_conditions.if_match, None, source_conditions.modified_since_s, source_conditions.unmodified_since_s),
            fresh_metadata=is_true(call.headers.get("x-fresh-metadata", "")),
            raw_manifest=wants_manifest(call),
            ranges=parse_ranges(range_text) if range_text else None,
            part_number=part_number(call),
            target_conditions=Conditions(if_none_match=put_conditions(call).if_none_match),
        )
        result = await self._site.store.copy_object(call.ctx, request)
        version = result.put.version
        changed = max(result.source.timestamp, result.source.meta_timestamp)
        fields = [
            EMPTY_HTML,
            ("Etag", shown_etag(result.put.etag, version.system.get("manifest", ""))),
            ("Last-Modified", last_modified(result.put.timestamp)),
            ("X-Copied-From-Account", quote(ends.source.account)),
            ("X-Copied-From", quote(f"{ends.source.container}/{ends.source.object}")),
            ("X-Copied-From-Last-Modified", last_modified(changed)),
            *user_fields(version),
        ]
        return Reply(201, fields if result.put.listed else [*fields, LISTING_DEFERRED])


def _path(text: str, field: str) -> tuple[str, str]:
    """Container and object of `[/]container/object`, percent-decoded once. Raises Refusal 412."""
    try:
        path = unquote(bytes_of(text).decode("utf-8"), errors="strict")
    except UnicodeDecodeError:
        path = ""
    container, _, name = path.removeprefix("/").partition("/")
    if not container or not name or "\0" in path:
        raise Refusal(412, f"{field} header must be of the form <container name>/<object name>")
    return container, name


def _account(call: Call, field: str) -> str:
    """The account a header names, else the request's own. Raises Refusal 412."""
    text = unquote(call.headers.get(field, ""))
    if "/" in text or "\0" in text:
        raise Refusal(412, "Account name cannot contain slashes")
    return text or call.account
