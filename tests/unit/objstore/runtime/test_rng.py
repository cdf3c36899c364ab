"""Randomness of the system."""

import re

from objstore.runtime.rng import SystemRng, new_txn


def test_token_bytes_do_not_repeat() -> None:
    rng = SystemRng()
    assert len({rng.token_bytes(16) for _ in range(100)}) == 100
    assert len(rng.token_bytes(5)) == 5
    assert all(0 <= rng.random() < 1 for _ in range(100))


def test_transaction_ids() -> None:
    rng = SystemRng()
    ids = {new_txn(rng) for _ in range(100)}
    assert len(ids) == 100
    assert all(re.fullmatch("tx[0-9a-f]{21}", one) for one in ids)
