"""What metrics read of node-to-node traffic: plain numbers, counted in place."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class RpcCounters:
    """Of one RpcClient or RpcServer. `calls` counts finished calls by (method, code); code is "ok", a NodeError's code,
    "timeout", "unavailable" or "cancelled". Bytes are those of packets, handshakes left out.
    """

    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    bytes_in: int = 0
    bytes_out: int = 0
    packets_out: int = 0
    connections: int = 0
    connections_made: int = 0
    handshakes_refused: int = 0
    in_flight: int = 0
    streams: int = 0
