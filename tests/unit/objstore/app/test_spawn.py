"""What a process of the store is started with."""

import os
import tempfile

import pytest

from objstore.app.spawn import Launch, spawn

CODE = "import os; print(os.environ['MALLOC_ARENA_MAX'])"


def arenas() -> str:
    """What a child is told of them."""
    with tempfile.TemporaryFile() as output:
        process, control = spawn(Launch("storage", "one", "", program=("-c", CODE), output=output))
        control.close()
        assert process.wait(30) == 0
        output.seek(0)
        return output.read().decode().strip()


def test_threads_share_one_arena_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MALLOC_ARENA_MAX", raising=False)
    assert arenas() == "1"
    assert "MALLOC_ARENA_MAX" not in os.environ
    monkeypatch.setenv("MALLOC_ARENA_MAX", "4")
    assert arenas() == "4", "an operator's choice stays"
