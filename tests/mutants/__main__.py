"""`python -m tests.mutants [WORD...]`: take one mechanism after the other out of a copy of the tree, and see the tests notice.

Words choose mutants by their names. First the same tests run on the unchanged copy. Exit code 0 when every mutant was caught.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

from tests.mutants.mutant import Mutant
from tests.mutants.mutants import MUTANTS

ROOT = Path(__file__).resolve().parents[2]
PARALLEL = 2
TIMEOUT_S = 180.0


class Verdict(NamedTuple):
    """`by` is the test that failed, or why there is none."""

    caught: bool
    by: str
    seconds: float


def copy_tree(target: Path) -> None:
    """All files that git knows, as they are now."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in listed.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)


def pytest(tree: Path, tests: str) -> subprocess.CompletedProcess[str]:
    """Run tests of the copy, on the copy. Raises subprocess.TimeoutExpired."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider", *shlex.split(tests)]
    return subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)


def mutated(text: str, mutant: Mutant) -> str:
    """Raises ValueError when the code is not what the mutant expects."""
    count = text.count(mutant.old)
    if count != 1 or mutant.old == mutant.new:
        raise ValueError(f"{mutant.file}: its text is there {count} times, not once: {mutant.old.strip()[:80]}")
    return text.replace(mutant.old, mutant.new)


def verdict_on(mutant: Mutant, tree: Path) -> Verdict:
    """Apply, test, restore."""
    path = tree / mutant.file
    original, started = path.read_text(), time.monotonic()
    try:
        path.write_text(mutated(original, mutant))
        done = pytest(tree, mutant.tests)
    except subprocess.TimeoutExpired:
        return Verdict(True, f"no end after {TIMEOUT_S:.0f} s", time.monotonic() - started)
    except ValueError as error:
        return Verdict(False, str(error), 0.0)
    finally:
        path.write_text(original)
    seconds = time.monotonic() - started
    failed = re.search(r"^(?:FAILED|ERROR) (\S+?::[^\n]*?)(?: - .*)?$", done.stdout, re.MULTILINE)
    if done.returncode == 1 and failed:
        return Verdict(True, failed.group(1), seconds)
    said = "all tests passed" if done.returncode == 0 else f"pytest ended with {done.returncode}: {done.stdout.strip()[-200:]}"
    return Verdict(False, said, seconds)


def unchanged(trees: "SimpleQueue[Path]", chosen: list[Mutant]) -> list[str]:
    """The tests that fail without any mutation: they prove nothing."""

    def run(tests: str) -> str:
        tree = trees.get()
        try:
            done = pytest(tree, tests)
        finally:
            trees.put(tree)
        return "" if done.returncode == 0 else f"{tests}\n{done.stdout[-2000:]}{done.stderr[-500:]}"

    with ThreadPoolExecutor(PARALLEL) as pool:
        return [problem for problem in pool.map(run, dict.fromkeys(mutant.tests for mutant in chosen)) if problem]


def main(words: list[str]) -> int:
    """Print a line per mutant as it is done, and the sum."""
    chosen = [mutant for mutant in MUTANTS if not words or any(word in mutant.name for word in words)]
    with tempfile.TemporaryDirectory(prefix="objstore-mutants-") as directory:
        trees: SimpleQueue[Path] = SimpleQueue()
        for number in range(PARALLEL):
            tree = Path(directory) / str(number)
            copy_tree(tree)
            trees.put(tree)
        if problems := unchanged(trees, chosen):
            print("tests fail without a mutation:", *problems, sep="\n", file=sys.stderr)
            return 1

        def judge(mutant: Mutant) -> bool:
            tree = trees.get()
            try:
                verdict = verdict_on(mutant, tree)
            finally:
                trees.put(tree)
            said = f"caught in {verdict.seconds:4.1f} s by" if verdict.caught else "NOT CAUGHT:"
            print(f"{mutant.name}: {said} {verdict.by}", flush=True)
            return verdict.caught

        with ThreadPoolExecutor(PARALLEL) as pool:
            caught = sum(pool.map(judge, chosen))
    print(f"mutants caught: {caught} of {len(chosen)}")
    return 0 if chosen and caught == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
