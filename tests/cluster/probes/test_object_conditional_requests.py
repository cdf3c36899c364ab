"""A conditional PUT finds what only one replica has, the leftover of a write that was not acknowledged."""

from collections.abc import Iterator

import pytest

from tests.cluster.probes.probe import ACCOUNT, REPLICAS, Probe, refusal

BODIES = ["nonzero", "zero", "chunked", "chunked empty"]


def body_of(kind: str) -> bytes | Iterator[bytes]:
    """`chunked` bodies make a client send them without a length."""
    data = b"" if kind in ("zero", "chunked empty") else b"OVERWRITE"
    return iter([data]) if kind.startswith("chunked") else data


@pytest.mark.parametrize("kind", BODIES)
def test_if_none_match_finds_what_one_of_three_replicas_has(probe: Probe, kind: str) -> None:
    probe.swift.put_container(probe.container)
    container_homes, account_homes = set(probe.homes()), set(probe.direct.homes(f"/{ACCOUNT}"))
    name = probe.choose(lambda homes: not set(homes[1:]) & container_homes and len(set(homes[1:]) & account_homes) <= 1)
    homes = probe.homes(name)
    with probe.cut_off(*homes[1:]):
        assert refusal(probe.swift.put_object, probe.container, name, b"VERIFY") == 503, "no majority"
    assert [probe.direct.has(probe.path(name), replica) for replica in REPLICAS] == [True, False, False]

    status = refusal(probe.swift.put_object, probe.container, name, body_of(kind), headers={"If-None-Match": "*"})
    assert status == 412
    with probe.cut_off(homes[0]):
        assert probe.body(name) == b"VERIFY", "what a client was told of is on a majority"
    probe.settle()
    assert probe.body(name) == b"VERIFY"
    probe.assert_equal_replicas(name)
