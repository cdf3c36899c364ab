"""Every mutant still finds the text that it changes, and the tests that are to notice."""

import re
import shlex

import pytest

from tests.mutants.__main__ import ROOT, mutated
from tests.mutants.mutants import MUTANTS, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_it_applies(mutant: Mutant) -> None:
    mutated((ROOT / mutant.file).read_text(), mutant)
    files = [word.partition("::")[0] for word in shlex.split(mutant.tests) if word.startswith("tests/")]
    assert files and all((ROOT / file).is_file() for file in files)


def test_names_differ() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


def test_a_text_that_moved_is_an_error() -> None:
    with pytest.raises(ValueError, match=re.escape("its text is there 0 times")):
        mutated("something else", MUTANTS[0])
    with pytest.raises(ValueError, match=re.escape("its text is there 2 times")):
        mutated(MUTANTS[0].old * 2, MUTANTS[0])
