"""The deployment of docs/operating.md, made from nothing by exactly the commands that stand there."""

import os
import random
import re
import subprocess
from pathlib import Path

from tests.cluster.deployment import ROOT

TIMEOUT_S = 120.0


def script(net: str) -> str:
    """The shell blocks of the chapter, on addresses of our own; it waits for the nodes where a person would."""
    text = (ROOT / "docs" / "operating.md").read_text()
    chapter = text[text.index("## A deployment from nothing") : text.index("### Under systemd")]
    lines = "".join(re.findall(r"^```sh\n(.*?)^```", chapter, re.MULTILINE | re.DOTALL)).splitlines()
    lines = [line for line in lines if not line.startswith("export OBJSTORE_HOME")]
    status = next(i for i, line in enumerate(lines) if line.startswith("objstore status"))
    lines.insert(status, f"for _ in $(seq 200); do {lines[status]} 2>/dev/null && break; sleep 0.1; done")
    return "\n".join(lines).replace("127.0.0.", net)


def test_the_documented_deployment_works_as_documented(tmp_path: Path) -> None:
    rng = random.SystemRandom()
    net = f"127.{rng.randrange(16, 250)}.{rng.randrange(1, 250)}."
    configs = tmp_path / "conf" / "deployment"
    configs.mkdir(parents=True)
    for path in (ROOT / "conf" / "deployment").glob("*.toml"):
        (configs / path.name).write_text(path.read_text().replace("127.0.0.", net))
    (tmp_path / "README.md").write_text("the file that the example uploads")
    path = f"{ROOT / 'bin'}:{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}"
    environment = {**os.environ, "OBJSTORE_HOME": str(tmp_path / "home"), "PATH": path}
    after = f"""
locate=$(objstore locate AUTH_test/photos/README.md --config conf/deployment/proxy.toml)
swift -A http://{net}3:8080/auth/v1.0 -U test:tester -K testing download photos README.md -o copy.md
cmp README.md copy.md
echo "$locate"
"""
    whole = f"set -e\ntrap 'kill $(jobs -p); wait' EXIT\n{script(net)}\n{after}"
    done = subprocess.run(["bash", "-c", whole], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    files = re.findall(r"^ +(/\S+\.data)$", done.stdout, re.MULTILINE)
    assert len(files) == 3, "locate names the file of every replica"
    for log in (tmp_path / "home").glob("*.log"):
        assert "Traceback" not in log.read_text()
