"""Who may do what: every kind of user against every kind of operation."""

import pytest

from objstore.formats.messages import Query
from objstore.model.conditions import NO_CONDITIONS
from objstore.model.errors import AccessDenied, ContainerNotFound, NotAuthenticated, StoreError
from objstore.model.identity import Identity
from objstore.proxy.operations import Context, NewObject
from objstore.proxy.store import ClusterStore
from tests.unit.objstore.proxy.cluster import ACCOUNT, ANYBODY, OTHER, OWNER, RESELLER, Cluster, get, named, put

DENIED = "AccessDenied"
WHO = "NotAuthenticated"


async def tried(work) -> str:  # type: ignore[no-untyped-def]
    try:
        await work
    except StoreError as error:
        return type(error).__name__
    return "ok"


async def attempts(cluster: Cluster, store: ClusterStore, ctx: Context) -> dict[str, str]:
    name = named(cluster, "o")
    return {
        "get": await tried(get(store, name, ctx)),
        "put": await tried(put(store, named(cluster, "new"), b"x", ctx)),
        "post": await tried(store.post_object(ctx, name, NewObject(""), None)),
        "list": await tried(store.list_container(ctx, ACCOUNT, "c", Query(9))),
        "head container": await tried(store.head_container(ctx, ACCOUNT, "c")),
        "post container": await tried(store.post_container(ctx, ACCOUNT, "c", {"user:x": "y"})),
        "put container": await tried(store.put_container(ctx, ACCOUNT, "c", {})),
        "list account": await tried(store.list_account(ctx, ACCOUNT, Query(9))),
        "post account": await tried(store.post_account(ctx, ACCOUNT, {"user:x": "y"})),
        "missing": await tried(get(store, named(cluster, "none"), ctx)),
        "missing container": await tried(get(store, named(cluster, "o", "nowhere"), ctx)),
    }


READ = ("get", "list", "head container")


@pytest.mark.parametrize(
    ("acl", "allowed"),
    [
        ({}, ()),
        ({"acl:read": "test2:tester2"}, READ),
        ({"acl:read": "test2"}, READ),
        ({"acl:read": "*:tester2"}, READ),
        ({"acl:read": ".r:*"}, ("get",)),
        ({"acl:read": ".r:*,.rlistings"}, READ),
        ({"acl:read": "else:body"}, ()),
        ({"acl:write": "test2:tester2"}, ("put", "post")),
    ],
)
async def test_container_lists(cluster: Cluster, store: ClusterStore, acl: dict[str, str], allowed: tuple[str, ...]) -> None:
    await put(store, named(cluster, "o"), b"x")
    await store.post_container(OWNER, ACCOUNT, "c", acl)
    found = await attempts(cluster, store, OTHER)
    missing = "ObjectNotFound" if "get" in allowed else DENIED
    expected = {what: "ok" if what in allowed else DENIED for what in found}
    assert found == expected | {"missing": missing}
    anonymous = [what for what in allowed if acl.get("acl:read", "").startswith(".r")]
    found = await attempts(cluster, store, ANYBODY)
    missing = "ObjectNotFound" if "get" in anonymous else WHO
    assert found == {what: "ok" if what in anonymous else WHO for what in found} | {"missing": missing}


@pytest.mark.parametrize(
    ("grant", "denied"),
    [
        ("read-only", ("put", "post", "post container", "put container", "post account")),
        ("read-write", ("post account",)),
        ("admin", ()),
    ],
)
async def test_account_lists(cluster: Cluster, store: ClusterStore, grant: str, denied: tuple[str, ...]) -> None:
    await put(store, named(cluster, "o"), b"x")
    await store.post_account(OWNER, ACCOUNT, {"acl:account": f'{{"{grant}": ["test2:tester2"]}}'})
    found = await attempts(cluster, store, OTHER)
    expected = {what: DENIED if what in denied else "ok" for what in found}
    assert found == expected | {"missing": "ObjectNotFound", "missing container": "ContainerNotFound"}


async def test_owners_and_resellers(cluster: Cluster, store: ClusterStore) -> None:
    await put(store, named(cluster, "o"), b"x")
    for ctx in (OWNER, RESELLER):
        found = await attempts(cluster, store, ctx)
        assert set(found.values()) == {"ok", "ObjectNotFound", "ContainerNotFound"}


async def test_referrers(cluster: Cluster, store: ClusterStore) -> None:
    name = named(cluster, "o")
    await put(store, name, b"x")
    await store.post_container(OWNER, ACCOUNT, "c", {"acl:read": ".r:.example.com,.r:-bad.example.com"})
    for page, allowed in (("http://www.example.com/x", True), ("http://bad.example.com/", False), ("", False)):
        ctx = Context(Identity(), "tx", page)
        assert (await tried(get(store, name, ctx)) == "ok") is allowed


async def test_only_owners_see_and_set_what_is_theirs(cluster: Cluster, store: ClusterStore) -> None:
    await store.post_account(OWNER, ACCOUNT, {"acl:account": '{"read-write": ["test2"]}', "user:temp-url-key": "k"})
    await store.post_container(OWNER, ACCOUNT, "c", {"acl:read": ".r:*", "sys:sync-key": "s", "user:a": "b"})
    theirs = await store.head_container(OTHER, ACCOUNT, "c")
    assert (set(theirs.settings.values), theirs.owner) == ({"user:a"}, False)
    ours = await store.head_container(OWNER, ACCOUNT, "c")
    assert (set(ours.settings.values), ours.owner) == ({"acl:read", "sys:sync-key", "user:a"}, True)
    assert not (await store.head_account(OTHER, ACCOUNT)).settings.values
    await store.post_container(OTHER, ACCOUNT, "c", {"acl:read": "", "sys:sync-key": "", "user:a": "c"})
    ours = await store.head_container(OWNER, ACCOUNT, "c")
    assert {key: setting.value for key, setting in ours.settings.values.items()} == {
        "acl:read": ".r:*",
        "sys:sync-key": "s",
        "user:a": "c",
    }


async def test_accounts_are_made_by_their_owners_alone(cluster: Cluster, store: ClusterStore) -> None:
    with pytest.raises(AccessDenied):
        await store.put_container(OTHER, "AUTH_nobody", "c", {})
    with pytest.raises(NotAuthenticated):
        await store.put_container(ANYBODY, "AUTH_nobody", "c", {})
    with pytest.raises(AccessDenied):
        await store.put_account(OWNER, ACCOUNT, {})
    with pytest.raises(AccessDenied):
        await store.delete_account(OWNER, ACCOUNT)
    view = await store.head_account(OTHER, "AUTH_test2")
    assert view.stats.container_count == 0
    assert await store.put_container(OTHER, "AUTH_test2", "mine", {})
    assert await store.put_account(RESELLER, "AUTH_new", {})
    assert not await store.put_account(RESELLER, "AUTH_new", {})
    await store.delete_account(RESELLER, "AUTH_new")


async def test_account_quotas_are_the_resellers(cluster: Cluster, store: ClusterStore) -> None:
    for key in ("sys:quota-bytes", "user:quota-bytes", "sys:quota-count", "sys:quota-bytes-policy-policy-0"):
        with pytest.raises(AccessDenied):
            await store.post_account(OWNER, ACCOUNT, {key: "0"})
        await store.post_account(RESELLER, ACCOUNT, {key: "3"})
        await store.post_account(RESELLER, ACCOUNT, {key: ""})


async def test_deleting_needs_no_reading(cluster: Cluster, store: ClusterStore) -> None:
    name = named(cluster, "o")
    await put(store, name, b"x")
    await store.post_container(OWNER, ACCOUNT, "c", {"acl:write": "test2"})
    await store.delete_object(OTHER, name, NO_CONDITIONS)
    with pytest.raises(ContainerNotFound):
        await store.delete_object(OWNER, named(cluster, "o", "nowhere"), NO_CONDITIONS)
