"""Operations on accounts and containers."""

import msgspec

from objstore.formats.messages import Query, Settings, Stats
from objstore.model.acl import clean_account_acl, clean_container_acl
from objstore.model.errors import (
    AccessDenied,
    AccountDeleted,
    AccountNotFound,
    Conflict,
    ContainerNotFound,
    InvalidInput,
    Unavailable,
)
from objstore.model.metadata import check_headers, check_metadata, check_text
from objstore.model.names import ACCOUNT_NAME_BYTES_MAX, check_container_name
from objstore.model.policy import Policies
from objstore.placement.places import Placement
from objstore.proxy.access import Access, denial, owner_only
from objstore.proxy.infocache import Info, InfoCache
from objstore.proxy.listings import Lister
from objstore.proxy.operations import AccountListing, ContainerListing, Context, TableView
from objstore.proxy.quotas import check_account_values, check_container_values, is_account_quota
from objstore.proxy.tablewrites import Missing, NotEmpty, TableChange, TableWriter

_USER = "user:"


class Tables:
    """Accounts and containers, as their users see them."""

    def __init__(
        self,
        placement: Placement,
        cache: InfoCache,
        access: Access,
        lister: Lister,
        writer: TableWriter,
        policies: Policies,
    ) -> None:
        self._placement = placement
        self._cache = cache
        self._access = access
        self._lister = lister
        self._writer = writer
        self._policies = policies

    # --- accounts ----------------------------------------------------------------------------------------------

    async def account(self, account: str) -> Info:
        """What is known of an account, from memory where leases allow. Raises InvalidInput, Unavailable."""
        if not account or "/" in account or len(account.encode()) > ACCOUNT_NAME_BYTES_MAX:
            raise InvalidInput("no account can have this name")
        return await self._cache.get(self._placement.account(account))

    async def head_account(self, ctx: Context, account: str) -> TableView:
        """As Store."""
        owner = await self._access.read_account(ctx, account)
        await self._seen(ctx, account)
        return _view(await self._cache.fresh(self._placement.account(account)), owner)

    async def list_account(self, ctx: Context, account: str, query: Query) -> AccountListing:
        """As Store."""
        owner = await self._access.read_account(ctx, account)
        await self._seen(ctx, account)
        page = await self._lister.page(self._placement.account(account), query, ctx.txn)
        return AccountListing(_view(Info(page.settings, page.stats), owner), page.rows)

    async def _seen(self, ctx: Context, account: str) -> None:
        """A missing account looks empty to its owner, who may make it by using it, and is missing to others."""
        info = await self.account(account)
        if info.deleted:
            raise AccountDeleted("the account was deleted")
        if not info.exists and not ctx.identity.owner_of(account):
            raise AccountNotFound("there is no such account")

    async def put_account(self, ctx: Context, account: str, values: dict[str, str]) -> bool:
        """As Store."""
        if not ctx.identity.makes_and_deletes(account):
            raise denial(ctx.identity)
        info = await self.account(account)
        if info.deleted and not await self._reaped(account):
            raise AccessDenied("Recently deleted")
        change = TableChange("create", self._account_values(ctx, info, values))
        await self._writer.write(self._placement.account(account), change, ctx.txn, info.newest)
        return not info.exists

    async def post_account(self, ctx: Context, account: str, values: dict[str, str]) -> None:
        """As Store."""
        await self._access.write_account(ctx, account)
        info = await self.account(account)
        if info.deleted:
            raise AccountNotFound("there is no such account")
        cleaned = self._account_values(ctx, info, values)
        action = TableChange("update" if info.exists else "create", cleaned)
        try:
            await self._writer.write(self._placement.account(account), action, ctx.txn, info.newest)
        except Missing:
            raise AccountNotFound("the account was deleted meanwhile") from None

    async def delete_account(self, ctx: Context, account: str) -> None:
        """As Store. What it contains is out of reach from then on, and removed by the account-reaper."""
        if not ctx.identity.makes_and_deletes(account):
            raise denial(ctx.identity)
        info = await self.account(account)
        try:
            if not info.exists:
                raise Missing
            await self._writer.write(self._placement.account(account), TableChange("delete", {}), ctx.txn, info.newest)
        except Missing:
            raise AccountNotFound("there is no such account") from None

    async def _reaped(self, account: str) -> bool:
        """Whether nothing is left in a deleted account, so that it can be made again."""
        return not (await self._cache.fresh(self._placement.account(account))).stats.container_count

    async def need_account(self, ctx: Context, account: str) -> None:
        """Make the account when it is missing and the user owns it. Raises AccountNotFound."""
        info = await self.account(account)
        if info.exists:
            return
        if not ctx.identity.owner_of(account) or (info.deleted and not await self._reaped(account)):
            raise AccountNotFound("there is no such account")
        await self._writer.write(self._placement.account(account), TableChange("create", {}), ctx.txn, info.newest)

    def _account_values(self, ctx: Context, info: Info, values: dict[str, str]) -> dict[str, str]:
        if not ctx.identity.reseller and any(is_account_quota(key) for key in values):
            raise denial(ctx.identity)
        check_text(values)
        check_account_values(values)
        _check_limits("account", info, values)
        if (acl := values.get("acl:account")) is not None:
            values = values | {"acl:account": clean_account_acl(acl)}
        return values

    # --- containers --------------------------------------------------------------------------------------------

    async def container(self, account: str, container: str) -> Info:
        """What is known of a container, from memory where leases allow. A deleted account has none. Raises Unavailable."""
        place = self._placement.container(account, container)
        info = self._cache.known(place) or await self._cache.get(place)
        if info.exists and await self._is_deleted(account):
            return Info(Settings(info.settings.name), Stats())
        return info

    async def _is_deleted(self, account: str) -> bool:
        """An account that cannot be asked is no reason to refuse what can be read: False."""
        known = self._cache.known(self._placement.account(account))
        if known is not None:
            return known.deleted
        try:
            return (await self.account(account)).deleted
        except Unavailable:
            return False

    async def head_container(self, ctx: Context, account: str, container: str) -> TableView:
        """As Store."""
        info = await self.container(account, container)
        owner = await self._access.list_container(ctx, account, info)
        if not info.exists:
            raise ContainerNotFound("there is no such container")
        return _view(await self._cache.fresh(self._placement.container(account, container)), owner)

    async def list_container(self, ctx: Context, account: str, container: str, query: Query) -> ContainerListing:
        """As Store."""
        info = await self.container(account, container)
        owner = await self._access.list_container(ctx, account, info)
        if not info.exists:
            raise ContainerNotFound("there is no such container")
        page = await self._lister.page(self._placement.container(account, container), query, ctx.txn)
        if not page.settings.exists:
            raise ContainerNotFound("there is no such container")
        return ContainerListing(_view(Info(page.settings, page.stats), owner), page.rows)

    async def put_container(self, ctx: Context, account: str, container: str, values: dict[str, str], policy: str | None) -> bool:
        """As Store."""
        owner = await self._access.write_container(ctx, account)
        check_container_name(container)
        chosen = self._policies.choose(policy) if policy else None
        info = await self.container(account, container)
        cleaned = _container_values(info, values, owner)
        if info.exists:
            if chosen is not None and chosen.index != info.settings.policy:
                raise Conflict("a container's storage policy cannot change")
            index = info.settings.policy
        else:
            await self.need_account(ctx, account)
            index = (chosen or self._policies.default).index
        place = self._placement.container(account, container)
        await self._writer.write(place, TableChange("create", cleaned, index), ctx.txn, info.newest)
        return not info.exists

    async def make_container(self, ctx: Context, account: str, container: str, policy: int) -> None:
        """For the store's own use: unless it exists, and its account too. Raises AccountNotFound, Unavailable."""
        info = await self.container(account, container)
        if not info.exists:
            await self.need_account(ctx, account)
            await self._writer.write(
                self._placement.container(account, container), TableChange("create", {}, policy), ctx.txn, info.newest
            )

    async def post_container(self, ctx: Context, account: str, container: str, values: dict[str, str]) -> None:
        """As Store."""
        owner = await self._access.write_container(ctx, account)
        info = await self.container(account, container)
        if not info.exists:
            raise ContainerNotFound("there is no such container")
        change = TableChange("update", _container_values(info, values, owner))
        try:
            await self._writer.write(self._placement.container(account, container), change, ctx.txn, info.newest)
        except Missing:
            raise ContainerNotFound("the container was deleted meanwhile") from None

    async def delete_container(self, ctx: Context, account: str, container: str) -> None:
        """As Store. Where replicas disagree about rows (a write came in between), what was deleted is made again."""
        await self._access.write_container(ctx, account)
        info = await self.container(account, container)
        place = self._placement.container(account, container)
        try:
            if not info.exists:
                raise Missing
            if (await self._lister.page(place, Query(1), ctx.txn)).rows:
                raise Conflict("the container is not empty")
            await self._writer.write(place, TableChange("delete", {}), ctx.txn, info.newest)
        except Missing:
            raise ContainerNotFound("there is no such container") from None
        except NotEmpty as error:
            if error.applied:
                await self._writer.write(place, _creation(info), ctx.txn, info.newest)
            raise Conflict("the container is not empty") from None


def _container_values(info: Info, values: dict[str, str], owner: bool) -> dict[str, str]:
    """What may be set of `values`: what only owners may set is left out for others, silently, as Swift does."""
    check_text(values)
    cleaned = {key: value for key, value in values.items() if owner or not owner_only(key)}
    for key, write in (("acl:read", False), ("acl:write", True)):
        if key in cleaned:
            cleaned[key] = clean_container_acl(cleaned[key], write)
    check_container_values(cleaned)
    _check_limits("container", info, cleaned)
    return cleaned


def _check_limits(kind: str, info: Info, values: dict[str, str]) -> None:
    """Of the changes alone, and of what all metadata will then be together."""
    new = {key.removeprefix(_USER): value for key, value in values.items() if key.startswith(_USER)}
    check_headers({key: value for key, value in values.items() if not key.startswith(_USER)})
    if not new:
        return
    check_metadata(kind, new)
    known = info.settings.values.items() if info.exists else ()
    merged = {key.removeprefix(_USER): setting.value for key, setting in known if key.startswith(_USER)} | new
    check_metadata(kind, {name: value for name, value in merged.items() if value})


def _creation(info: Info) -> TableChange:
    """What makes a table again as it was."""
    values = {key: setting.value for key, setting in info.settings.values.items()}
    return TableChange("create", values, info.settings.policy)


def _view(info: Info, owner: bool) -> TableView:
    """Without removed values, and without those that are not for this reader."""
    shown = {key: setting for key, setting in info.settings.values.items() if setting.value and (owner or not owner_only(key))}
    settings = msgspec.structs.replace(info.settings, values=shown) if len(shown) != len(info.settings.values) else info.settings
    return TableView(settings, info.stats if info.exists else Stats(), owner)


def settings_or_none(info: Info) -> Settings | None:
    """For those who only ask whether it exists and what is set."""
    return info.settings if info.exists else None
