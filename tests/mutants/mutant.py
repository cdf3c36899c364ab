"""What a mutant is."""

from typing import NamedTuple


class Mutant(NamedTuple):
    """`tests` are arguments of pytest; they should take seconds."""

    name: str
    file: str
    old: str
    new: str
    tests: str
