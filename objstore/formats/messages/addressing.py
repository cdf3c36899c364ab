"""What every message is, and how one names a place in the cluster."""

from typing import NamedTuple

import msgspec


class Message(msgspec.Struct, array_like=True, frozen=True):
    """Base of every request and reply."""


class Address(NamedTuple):
    """Where a node listens for its peers."""

    ip: str
    port: int


class Target(msgspec.Struct, array_like=True, frozen=True):
    """A partition's place on one device, of one storage policy (ignored for accounts and containers)."""

    device: str
    partition: int
    policy: int = 0


class IndexTarget(msgspec.Struct, array_like=True, frozen=True):
    """The container replica that one object replica keeps informed."""

    ip: str
    port: int
    device: str
    partition: int
    hash: bytes
