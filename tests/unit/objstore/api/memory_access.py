"""Who may do what, for the store in memory."""

from collections.abc import Mapping
from typing import Protocol

from objstore.formats.messages import Settings
from objstore.model.acl import AccountAcl, ContainerAcl, Grant, parse_account_acl, parse_container_acl
from objstore.model.errors import AccessDenied, NotAuthenticated
from objstore.proxy.operations import Context


class HasSettings(Protocol):
    settings: Settings


class Access:
    """Access decisions over the settings of accounts and containers."""

    def __init__(self, accounts: Mapping[str, Settings], containers: Mapping[str, Mapping[str, HasSettings]]) -> None:
        self._accounts = accounts
        self._containers = containers

    def read_account(self, ctx: Context, account: str) -> bool:
        return self._granted(ctx, account, Grant.READ_ONLY)

    def write_account(self, ctx: Context, account: str) -> bool:
        return self._granted(ctx, account, Grant.READ_WRITE)

    def change_account(self, ctx: Context, account: str) -> bool:
        return self._granted(ctx, account, Grant.ADMIN)

    def reseller(self, ctx: Context) -> None:
        if not ctx.identity.reseller:
            self._deny(ctx)

    def read_container(self, ctx: Context, account: str, container: str, listing: bool = False) -> bool:
        acl = self._acl(account, container, "acl:read")
        if acl.names_referrer(ctx.referrer) and (acl.listings or not listing):
            return self._is_owner(ctx, account)
        return self._named(ctx, account, acl, Grant.READ_ONLY)

    def write_container(self, ctx: Context, account: str, container: str) -> bool:
        return self._named(ctx, account, self._acl(account, container, "acl:write"), Grant.READ_WRITE)

    def _named(self, ctx: Context, account: str, acl: ContainerAcl, needed: Grant) -> bool:
        if acl.names_user(ctx.identity.groups):
            return self._is_owner(ctx, account)
        return self._granted(ctx, account, needed)

    def _is_owner(self, ctx: Context, account: str) -> bool:
        return ctx.identity.owner_of(account) or self._grant(ctx, account) == Grant.ADMIN

    def _granted(self, ctx: Context, account: str, needed: Grant) -> bool:
        if self._is_owner(ctx, account):
            return True
        if self._grant(ctx, account) < needed:
            self._deny(ctx)
        return False

    def _grant(self, ctx: Context, account: str) -> Grant:
        settings = self._accounts.get(account)
        acl = settings.values.get("acl:account") if settings else None
        return (parse_account_acl(acl.value) if acl else AccountAcl({})).grant_of(ctx.identity.groups)

    def _acl(self, account: str, container: str, key: str) -> ContainerAcl:
        table = self._containers.get(account, {}).get(container)
        acl = table.settings.values.get(key) if table else None
        return parse_container_acl(acl.value if acl else "")

    def _deny(self, ctx: Context) -> None:
        raise NotAuthenticated if ctx.identity.anonymous else AccessDenied
