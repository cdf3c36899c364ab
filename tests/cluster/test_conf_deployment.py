"""The deployment of docs/operating.md, made from nothing by exactly the commands that stand there, and a small main job in it."""

import os
import random
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.cluster import descendants
from tests.cluster.deployment import ROOT, wait_for
from tests.cluster.swift import Swift
from tests.cluster.tree import digests, make_tree

BLOCK_TIMEOUT_S = 40.0
INSTALL = "make install\n. .venv/bin/activate\n"
FILES = 150
STATUS = "objstore status --config conf/deployment/proxy.toml"


class Shell:
    """One bash that takes block after block, as an operator's terminal does; an error in a block ends it."""

    def __init__(self, directory: Path, environment: dict[str, str]) -> None:
        self.log = directory / "shell.log"
        self.blocks = 0
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                ["bash", "-e"],
                cwd=directory,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )

    def run(self, block: str) -> str:
        """Returns what the block printed. Raises RuntimeError when it fails or takes too long."""
        assert self.process.stdin is not None
        before = len(self.log.read_text())
        self.blocks += 1
        mark = f"[block {self.blocks} is done]\n"
        self.process.stdin.write(f"{block}\necho '{mark.strip()}'\n")
        self.process.stdin.flush()
        wait_for(lambda: mark in self.log.read_text() or self.process.poll() is not None, BLOCK_TIMEOUT_S, block)
        text = self.log.read_text()[before:]
        if mark not in text:
            raise RuntimeError(f"failed: {block}\n{text}")
        return text.removesuffix(mark)

    def leave(self) -> None:
        """End the shell. Raises RuntimeError when a process that it started is still there, and ends it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(BLOCK_TIMEOUT_S)
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        raise RuntimeError("processes were left behind")

    def abandon(self) -> None:
        """Kill it and all it started."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait(BLOCK_TIMEOUT_S)


class Documented:
    """The chapter's blocks, run on addresses of our own below `root`."""

    def __init__(self, root: Path) -> None:
        rng = random.SystemRandom()
        self.net = f"127.{rng.randrange(16, 250)}.{rng.randrange(1, 250)}."
        self.root = root
        self.home = root / "srv"
        configs = root / "conf" / "deployment"
        configs.mkdir(parents=True)
        for path in (ROOT / "conf" / "deployment").glob("*.toml"):
            (configs / path.name).write_text(path.read_text().replace("127.0.0.", self.net))
        (root / "README.md").write_text("the file that the example uploads")
        programs = f"{ROOT / 'bin'}:{ROOT / '.venv' / 'bin'}"
        self.shell = Shell(root, {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"})

    def blocks(self) -> list[str]:
        """The shell blocks; the first, which makes the environment that runs this test, is left out."""
        text = (ROOT / "docs" / "operating.md").read_text()
        chapter = text[text.index("## A deployment from nothing") : text.index("### Under systemd")]
        install, *blocks = re.findall(r"^```sh\n(.*?)^```", chapter, re.MULTILINE | re.DOTALL)
        assert install == INSTALL
        assert sum("/srv/objstore" in block for block in blocks) == 1
        return [block.replace("/srv/objstore", str(self.home)).replace("127.0.0.", self.net) for block in blocks]

    def swift(self, *arguments: str) -> list[str]:
        """A call of the swift client, without retries."""
        program = str(ROOT / ".venv" / "bin" / "swift")
        login = ["-A", f"http://{self.net}3:8080/auth/v1.0", "-U", "test:tester", "-K", "testing"]
        return [program, *login, "--retries", "0", *arguments]


@pytest.fixture
def documented(tmp_path: Path) -> Iterator[Documented]:
    """Made, and started by the documented commands; ended by the documented commands."""
    made = Documented(tmp_path)
    *start, stop = made.blocks()
    try:
        for block in start:
            made.shell.run(block)
        yield made
        made.shell.run(stop)
    except BaseException:
        made.shell.abandon()
        raise
    made.shell.leave()


def upload_while_a_node_dies(documented: Documented, supervisor: int) -> None:
    """Upload `source`, and kill the node in the middle of it."""
    log = documented.root / "upload.log"
    with log.open("w") as output:
        command = documented.swift("upload", "tree", "source")
        upload = subprocess.Popen(command, cwd=documented.root, stdout=output, stderr=subprocess.STDOUT)
    wait_for(lambda: log.read_text().count("\n") >= 20, BLOCK_TIMEOUT_S, "the upload is under way")
    assert upload.poll() is None, "killed during the upload, not after it"
    for pid in descendants(supervisor):
        os.kill(pid, signal.SIGKILL)
    assert upload.wait(BLOCK_TIMEOUT_S) == 0, log.read_text()


def test_the_documented_deployment_does_the_main_job(documented: Documented) -> None:
    began = time.monotonic()
    shell, net, root = documented.shell, documented.net, documented.root
    truth_of_one = shell.run("objstore locate AUTH_test/photos/README.md --config conf/deployment/proxy.toml")
    assert len(re.findall(r"^ +/\S+\.data$", truth_of_one, re.MULTILINE)) == 3, "the file of every replica is named"

    make_tree(root / "source", FILES)
    truth = digests(root / "source")
    supervisors = [int(pid) for pid in shell.run("jobs -p").split()]
    upload_while_a_node_dies(documented, supervisors[1])

    down = shell.run(f"{STATUS} || echo exit $?")
    assert f"{net}5:6200 does not answer: connection refused" in down
    assert "exit 1" in down
    for number in range(20):  # the upload may have ended before the node did
        upload = documented.swift("upload", "photos", str(root / "README.md"), "--object-name", f"after {number}")
        subprocess.run(upload, check=True, capture_output=True, timeout=60)
        with urllib.request.urlopen(f"http://{net}2:8080/metrics", timeout=10) as answer:
            calls_failed = re.search(r'objstore_rpc_calls_total\{code="unavailable".*\} [1-9]', answer.read().decode())
        if calls_failed:
            break
    assert calls_failed

    shell.run("objstore serve --config conf/deployment/storage2.toml >> $OBJSTORE_HOME/storage2.log 2>&1 &")
    shell.run(f"until {STATUS}; do sleep 0.2; done")
    swift = Swift(f"http://{net}2:8080", auth=f"http://{net}3:8080")
    assert len(swift.names("tree")) == len(truth)
    swift.close()
    back = root / "back"
    back.mkdir()
    done = subprocess.run(documented.swift("download", "tree"), cwd=back, capture_output=True, text=True, timeout=BLOCK_TIMEOUT_S)
    assert done.returncode == 0, done.stderr
    assert digests(back / "source") == truth
    for log in documented.home.glob("*.log"):
        assert "Traceback" not in log.read_text(), log.name
    print(f"{len(truth)} files through seven nodes, one of them killed: {time.monotonic() - began:.1f} s")
