"""Socket options of connections between nodes."""

import asyncio
import socket

PEER_SILENCE_MAX_S = 10
STREAM_BYTES_UNDER_WAY = 1 << 20
"""What the kernel keeps of a stream between two processes of one host: as much as its sender has in hand. With the kernel's own
208 KiB each piece takes both sides several turns of their loops.
"""
Listener = socket.socket
"""A listening socket that somebody else opened, such as the supervisor."""


def tune(transport: asyncio.BaseTransport) -> None:
    """No delay for small packets, and an end within seconds to a connection whose peer lost power: the kernel's own limits
    (TCP_USER_TIMEOUT for data sent, keepalive for silence) would be a quarter of an hour and two hours.
    """
    peer = transport.get_extra_info("socket")
    if peer is None or peer.family not in (socket.AF_INET, socket.AF_INET6):
        return
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, PEER_SILENCE_MAX_S // 2)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PEER_SILENCE_MAX_S // 2)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, PEER_SILENCE_MAX_S * 1000)


def tune_stream(transport: asyncio.BaseTransport) -> None:
    """For a connection that carries large bodies. TCP finds its sizes by itself."""
    peer = transport.get_extra_info("socket")
    if peer is not None and peer.family not in (socket.AF_INET, socket.AF_INET6):
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, STREAM_BYTES_UNDER_WAY)
