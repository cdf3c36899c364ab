"""Who may do what. Each check comes before anything else about the name is revealed: who may not look gets the same answer
whether or not there is something to see.

Rules of Swift's access lists (its "Access Control Lists (ACLs)" page): an account's owner and resellers may do all; an account's
list grants read-only, read-write or admin; a container's read list opens its objects and, for listings, needs a user's name or
`.rlistings`; its write list opens objects for change, never the container itself.
"""

from objstore.model.acl import Grant
from objstore.model.errors import AccessDenied, NotAuthenticated, StoreError
from objstore.model.identity import Identity
from objstore.placement.places import Placement
from objstore.proxy.infocache import Info, InfoCache
from objstore.proxy.operations import Context

OWNER_KEYS = frozenset({"acl:read", "acl:write", "acl:account", "user:temp-url-key", "user:temp-url-key-2"})
"""Settings that only an owner may set or see, beside all `sys:` ones of containers."""


def owner_only(key: str) -> bool:
    """Whether a setting is for owners' eyes and hands alone."""
    return key in OWNER_KEYS or key.startswith("sys:sync-")


def denial(identity: Identity) -> StoreError:
    """Anonymous users are asked to say who they are; known ones are refused."""
    if identity.anonymous:
        return NotAuthenticated("authentication is needed")
    return AccessDenied("access was denied to this resource")


class Access:
    """The checks. Each returns whether the user has the owner's view, and raises NotAuthenticated or AccessDenied."""

    def __init__(self, cache: InfoCache, placement: Placement) -> None:
        self._cache = cache
        self._placement = placement

    async def _granted(self, ctx: Context, account: str) -> Grant:
        identity = ctx.identity
        if identity.anonymous or not identity.groups:
            return Grant.NONE
        info = await self._cache.get(self._placement.account(account))
        return info.account_acl.grant_of(identity.groups)

    async def _need(self, ctx: Context, account: str, least: Grant) -> bool:
        granted = await self._granted(ctx, account)
        if granted < least:
            raise denial(ctx.identity)
        return granted is Grant.ADMIN

    async def read_account(self, ctx: Context, account: str) -> bool:
        return ctx.identity.owner_of(account) or await self._need(ctx, account, Grant.READ_ONLY)

    async def write_account(self, ctx: Context, account: str) -> bool:
        return ctx.identity.owner_of(account) or await self._need(ctx, account, Grant.ADMIN)

    async def list_container(self, ctx: Context, account: str, info: Info) -> bool:
        if ctx.identity.owner_of(account):
            return True
        granted = await self._granted(ctx, account)
        acl = info.read_acl
        if granted or acl.names_user(ctx.identity.groups) or (acl.listings and acl.names_referrer(ctx.referrer)):
            return granted is Grant.ADMIN
        raise denial(ctx.identity)

    async def write_container(self, ctx: Context, account: str) -> bool:
        return ctx.identity.owner_of(account) or await self._need(ctx, account, Grant.READ_WRITE)

    async def read_object(self, ctx: Context, account: str, info: Info) -> bool:
        if ctx.identity.owner_of(account):
            return True
        acl = info.read_acl
        if acl.names_user(ctx.identity.groups) or acl.names_referrer(ctx.referrer):
            return False
        return await self._need(ctx, account, Grant.READ_ONLY)

    async def write_object(self, ctx: Context, account: str, info: Info) -> bool:
        if ctx.identity.owner_of(account):
            return True
        if info.write_acl.names_user(ctx.identity.groups):
            return False
        return await self._need(ctx, account, Grant.READ_WRITE)
