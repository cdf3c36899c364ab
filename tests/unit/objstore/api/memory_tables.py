"""Accounts and containers of the store in memory."""

from memory_access import Access
from memory_rows import Table, cleaned, hidden, merged, object_rows, page

from objstore.formats.messages import Query, Settings, Stats
from objstore.model.acl import clean_account_acl
from objstore.model.errors import Conflict, ContainerNotFound, InvalidInput
from objstore.model.policy import Policies
from objstore.model.rows import ContainerRow
from objstore.model.timestamps import TICKS_PER_SECOND, from_ticks
from objstore.proxy.operations import AccountListing, ContainerListing, Context, TableView
from objstore.runtime.interface import Clock


class MemoryTables:
    """The half of `operations.Store` that is about accounts and containers."""

    def __init__(self, clock: Clock, policies: Policies) -> None:
        self._clock = clock
        self._policies = policies
        self._ticks = 0
        self._accounts: dict[str, Settings] = {}
        self._containers: dict[str, dict[str, Table]] = {}
        self._access = Access(self._accounts, self._containers)

    def _next(self) -> int:
        self._ticks = max(self._ticks + 1, int(self._clock.now() * TICKS_PER_SECOND))
        return from_ticks(self._ticks)

    # --- tables ---------------------------------------------------------------------------------------------

    async def peek_account(self, account: str) -> Settings | None:
        return self._accounts.get(account)

    async def peek_container(self, account: str, container: str) -> Settings | None:
        table = self._containers.get(account, {}).get(container)
        return table.settings if table else None

    async def head_account(self, ctx: Context, account: str) -> TableView:
        owner = self._access.read_account(ctx, account)
        return self._account_view(account, owner)

    async def list_account(self, ctx: Context, account: str, query: Query) -> AccountListing:
        owner = self._access.read_account(ctx, account)
        rows = [self._container_row(name, table) for name, table in self._containers.get(account, {}).items()]
        return AccountListing(self._account_view(account, owner), list(page(rows, query)))

    async def put_account(self, ctx: Context, account: str, values: dict[str, str]) -> bool:
        self._access.reseller(ctx)
        made = account not in self._accounts
        self._set_account(account, values)
        return made

    async def post_account(self, ctx: Context, account: str, values: dict[str, str]) -> None:
        self._access.change_account(ctx, account)
        if any("quota-" in key for key in values):
            self._access.reseller(ctx)
        self._set_account(account, values)

    async def delete_account(self, ctx: Context, account: str) -> None:
        self._access.reseller(ctx)
        self._accounts.pop(account, None)

    def _set_account(self, account: str, values: dict[str, str]) -> None:
        if "acl:account" in values:
            try:
                values["acl:account"] = clean_account_acl(values["acl:account"])
            except InvalidInput as error:
                raise InvalidInput(f"X-Account-Access-Control invalid: {error.text}") from None
        now = self._next()
        old = self._accounts.get(account) or Settings(f"/{account}", now, created_timestamp=now)
        self._accounts[account] = merged("account", old, values, now)

    def _account_view(self, account: str, owner: bool) -> TableView:
        tables = self._containers.get(account, {})
        sizes = [row.size for table in tables.values() for row in object_rows(table)]
        by_policy: dict[int, tuple[int, int, int]] = {}
        for name, table in tables.items():
            row = self._container_row(name, table)
            sums = by_policy.get(row.policy, (0, 0, 0))
            by_policy[row.policy] = (sums[0] + 1, sums[1] + row.object_count, sums[2] + row.bytes_used)
        stats = Stats(len(tables), len(sizes), sum(sizes), by_policy)
        return TableView(hidden(self._accounts.get(account) or Settings(f"/{account}"), owner), stats, owner)

    def _container_row(self, name: str, table: Table) -> ContainerRow:
        rows = object_rows(table)
        used = sum(row.size for row in rows)
        return ContainerRow(name, table.settings.put_timestamp, 0, len(rows), used, table.settings.policy)

    async def head_container(self, ctx: Context, account: str, container: str) -> TableView:
        owner = self._access.read_container(ctx, account, container, listing=True)
        return self._container_view(self._table(account, container), owner)

    async def list_container(self, ctx: Context, account: str, container: str, query: Query) -> ContainerListing:
        owner = self._access.read_container(ctx, account, container, listing=True)
        table = self._table(account, container)
        return ContainerListing(self._container_view(table, owner), list(page(object_rows(table), query)))

    def _container_view(self, table: Table, owner: bool) -> TableView:
        rows = object_rows(table)
        return TableView(hidden(table.settings, owner), Stats(0, len(rows), sum(row.size for row in rows)), owner)

    async def put_container(
        self, ctx: Context, account: str, container: str, values: dict[str, str], policy: str | None = None
    ) -> bool:
        owner = self._access.write_account(ctx, account)
        now = self._next()
        chosen = self._policies.choose(policy) if policy else None
        tables = self._containers.setdefault(account, {})
        old = tables.get(container)
        if old and chosen and chosen.index != old.settings.policy:
            raise Conflict
        index = (chosen or self._policies.default).index
        settings = old.settings if old else Settings(f"/{account}/{container}", now, 0, index, now)
        settings = merged("container", settings, cleaned(values, owner), now)
        tables[container] = Table(settings, old.objects if old else {})
        self._accounts.setdefault(account, Settings(f"/{account}", now, created_timestamp=now))
        return old is None

    async def post_container(self, ctx: Context, account: str, container: str, values: dict[str, str]) -> None:
        owner = self._access.write_account(ctx, account)
        table = self._table(account, container)
        table.settings = merged("container", table.settings, cleaned(values, owner), self._next())

    async def delete_container(self, ctx: Context, account: str, container: str) -> None:
        self._access.write_account(ctx, account)
        if self._table(account, container).objects:
            raise Conflict
        del self._containers[account][container]

    def _table(self, account: str, container: str) -> Table:
        try:
            return self._containers[account][container]
        except KeyError:
            raise ContainerNotFound from None
