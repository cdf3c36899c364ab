"""Limits of the public edge, in one place."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EdgeLimits:
    """What a client may send, and how slowly. Sizes in bytes, times in seconds."""

    line_bytes_max: int = 16_384
    """Request line: names of 1,024 bytes percent-encoded, plus a long query."""
    field_bytes_max: int = 8_190
    """One header field, name and value."""
    fields_max: int = 128
    head_bytes_max: int = 65_536
    """Request line and all header fields together."""
    connections_max: int = 10_000
    """Open connections of one worker; more are answered 503 and closed."""
    head_timeout_s: float = 20.0
    """For a whole request head, from its first byte."""
    idle_timeout_s: float = 75.0
    """A connection between two requests."""
    slow_window_s: float = 60.0
    """A client that sends or takes fewer than `slow_bytes_min` bytes of a body in this time, while we wait for it, is given up."""
    slow_bytes_min: int = 1_024
    piece_bytes: int = 524_288
    """A large upload is handed on in pieces of at least this size (its last one aside)."""
    read_buffer_bytes: int = 262_144
    """What may wait unread of one request's body before its client is held back; larger measured slower (the cache)."""
    drain_grace_s: float = 5.0
    """How long an idle connection stays open once the worker drains, so that its client's next request still gets an answer."""
