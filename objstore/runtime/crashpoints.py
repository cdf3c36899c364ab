"""Named places where a test may end the process, as a kill -9 or a power cut would."""

import os
import signal
from collections.abc import Iterable, Iterator, Mapping

ENVIRONMENT_NAME = "OBJSTORE_CRASH_AT"


class NoCrashPoints:
    """Production: nothing ever happens."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = tuple(names)

    def reach(self, name: str) -> None:
        pass

    def names(self) -> Iterator[str]:
        return iter(self._names)


class KillAt:
    """Kills the process with SIGKILL the n-th time one point is reached."""

    def __init__(self, names: Iterable[str], point: str, count: int) -> None:
        """Raises ValueError for a point not among `names`, or a count below 1."""
        self._names = tuple(names)
        if point not in self._names or count < 1:
            raise ValueError(f"no such crash point: {point}:{count}")
        self._point = point
        self._left = count

    def reach(self, name: str) -> None:
        if name not in self._names:
            raise ValueError(f"crash point not listed: {name}")
        if name == self._point:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def names(self) -> Iterator[str]:
        return iter(self._names)


def crash_points_from(environment: Mapping[str, str], names: Iterable[str]) -> NoCrashPoints | KillAt:
    """OBJSTORE_CRASH_AT=name:n (n is 1 when left out). Raises ValueError for a name that is not among `names`."""
    text = environment.get(ENVIRONMENT_NAME, "")
    if not text:
        return NoCrashPoints(names)
    point, _, count = text.partition(":")
    return KillAt(names, point, int(count or "1"))
