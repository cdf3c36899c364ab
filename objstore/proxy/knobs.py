"""The proxy's internal limits and waits, in one frozen value so that a simulation can draw them. Not configuration."""

from dataclasses import dataclass

KIB = 1 << 10
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class ProxyKnobs:
    """The defaults are for production. Units are last in the names."""

    # waiting for nodes
    node_timeout_s: float = 10.0
    """For one answer, or for progress of a stream."""
    straggler_grace_s: float = 0.5
    """How long a client waits for the last replicas once a majority is durable."""
    lag_min_s: float = 0.03
    lags_max: int = 4
    """A peer lags with a change when it takes twice as long as the majority did, and so much longer; one that does so many times is
    slow until it has kept up as often.
    """
    hedge_s: float = 0.1
    listing_hedge_s: float = 0.4
    """After this long without an answer a read asks another replica too."""
    silence_max_s: float = 1.0
    """How long a peer may owe answers before it is left alone like one that failed."""
    failing_min_s: float = 0.5
    failing_max_s: float = 20.0
    """How long a failing peer is left alone, doubling from the one to the other."""
    stall_s: float = 1.0
    """After this long without a byte a large read goes on from another replica."""
    stream_timeout_s: float = 120.0
    """How long the other end of a stream may wait for a slow client."""
    push_bytes_per_s_min: int = 8 * MIB
    """What copying a large object between nodes is given time for."""
    stop_timeout_s: float = 15.0
    background_tasks_max: int = 1024
    # small bodies, and pieces of large ones
    inline_bytes_max: int = 64 * KIB
    piece_bytes_min: int = 256 * KIB
    piece_bytes_max: int = 1 * MIB
    piece_age_s: float = 2.0
    """A slow client's bytes are passed on after this long, however few they are."""
    replica_queue_bytes_max: int = 4 * MIB
    """How far one replica of an upload may lag behind."""
    commit_attempts_max: int = 5
    claim_grace_s: float = 60.0
    """How long a bucket's name stays its account's without a container."""
    handoffs_tried_max: int = 3
    # caches
    cache_entries_max: int = 10_000
    place_entries_max: int = 20_000
    kept_pages_bytes_max: int = 2 * MIB
    """Of listings read lately, in case the same is asked again; as messages. Unpacked pages take some five times as much."""
    refresh_share: float = 0.5
    """Information in use is refreshed once this share of its lease has passed."""
    # large objects
    segment_checks_at_once: int = 8
    segment_pages_max: int = 50
    listing_rounds_max: int = 64


DEFAULTS = ProxyKnobs()
