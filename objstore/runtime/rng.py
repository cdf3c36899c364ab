"""Randomness of the operating system."""

import random
import secrets

from objstore.runtime.interface import Rng


class SystemRng:
    """Rng of the operating system."""

    def __init__(self) -> None:
        self._random = random.Random()  # noqa: S311 - jitter and spreading; secrets come from token_bytes

    def random(self) -> float:
        return self._random.random()

    def token_bytes(self, count: int) -> bytes:
        return secrets.token_bytes(count)


def new_txn(rng: Rng) -> str:
    """A transaction id as clients see it in `X-Trans-Id`: `tx` and 21 hex digits."""
    return "tx" + rng.token_bytes(11).hex()[:21]
