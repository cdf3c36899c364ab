"""Socket options of connections between nodes."""

import asyncio
import os
import socket

from objstore.runtime.interface import OpenFile

PEER_SILENCE_MAX_S = 10
STREAM_BYTES_UNDER_WAY = 1 << 20
"""What the kernel keeps of a stream between two processes of one host: as much as its sender has in hand. With the kernel's own
208 KiB each piece takes both sides several turns of their loops.
"""
Listener = socket.socket
"""A listening socket that somebody else opened, such as the supervisor."""
Connection = socket.socket
"""A connection's socket beside its transport."""


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


def duplicate(transport: asyncio.BaseTransport) -> Connection:
    """A transport's socket once more, under a number of its own."""
    own = transport.get_extra_info("socket")
    return socket.socket(own.family, own.type, own.proto, os.dup(own.fileno()))


class FileSending:
    """How far a head and a piece of a file have got on a connection that does not block."""

    def __init__(self, connection: Connection, head: bytes, file: OpenFile, start: int, length: int) -> None:
        self.connection = connection
        self._head = head
        self._file = file
        self._at = start
        self._end = start + length

    def go_on(self) -> bool:
        """Blocks for the disk alone. Returns whether all is sent; if not, the socket takes no more now. Raises OSError."""
        try:
            while self._head:
                self._head = self._head[self.connection.send(self._head, socket.MSG_MORE) :]
            while self._at < self._end:
                count = self._file.send_to(self.connection.fileno(), self._end - self._at, self._at)
                if not count:
                    raise OSError("the file is shorter than it was")
                self._at += count
        except BlockingIOError:
            return False
        return True
