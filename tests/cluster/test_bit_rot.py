"""A bit flips in a data file. The reader gets the right bytes, the bad copy goes into quarantine."""

import os
import random
from pathlib import Path

import pytest

from tests.cluster.deployment import Deployment, wait_for
from tests.cluster.swift import Swift

READS_MAX = 80


def flip(path: Path, offset: int) -> None:
    """Change one bit in place; times stay as they were."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x10]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("size", [900, 100_000, 400_000, 3_000_000])
def test_each_replica_in_turn_rots_and_is_the_one_that_is_read(deployment: Deployment, size: int) -> None:
    swift = deployment.swift()
    assert swift.request("PUT", "/rot").status == 201
    body = random.Random(size).randbytes(size)
    for number in range(3):
        for ranged in (False, True):
            name = f"object-{number}-{ranged}"
            files = data_files_of(deployment, swift, name, body)
            victim = sorted(files)[number]
            offset = size // 2
            flip(files[victim], offset)
            rotten = files[victim].stat().st_ino
            # Readers take turns over the primaries, so each of them is the first one before long.
            for _ in range(READS_MAX):
                if ranged:
                    first, last = offset - 10, offset + 10
                    answer = swift.request("GET", f"/rot/{name}", headers={"Range": f"bytes={first}-{last}"})
                    assert (answer.status, answer.body) == (206, body[first : last + 1])
                else:
                    answer = swift.request("GET", f"/rot/{name}")
                    assert (answer.status, answer.body) == (200, body)
                if not in_place(files[victim], rotten):
                    break
            assert not in_place(files[victim], rotten), "the rotten copy was read and stays in place"
            listed = deployment.objstore("quarantine", "list")
            assert f"/{swift.account.rpartition('/')[2]}/rot/{name}" in listed
    swift.close()


def in_place(path: Path, inode: int) -> bool:
    """Whether it is still that file: a good copy takes its name at once."""
    try:
        return path.stat().st_ino == inode
    except FileNotFoundError:
        return False


def data_files_of(deployment: Deployment, swift: Swift, name: str, body: bytes) -> dict[str, Path]:
    """Store one object and return node -> its data file, once all three replicas are there."""
    before = {node: set((deployment.device(node) / "objects").rglob("*.data")) for node in deployment.names}
    assert swift.request("PUT", f"/rot/{name}", body).status == 201
    found: dict[str, Path] = {}

    def complete() -> bool:
        for node in deployment.names:
            new = set((deployment.device(node) / "objects").rglob("*.data")) - before[node]
            if new:
                (found[node],) = new
        return len(found) == 3

    wait_for(complete, 10, "three replicas are written")
    return found
