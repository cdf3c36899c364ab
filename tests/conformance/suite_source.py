"""Fetches OpenStack Swift's own functional tests and gives them an environment, both in a cache folder.

The tests come in the source archive of the release, by pip; they are run where they were unpacked and never become
part of this project. The environment holds only what they import.
"""

import fcntl
import glob
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import venv

SWIFT_VERSION = "2.38.3"
ARCHIVE_SHA256 = "561b2f8acc5ce834a0a2bac200e8ccd8784cb5c4a9e3731881d2e66dec4b6006"
PIP_TIMEOUT_S = 900


class SuiteNotReady(Exception):
    """The suite could not be fetched or its environment not be made; the message says what to do."""


class SwiftSuite:
    """The unpacked tests (`source_dir`) and the Python that can run them (`python`)."""

    def __init__(self, cache_dir: str, requirements: str) -> None:
        self.requirements = requirements
        self.cache_dir = cache_dir
        self.source_dir = os.path.join(cache_dir, f"swift-{SWIFT_VERSION}")
        self.venv_dir = os.path.join(cache_dir, "venv")
        self.python = os.path.join(self.venv_dir, "bin", "python")

    def prepare(self) -> None:
        """Make whatever is missing. Idempotent; two runs at once wait for each other. Raises SuiteNotReady."""
        os.makedirs(self.cache_dir, exist_ok=True)
        with open(os.path.join(self.cache_dir, "lock"), "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.prepare_environment()
            self.prepare_source()

    def prepare_environment(self) -> None:
        with open(self.requirements, encoding="utf-8") as file:
            wanted = f"{sys.version}\n{file.read()}"
        stamp = os.path.join(self.venv_dir, "complete")
        if read_or_empty(stamp) == wanted:
            return
        print("making the environment of the Swift functional tests (once)", flush=True)
        shutil.rmtree(self.venv_dir, ignore_errors=True)
        venv.create(self.venv_dir, with_pip=True)
        self.pip("install", "--quiet", "--requirement", self.requirements)
        with open(stamp, "w", encoding="utf-8") as file:
            file.write(wanted)

    def prepare_source(self) -> None:
        if os.path.isdir(self.source_dir):
            return
        print(f"fetching the source archive of Swift {SWIFT_VERSION} (once)", flush=True)
        download_dir = os.path.join(self.cache_dir, "download")
        self.pip("download", "--quiet", "--no-deps", "--no-binary", "swift", "--dest", download_dir, f"swift=={SWIFT_VERSION}")
        archives = glob.glob(os.path.join(download_dir, f"swift-{SWIFT_VERSION}.tar.gz"))
        if not archives:
            raise SuiteNotReady(f"pip brought no source archive of swift {SWIFT_VERSION} into {download_dir}")
        check_digest(archives[0])
        unpacked = os.path.join(self.cache_dir, "unpacked")
        shutil.rmtree(unpacked, ignore_errors=True)
        with tarfile.open(archives[0]) as archive:
            if hasattr(tarfile, "data_filter"):  # Python 3.11.4 and later
                archive.extraction_filter = tarfile.data_filter
            archive.extractall(unpacked)
        # The rename comes last, so that a folder of this name is always a whole one.
        os.rename(os.path.join(unpacked, f"swift-{SWIFT_VERSION}"), self.source_dir)

    def pip(self, *arguments: str) -> None:
        command = [self.python, "-m", "pip", "--disable-pip-version-check", *arguments]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PIP_TIMEOUT_S)
        if done.returncode != 0:
            last_lines = "\n".join(done.stdout.splitlines()[-15:])
            raise SuiteNotReady(f"pip {arguments[0]} failed; is the package index reachable?\n{last_lines}")

    def test_paths(self, files: list[str]) -> list[str]:
        """Paths of test files relative to `source_dir`. Raises SuiteNotReady for a name the suite does not have."""
        paths = [os.path.join("test", "functional", name) for name in files]
        for path in paths:
            if not os.path.exists(os.path.join(self.source_dir, path)):
                raise SuiteNotReady(f"Swift {SWIFT_VERSION} has no {path}")
        return paths


def check_digest(archive: str) -> None:
    with open(archive, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != ARCHIVE_SHA256:
        raise SuiteNotReady(f"{archive} has the SHA-256 {digest}, expected {ARCHIVE_SHA256}")


def read_or_empty(path: str) -> str:
    if not os.path.exists(path):
        return ""
    with open(path, encoding="utf-8") as file:
        return file.read()
