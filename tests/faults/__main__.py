"""`python -m tests.faults crash-states|injections|power-cuts`: run one kind of fault test, print its figures and nothing else."""

import sys

import pytest

from tests.faults.figures import Tally

ROWS = "test_row_faults.py::"
REPLICAS = "test_crash_replication.py::"
KINDS = {
    "crash-states": [
        *("test_crashfs.py", "test_crash_states.py", "test_crash_places.py", "test_crash_controls.py"),
        *("test_crash_quorum.py", REPLICAS + "test_a_power_cut_of_all_never_loses_the_last_copy"),
        REPLICAS + "test_a_handoff_that_believes_too_soon_is_seen",
        *(ROWS + "test_a_power_cut_loses_no_acknowledged_row", ROWS + "test_rows_that_are_not_synced_are_lost"),
    ],
    "injections": [
        *("test_injections.py", REPLICAS + "test_failing_calls_never_lose_the_last_copy"),
        *(ROWS + "test_every_call_to_the_files_fails", ROWS + "test_every_call_to_the_file_system_fails"),
    ],
    "power-cuts": ["test_power_cuts.py", "test_crashfs_on_ext4.py"],
}


def main(kind: str) -> int:
    """Exit code 1 when a test fails, with what it said on stderr."""
    tally = Tally()
    files = [f"tests/faults/{name}" for name in KINDS[kind]]
    quiet = ["-p", "no:terminal", "-o", "addopts=--import-mode=importlib"]
    code = pytest.main([*quiet, "-n", "2", "--dist", "loadgroup", *files], plugins=[tally])
    for line in tally.lines():
        print(line)
    for failure in tally.failures:
        print(failure, file=sys.stderr)
    return int(code)


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in KINDS:
        print(f"usage: python -m tests.faults {'|'.join(KINDS)}", file=sys.stderr)
        sys.exit(2)
    sys.exit(main(sys.argv[1]))
