"""The main job: a real directory tree goes up with the swift client, comes back, and nothing differs.

OBJSTORE_FULL=1 takes the whole standard library and a big file of 1 GiB; else both are smaller, the job is the same.
"""

import os
import subprocess
import sys
from pathlib import Path

from tests.cluster.deployment import Deployment, pending, wait_for
from tests.cluster.tree import digests, make_big, make_tree

FULL = bool(os.environ.get("OBJSTORE_FULL"))
FILES_MAX = None if FULL else 500
BIG_MIB = 1024 if FULL else 48
SEGMENT_MIB = 200 if FULL else 10


def swift_command(deployment: Deployment, *arguments: str) -> list[str]:
    """A call of python-swiftclient's `swift` with retries off."""
    program = str(Path(sys.executable).parent / "swift")
    return [program, "-A", f"{deployment.endpoint}/auth/v1.0", "-U", "test:tester", "-K", "testing", "--retries", "0", *arguments]


def swift_client(deployment: Deployment, *arguments: str, cwd: Path) -> str:
    """Run `swift`; returns its output."""
    done = subprocess.run(swift_command(deployment, *arguments), cwd=cwd, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"swift {' '.join(arguments)}: {done.stderr[-2000:]}"
    return done.stdout


def test_a_tree_goes_up_and_comes_back(deployment: Deployment, tmp_path: Path) -> None:
    source = tmp_path / "source"
    files = make_tree(source, FILES_MAX)
    if FULL:
        assert files >= 3000
    make_big(tmp_path / "big", BIG_MIB)
    segment = str(SEGMENT_MIB << 20)
    swift_client(deployment, "upload", "tree", "source", cwd=tmp_path)

    truth = digests(source)
    count, size = len(truth), sum(size for size, _ in truth.values())
    swift = deployment.swift()
    head = swift.request("HEAD", "/tree").headers
    assert (int(head["x-container-object-count"]), int(head["x-container-bytes-used"])) == (count, size)

    swift_client(deployment, "upload", "-S", segment, "dynamic", "big", cwd=tmp_path)
    swift_client(deployment, "upload", "-S", segment, "--use-slo", "static", "big", cwd=tmp_path)

    def account_is_exact() -> bool:
        answer = swift.request("HEAD")
        assert answer.status == 204, answer
        account = answer.headers
        # The big file's segments twice, its dynamic manifest (empty) and its static one (counted by its manifest's bytes).
        segments = -(-BIG_MIB // SEGMENT_MIB)
        containers = [
            swift.request("HEAD", f"/{name}").headers
            for name in ("tree", "dynamic", "static", "dynamic_segments", "static_segments")
        ]
        objects = sum(int(c["x-container-object-count"]) for c in containers)
        used = sum(int(c["x-container-bytes-used"]) for c in containers)
        assert objects == count + 2 * segments + 2
        return (int(account["x-account-object-count"]), int(account["x-account-bytes-used"])) == (objects, used)

    wait_for(account_is_exact, 10, "the account's figures are exact")

    back = tmp_path / "back"
    back.mkdir()
    swift_client(deployment, "download", "tree", cwd=back)
    assert digests(back / "source") == truth
    for container in ("dynamic", "static"):
        target = back / container
        target.mkdir()
        swift_client(deployment, "download", container, cwd=target)
        assert subprocess.run(["cmp", tmp_path / "big", target / "big"]).returncode == 0
    print(f"{count} files, {size} bytes, and {BIG_MIB} MiB twice: up, down, equal")


def test_an_upload_does_not_notice_a_node_that_is_killed(deployment: Deployment, tmp_path: Path) -> None:
    source = tmp_path / "source"
    make_tree(source, FILES_MAX)
    make_big(source / "big", BIG_MIB // 2)
    truth = digests(source)
    segment = str(SEGMENT_MIB << 20)
    upload = swift_command(deployment, "upload", "-S", segment, "--use-slo", "tree", "source")
    with (tmp_path / "upload.log").open("w") as log:
        running = subprocess.Popen(upload, cwd=tmp_path, stdout=log, stderr=subprocess.STDOUT)
        wait_for(lambda: (tmp_path / "upload.log").read_text().count("\n") > 60, 60, "the upload is under way")
        deployment.kill("storage1")
        wait_for(lambda: (tmp_path / "upload.log").read_text().count("\n") > 250, 300, "the upload goes on without the node")
        deployment.start("storage1")
        assert running.wait(600) == 0, (tmp_path / "upload.log").read_text()[-2000:]
    assert [line for line in deployment.log("proxy").splitlines() if " status=5" in line] == []

    for number, killed in enumerate(("", "storage2")):
        if killed:
            wait_for(lambda: pending(deployment) == 0, 60, "all updates are delivered")
            deployment.kill(killed)
        back = tmp_path / f"back{number}"
        back.mkdir()
        swift_client(deployment, "download", "tree", cwd=back)
        assert digests(back / "source") == truth
    assert [line for line in deployment.log("proxy").splitlines() if " status=5" in line] == []
