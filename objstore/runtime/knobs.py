"""Internal limits and sizes, all in one frozen value so that a simulation can draw them at random. Not configuration: an
operator's settings live in the configuration tree.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

from objstore.runtime.interface import Rng

KIB = 1 << 10
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Knobs:
    """The defaults are for production. Units are last in the names."""

    # group commit, per device
    group_changes_max: int = 64
    group_bytes_max: int = 4 * MIB
    commit_queue_changes_max: int = 4096
    unlink_backlog_max: int = 1024
    journal_segment_bytes_min: int = 1 * MIB
    journal_segment_bytes_max: int = 16 * MIB
    journal_segments_max: int = 4
    settle_s: float = 5.0
    reserve_bytes_min: int = 64 * MIB
    reserve_percent: float = 1.0
    # readers, per device
    reader_threads: int = 4
    reader_queue_calls_max: int = 1024
    # node to node
    handshake_timeout_s: float = 5.0
    packet_bytes_max: int = 2 * MIB
    chunk_bytes_max: int = 1 * MIB
    calls_in_flight_max: int = 2048
    connections_max: int = 4096
    idle_streams_per_peer_max: int = 64
    idle_streams_max: int = 256
    streams_per_peer_max: int = 256
    stream_buffer_bytes_max: int = 2 * MIB
    write_buffer_bytes_max: int = 1 * MIB
    deadline_tick_s: float = 0.05
    refusal_memory_min_s: float = 0.3
    refusal_memory_max_s: float = 4.0

    def randomised(self, rng: Rng) -> "Knobs":
        """Each number scaled by a factor between 1/8 and 1, at least 1 (times: at least a millisecond); queues and groups
        small enough to overflow in a simulation. Sizes that bound one message stay, as they decide what is accepted at all.
        """
        fixed = {"packet_bytes_max", "chunk_bytes_max", "reserve_percent", "deadline_tick_s"}
        drawn: dict[str, Any] = {}
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if item.name in fixed:
                continue
            scaled = value * 2 ** (-3 * rng.random())
            drawn[item.name] = max(1, int(scaled)) if isinstance(value, int) else max(0.001, scaled)
        return dataclasses.replace(self, **drawn)
