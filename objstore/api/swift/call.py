"""One Swift request, taken apart: whose, of what, and what the handlers share."""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from objstore.api.limits import EdgeLimits
from objstore.api.request import Request
from objstore.model.names import ObjectName
from objstore.model.policy import Policies
from objstore.proxy.bodies import InMemory
from objstore.proxy.operations import Context, Store, Upload
from objstore.runtime.interface import Clock, Rng


@dataclass(frozen=True, slots=True)
class SwiftLimits:
    """What the Swift API enforces itself; `/info` shows these figures."""

    object_bytes_max: int = 5_368_709_122
    account_listing_max: int = 10_000
    container_listing_max: int = 10_000
    manifest_bytes_max: int = 8_388_608
    manifest_segments_max: int = 1_000
    bulk_deletes_max: int = 10_000
    bulk_path_bytes_max: int = 4_096
    yield_every_s: float = 10.0
    """How often a long answer sends a blank, so that the client does not give up."""


@dataclass(frozen=True, slots=True)
class Site:
    """What every handler needs of the process it runs in."""

    store: Store
    policies: Policies
    clock: Clock
    rng: Rng
    limits: SwiftLimits
    edge_limits: EdgeLimits


class Call(msgspec.Struct, frozen=True):
    """One request. `container` and `object` are "" where the path does not name one."""

    request: Request
    ctx: Context
    account: str
    container: str = ""
    object: str = ""

    @property
    def headers(self) -> Mapping[str, str]:
        return self.request.headers

    @property
    def query(self) -> dict[str, str]:
        return self.request.query

    @property
    def name(self) -> ObjectName:
        return ObjectName(self.account, self.container, self.object)

    def upload(self, site: Site) -> Upload:
        """The request's body."""
        piece_bytes, size_max = site.edge_limits.piece_bytes, site.limits.object_bytes_max
        body = self.request.whole(min(piece_bytes, size_max))
        if body is not None:
            return Upload(InMemory(body), len(body))
        return Upload(self.request.pieces(piece_bytes, size_max), None if self.request.chunked else self.request.payload_size or 0)


def is_true(text: str) -> bool:
    """Swift's notion of true in a header or query field."""
    return bool(text) and text.strip().lower() in ("true", "1", "yes", "on", "t", "y")
