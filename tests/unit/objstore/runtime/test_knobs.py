"""Knobs drawn for a simulation stay usable."""

import dataclasses
import random

from objstore.runtime.knobs import Knobs


class SeededRng:
    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def random(self) -> float:
        return self._random.random()

    def token_bytes(self, count: int) -> bytes:
        return self._random.randbytes(count)


def test_drawn_knobs_are_positive_and_repeatable() -> None:
    default = Knobs()
    for seed in range(200):
        drawn = default.randomised(SeededRng(seed))
        for field in dataclasses.fields(drawn):
            value, limit = getattr(drawn, field.name), getattr(default, field.name)
            assert 0 < value <= limit and type(value) is type(limit), field.name
        assert drawn == default.randomised(SeededRng(seed))
    assert len({default.randomised(SeededRng(seed)) for seed in range(50)}) == 50


def test_what_decides_acceptance_is_not_drawn() -> None:
    drawn = Knobs().randomised(SeededRng(1))
    assert drawn.packet_bytes_max == Knobs().packet_bytes_max and drawn.chunk_bytes_max == Knobs().chunk_bytes_max
