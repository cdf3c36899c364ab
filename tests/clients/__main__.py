"""`make clients`: S3's clients with their default settings against a real cluster, over plain HTTP and TLS; prints a matrix.

python -m tests.clients [WORD...]: only clients whose names contain one of the words. Exit code 0 unless a client failed.
"""

import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from objstore.testing.blocking import BlockingCluster
from tests.clients.steps import CLIENTS, KEY, PACKAGES, REGION, SECRET, Place
from tests.unit.objstore.app.test_tls import certify

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = ROOT / ".cache" / "clients"
BIG_BYTES = 40 * 2**20
HUGE_BYTES = 2**30
PIECE_BYTES = 2**20
STEP_TIMEOUT_S = 300
TLS_PORT_AHEAD = 1
CLOCK_IDENTITY = 500
CERTIFICATE_VARIABLES = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
"""What the machine says of certificates does not hold for the cluster's."""


def main(words: list[str]) -> int:
    """See above."""
    chosen = {name: steps for name, steps in CLIENTS.items() if not words or any(word in name for word in words)}
    install()
    results: dict[str, dict[str, str]] = {name: {} for name in chosen}
    with tempfile.TemporaryDirectory(prefix="objstore-clients-") as directory:
        certify(Path(directory), 1)
        make_huge(Path(directory))
        with BlockingCluster(nodes=4, devices=1, network_faults=False) as cluster, tls_proxy(cluster, directory) as tls:
            plain = cluster.endpoints[0].partition("//")[2]
            for scheme, host, certificate in (("HTTP", plain, ""), ("TLS", tls, f"{directory}/cert.pem")):
                for name, steps in chosen.items():
                    work = prepare(Path(directory) / f"{scheme}-{name}".replace(" ", "-"))
                    at = Place(str(ENVIRONMENT / "bin"), str(work), host, certificate)
                    print(f"{name} over {scheme} ...", flush=True)
                    results[name][scheme] = run(steps(at), at)
                    shutil.rmtree(work)
    print()
    print(f"{'client':12} {'HTTP':24} {'TLS':24}")
    for name, row in results.items():
        print(f"{name:12} {row['HTTP']:24} {row['TLS']:24}")
    return 1 if any("FAILED" in result for row in results.values() for result in row.values()) else 0


def install() -> None:
    """The clients' environment, once."""
    if (ENVIRONMENT / ".installed").exists():
        return
    print("installing the clients (a few minutes, once) ...", flush=True)
    subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
    subprocess.run([str(ENVIRONMENT / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", *PACKAGES], check=True)
    (ENVIRONMENT / ".installed").touch()


def make_huge(directory: Path) -> None:
    """`huge`, once for all clients."""
    with open(directory / "huge", "wb") as file:
        for _ in range(HUGE_BYTES // PIECE_BYTES):
            file.write(os.urandom(PIECE_BYTES))


def prepare(work: Path) -> Path:
    """A directory for one client."""
    (work / "src" / "sub dir").mkdir(parents=True)
    (work / "out").mkdir()
    (work / "src" / "empty").write_bytes(b"")
    (work / "src" / "sub dir" / "ä & +%.txt").write_text("hello")
    (work / "src" / "binary").write_bytes(os.urandom(300_000))
    (work / "big").write_bytes(os.urandom(BIG_BYTES))
    os.link(work.parent / "huge", work / "huge")
    shutil.copytree(Path(__file__).parent / "scripts", work / "scripts")
    return work


def run(steps: object, at: Place) -> str:
    """ "N steps, S s", "FAILED ..." or "not run ..."."""
    started, done = time.monotonic(), 0
    kept = {
        name: value for name, value in os.environ.items() if name not in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
    }
    environment = {
        **kept,
        "HOME": at.directory,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": REGION,
        "RESTIC_PASSWORD": "secret",
        **({"AWS_CA_BUNDLE": at.certificate} if at.certificate else {}),
    }
    for step in steps:  # type: ignore[attr-defined]
        if shutil.which(step[0]) is None:
            return f"not run: no {os.path.basename(step[0])} here"
        try:
            ended = subprocess.run(
                step, cwd=at.directory, env=environment, capture_output=True, text=True, timeout=STEP_TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired:
            return f"FAILED at step {done + 1}: too slow"
        if ended.returncode:
            print(f"  {' '.join(step)}\n{(ended.stdout + ended.stderr)[-2000:]}", flush=True)
            return f"FAILED at step {done + 1}"
        done += 1
    return f"{done} step{'s' if done > 1 else ''}, {time.monotonic() - started:.1f} s"


@contextmanager
def tls_proxy(cluster: BlockingCluster, directory: str) -> Iterator[str]:
    """One more proxy of the cluster, with a certificate for localhost; yields its host and port."""
    (config,) = Path(cluster.directory).glob("conf/proxy*.toml")
    text = config.read_text()
    port = int(text.partition("\nport = ")[2].partition("\n")[0]) + TLS_PORT_AHEAD
    certificate = f'tls_cert = "{directory}/cert.pem"\ntls_key = "{directory}/key.pem"'
    text = re.sub(r"(?m)^port = \d+", f"port = {port}\n{certificate}", text)
    text = re.sub(r"(?m)^clock_identity = \d+", f"clock_identity = {CLOCK_IDENTITY}", text)
    own = Path(directory) / "tls.toml"
    own.write_text(text.replace('name = "proxy1"', 'name = "tls"').replace("/proxy1/", "/tls/"))
    with open(f"{directory}/tls.log", "w") as log:
        command = [str(ROOT / "bin" / "objstore"), "serve", "--config", str(own)]
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            _await(f"https://localhost:{port}/healthcheck", f"{directory}/cert.pem", process)
            yield f"localhost:{port}"
        finally:
            process.terminate()
            process.wait(20)


def _await(url: str, certificate: str, process: "subprocess.Popen[bytes]") -> None:
    context = ssl.create_default_context(cafile=certificate)
    for _ in range(200):
        try:
            urllib.request.urlopen(url, timeout=2, context=context).close()
            return
        except (urllib.error.URLError, OSError):
            if process.poll() is not None:
                break
            time.sleep(0.1)
    raise SystemExit(f"the proxy with TLS does not start:\n{Path(certificate).with_name('tls.log').read_text()[-2000:]}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
