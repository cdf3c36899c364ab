"""Typed messages: every registered type crosses the wire, and versions live side by side."""

import msgspec
import pytest

from objstore.formats.messages import REGISTRY, DaemonReport, Refused, RunDaemon, StatTable, TableInfo, Target
from objstore.model.lost import NONE, Lost
from objstore.rpc.codec import Codec
from objstore.rpc.frames import ProtocolError


@pytest.mark.parametrize("name", REGISTRY)
def test_a_decoder_can_be_made_for_every_message(name: str) -> None:
    with pytest.raises(ProtocolError, match=name):
        Codec().decode(name.encode(), b"\xc0")


def test_round_trip() -> None:
    codec = Codec()
    message = StatTable("container", Target("sda", 7), b"h" * 16, "/a/c", lease=True)
    assert codec.name(message) == b"StatTable"
    for _ in range(2):
        assert codec.decode(b"StatTable", codec.encode(message)) == message
    assert codec.decode(b"StatTable", memoryview(codec.encode(message))) == message


def test_an_older_peer_ignores_what_it_does_not_know_and_a_newer_one_fills_in() -> None:
    codec = Codec()
    newer = msgspec.msgpack.encode(["code", "text", 5, [1, 2, 3], "a field of a later version"])
    assert codec.decode(b"Refused", newer) == Refused("code", "text", 5, Lost(1, 2, 3))
    older = msgspec.msgpack.encode(["code", "text"])
    assert codec.decode(b"Refused", older) == Refused("code", "text", 0, NONE)


@pytest.mark.parametrize("body", [b"", b"\x91", b"\x91\x05", b"\xff" * 20, b"\x91\xa1\xff"])
def test_nonsense(body: bytes) -> None:
    with pytest.raises(ProtocolError, match="RunDaemon"):
        Codec().decode(b"RunDaemon", body)


@pytest.mark.parametrize("name", [b"", b"Message", b"\xff\xfe", b"x" * 300])
def test_unknown_names(name: bytes) -> None:
    with pytest.raises(ProtocolError, match="unknown message"):
        Codec().decode(name, b"\x90")


def test_types_that_are_no_messages_have_no_name() -> None:
    with pytest.raises(KeyError):
        Codec().name(Target("sda", 1))  # type: ignore[arg-type]
    assert {type(message) for message in (RunDaemon("x"), DaemonReport({}))} <= set(REGISTRY.values())
    assert TableInfo in REGISTRY.values()
