"""Who may be at the other end of a Unix socket: a process of the same user, which could read the secret and all data anyway."""

import logging
from collections.abc import Callable
from typing import Any

from objstore.runtime import unixsockets

logger = logging.getLogger("objstore.rpc")


class SameUser:
    """Asked by either side before the first byte, as names in the abstract namespace have no permissions: anybody on the host may
    connect to them, or take one first.
    """

    def __init__(
        self,
        peer_of: Callable[[Any], tuple[int, int]] = unixsockets.peer_of,
        own_user: Callable[[], int] = unixsockets.own_user,
    ) -> None:
        """`peer_of(socket)`: process and user at the other end."""
        self._peer_of = peer_of
        self._own_user = own_user
        self._told: set[int] = set()

    def admits(self, connection: Any, remote: str) -> bool:
        """Whether the two may speak there. Each other user is logged once."""
        pid, user = self._peer_of(connection)
        if user == self._own_user():
            return True
        if user not in self._told:
            self._told.add(user)
            logger.warning("not by the Unix socket: of another user", extra={"peer": remote, "pid": pid, "user": user})
        return False
