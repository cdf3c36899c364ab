"""Accounts: one replica misses changes and learns them; an account nobody made looks like an empty one."""

from typing import Any

import requests

from tests.cluster.probes.probe import ACCOUNT, REPLICAS, Probe

PAGE_TYPES = ("text/plain", "application/json", "application/xml")


def figures(probe: Probe) -> tuple[int, int, int]:
    """Containers, objects and bytes of the account, as a client sees them."""
    headers = probe.swift.head_account()
    return tuple(int(headers[f"x-account-{key}"]) for key in ("container-count", "object-count", "bytes-used"))  # type: ignore[return-value]


def containers(probe: Probe) -> dict[str, tuple[int, int]]:
    """The account's listing: name -> objects, bytes."""
    return {row["name"]: (row["count"], row["bytes"]) for row in probe.swift.get_account(full_listing=True)[1]}


def test_an_account_replica_that_was_away_learns_what_it_missed(probe: Probe) -> None:
    doomed, kept = probe.container + "-doomed", probe.container
    account_homes = probe.direct.homes(f"/{ACCOUNT}")
    probe.swift.put_container(doomed)
    probe.swift.put_container(kept)
    before = figures(probe)
    assert containers(probe) == {doomed: (0, 0), kept: (0, 0)}

    first, second = probe.away_from(account_homes[:1], "first"), probe.away_from(account_homes[:1], "second")
    probe.swift.put_object(kept, first, b"1234")
    assert figures(probe) == before, "what containers hold is told by the updater"
    probe.settle()
    assert figures(probe) == (2, 1, 4)
    assert containers(probe) == {doomed: (0, 0), kept: (1, 4)}

    with probe.down(account_homes[0]):
        probe.swift.delete_container(doomed)
        probe.swift.put_object(kept, second, b"12345")
        assert containers(probe) == {kept: (1, 4)}, "a deletion is seen at once"
        probe.cluster.run_daemons("container-updater")
        assert figures(probe) == (1, 2, 9)
        assert containers(probe) == {kept: (2, 9)}

    stale = probe.direct.info(f"/{ACCOUNT}", 0).stats
    assert (stale.container_count, stale.object_count, stale.bytes_used) == (2, 1, 4)
    assert set(probe.direct.live(f"/{ACCOUNT}", 0)) == {doomed, kept}
    for _ in range(6):  # whichever two replicas a proxy asks
        assert figures(probe) == (1, 2, 9)
        assert containers(probe) == {kept: (2, 9)}

    probe.settle()
    for replica in REPLICAS:
        now = probe.direct.info(f"/{ACCOUNT}", replica).stats
        assert (now.container_count, now.object_count, now.bytes_used) == (1, 2, 9)
        assert probe.direct.live(f"/{ACCOUNT}", replica) == [kept]
    probe.assert_equal_tables(f"/{ACCOUNT}")


def test_an_account_that_nobody_made_looks_like_an_empty_one(probe: Probe) -> None:
    reseller = probe.cluster.swift("admin:admin", "admin")
    url, token = reseller.get_auth()
    base = url.rpartition("/")[0]

    def ask(account: str, method: str = "GET", **headers: str) -> requests.Response:
        return requests.request(method, f"{base}/{account}", headers={"X-Auth-Token": token, **headers}, timeout=10)

    assert ask("AUTH_made", "POST", **{"X-Account-Meta-Bert": "Ernie"}).status_code == 204
    assert any(probe.direct.exists("/AUTH_made", replica) for replica in REPLICAS)
    assert not any(probe.direct.exists("/AUTH_none", replica) for replica in REPLICAS)

    def seen(account: str, answer: requests.Response) -> dict[str, Any]:
        own = {"x-trans-id", "x-openstack-request-id", "date", "x-timestamp", "x-put-timestamp", "x-account-meta-bert"}
        headers = {key.lower(): value for key, value in answer.headers.items() if key.lower() not in own}
        return {"status": answer.status_code, "headers": headers, "body": answer.text.replace(account, "AUTH_same")}

    for page_type in PAGE_TYPES:
        made, none = ask("AUTH_made", Accept=page_type), ask("AUTH_none", Accept=page_type)
        assert seen("AUTH_made", made) == seen("AUTH_none", none)
    assert ask("AUTH_made", "HEAD").status_code == ask("AUTH_none", "HEAD").status_code == 204
    assert not any(probe.direct.exists("/AUTH_none", replica) for replica in REPLICAS), "looking at it does not make it"
