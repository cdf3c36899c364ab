"""Unix sockets beside the nodes' TCP listeners, for processes of one host: cheaper than its loopback, and the kernel says whose
process is at the other end.

Their names are in Linux' abstract namespace, which belongs to the network namespace: such a name is seen exactly where the
loopback of its address is, leaves nothing behind, and is free again when the last holder of the socket is gone. Without asyncio,
as the supervisor opens them too.
"""

import os
import socket
import struct

PREFIX = "\0objstore/"
_CREDENTIALS = struct.Struct("=iii")  # pid, uid, gid
_NOBODY = -1


def name_of(ip: str, port: int) -> str:
    """The name beside this address. Nothing but the address is in it, so whoever knows the rings knows it."""
    return f"{PREFIX}{ip}/{port}"


def address_of(name: object) -> tuple[str, int] | None:
    """The address of a name that `name_of` made, as the kernel gives it; None for what is none."""
    text = name.decode(errors="replace") if isinstance(name, bytes) else name
    if not isinstance(text, str) or not text.startswith(PREFIX):
        return None
    ip, _, port = text.removeprefix(PREFIX).rpartition("/")
    return (ip, int(port)) if port.isdigit() else None


def is_unix(connection: socket.socket) -> bool:
    return hasattr(socket, "AF_UNIX") and connection.family == socket.AF_UNIX


def bound_beside(ip: str, port: int) -> socket.socket:
    """A socket with the name beside this address, not listening yet. Raises OSError where somebody has it, or there are none."""
    listener = _socket()
    try:
        listener.bind(name_of(ip, port))
    except OSError:
        listener.close()
        raise
    return listener


def connected_beside(ip: str, port: int) -> socket.socket | None:
    """A connection to who listens beside this address, if it is one of this host's; None where TCP is to be used.

    Never waits, so it is simply tried for each connection: 9 µs where nobody listens. The address is looked at as well (8 µs), as
    a process outlives the address it was started for, when that moves to another host.
    """
    try:
        connection = _socket()
    except OSError:
        return None
    try:
        connection.connect(name_of(ip, port))
        if _is_own(ip):
            return connection
    except OSError:  # nobody there, or too many are waiting
        pass
    connection.close()
    return None


def _socket() -> socket.socket:
    if not hasattr(socket, "AF_UNIX"):
        raise OSError("there are no Unix sockets here")
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.setblocking(False)
    return made


def _is_own(ip: str) -> bool:
    """Whether an address can be listened on here. False for a host's name, which would have to be looked up first."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    try:
        socket.inet_pton(family, ip)
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((ip, 0))
    except OSError:
        return False
    return True


def peer_of(connection: socket.socket) -> tuple[int, int]:
    """Process and user at the other end, as they were when it connected or listened. The user is -1 when that is not known."""
    try:
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    except (OSError, AttributeError):
        return 0, _NOBODY
    pid, uid, _ = _CREDENTIALS.unpack(raw)
    return pid, uid


def own_user() -> int:
    return os.geteuid()
