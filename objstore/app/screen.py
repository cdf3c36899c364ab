"""What `objstore dev` shows: progress while it starts, then where to connect and how."""

import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import IO, Protocol

from objstore.app.children import Child
from objstore.app.config import User
from objstore.app.devcluster import REPLICAS, DevCluster

USER_FOR_EXAMPLES = "test:tester"
KEY_FOR_EXAMPLES = "testing"


class Screen(Protocol):
    """Called from the supervisor's thread; `ready` and `problem` from the check's."""

    def begin(self, cluster: DevCluster, children: Sequence[Child]) -> None: ...

    def event(self, event: str, child: Child) -> None: ...

    def ready(self, cluster: DevCluster, endpoint: str, workers: int, users: Iterable[User]) -> None: ...

    def problem(self, text: str) -> None: ...

    def end(self, code: int) -> None: ...


def screen_for(stream: IO[str]) -> Screen:
    """Colours and a progress line on a terminal, plain lines elsewhere."""
    if stream.isatty():
        from objstore.app.richscreen import RichScreen

        return RichScreen()
    return PlainScreen()


class PlainScreen:
    """Lines that can be read, grepped and redirected."""

    def begin(self, cluster: DevCluster, children: Sequence[Child]) -> None:
        print(f"starting {len(children)} processes, data in {cluster.directory}", flush=True)

    def event(self, event: str, child: Child) -> None:
        if event == "ended" and child.crashed:
            self.problem(f"{child.spec.name} ended unexpectedly and is started again")

    def ready(self, cluster: DevCluster, endpoint: str, workers: int, users: Iterable[User]) -> None:
        for heading, lines in first_screen(cluster, endpoint, workers, users):
            print(f"\n{heading}\n" + "\n".join(f"  {line}" for line in lines), flush=True)
        print("\nready", flush=True)

    def problem(self, text: str) -> None:
        print(f"objstore: {text}", file=sys.stderr, flush=True)

    def end(self, code: int) -> None:
        if code == 0:
            print("stopped; the data stays", flush=True)


def first_screen(cluster: DevCluster, endpoint: str, workers: int, users: Iterable[User]) -> list[tuple[str, list[str]]]:
    """Headings and their lines."""
    replicas = min(REPLICAS, cluster.nodes)
    swift = f"{swift_command()} -A {endpoint}/auth/v1.0 -U {USER_FOR_EXAMPLES} -K {KEY_FOR_EXAMPLES}"
    login = f"curl -si -H 'X-Auth-User: {USER_FOR_EXAMPLES}' -H 'X-Auth-Key: {KEY_FOR_EXAMPLES}' {endpoint}/auth/v1.0"
    token = f"TOKEN=$({login} | tr -d '\\r' | sed -n 's/^X-Auth-Token: //p')"
    account = f"{endpoint}/v1/AUTH_test"
    return [
        (
            f"objstore at {endpoint}",
            [
                ", ".join((_count(cluster.nodes, "storage node"), _count(replicas, "replica"), _count(workers, "proxy worker"))),
                f"data  {cluster.directory}",
                f"log   {cluster.log_path}",
            ],
        ),
        ("users", [f"{user.account + ':' + user.name:<16}{user.key:<12}{_rights(user)}" for user in users]),
        ("swift", [f"{swift} upload photos README.md", f"{swift} list photos", f"{swift} stat"]),
        (
            "curl",
            [
                token,
                f'curl -i -X PUT -H "X-Auth-Token: $TOKEN" {account}/photos',
                f'curl -i -T README.md -H "X-Auth-Token: $TOKEN" {account}/photos/README.md',
                f'curl -H "X-Auth-Token: $TOKEN" {account}/photos/README.md',
            ],
        ),
        (
            "aws",
            [
                "export AWS_ACCESS_KEY_ID=test:tester AWS_SECRET_ACCESS_KEY=testing AWS_DEFAULT_REGION=us-east-1",
                f"aws --endpoint-url {endpoint} s3 mb s3://pictures",
                f"aws --endpoint-url {endpoint} s3 cp README.md s3://pictures/",
                f"aws --endpoint-url {endpoint} s3 ls s3://pictures/",
            ],
        ),
    ]


def swift_command() -> str:
    """The Swift client as a shell finds it: by name, or by path when it is only in the environment that runs this."""
    beside = os.path.join(os.path.dirname(sys.executable), "swift")
    return beside if shutil.which("swift") is None and os.access(beside, os.X_OK) else "swift"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _rights(user: User) -> str:
    if user.reseller:
        return "administers every account"
    if user.admin:
        return f"administers AUTH_{user.account}"
    return "service user" if user.service else "no rights of its own"
