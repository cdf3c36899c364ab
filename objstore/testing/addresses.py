"""Loopback addresses that no other cluster of this machine uses at the same time.

Every process of a cluster has one of its own, so that whoever is called can tell who calls.
"""

import random
import socket

from objstore.app.devcluster import PORT_FIRST, PORT_LAST
from objstore.app.supervisor import listen_on
from objstore.testing.failures import ClusterError

NODE_PORT = 6200
PUBLIC_IP = "127.0.0.1"
TRIES_MAX = 200
_FIRST, _LAST = 16, 250
_LOCK_HOST = 254


class Addresses:
    """Two ranges, 127.A.B.0/24 and 127.A.(B+1).0/24: one stands in the rings, to the other the nodes are bound.

    The lock is a bound socket, so it ends with this process, however that ends.
    """

    def __init__(self) -> None:
        rng = random.SystemRandom()
        for _ in range(TRIES_MAX):
            first, second = rng.randrange(_FIRST, _LAST), 2 * rng.randrange(_FIRST // 2, _LAST // 2)
            lock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                lock.bind((f"127.{first}.{second}.{_LOCK_HOST}", NODE_PORT))
            except OSError:
                lock.close()
                continue
            self._lock = lock
            self._ring = f"127.{first}.{second}"
            self._bound = f"127.{first}.{second + 1}"
            return
        raise ClusterError("no free range of loopback addresses: this harness needs Linux, where all of 127.0.0.0/8 is there")

    def ring_ip(self, host: int) -> str:
        """The address by which the rings and all other nodes know number `host`."""
        return f"{self._ring}.{host}"

    def bound_ip(self, host: int) -> str:
        """The address that its process has, when the network between nodes is under the test's control."""
        return f"{self._bound}.{host}"

    def close(self) -> None:
        """Others may use these addresses."""
        self._lock.close()


def public_listener() -> socket.socket:
    """A socket that listens on a port of 127.0.0.1 which stays ours when it is closed and opened again: none of those that
    outgoing connections are given. Raises ClusterError.
    """
    rng = random.SystemRandom()
    for _ in range(TRIES_MAX):
        try:
            return listen_on(PUBLIC_IP, rng.randrange(PORT_FIRST, PORT_LAST))
        except OSError:
            continue
    raise ClusterError(f"no free port between {PORT_FIRST} and {PORT_LAST}")
