"""This store, as `make bench` starts it: 4 nodes, 3 replicas, fsync on, reads that ask two replicas."""

from contextlib import ExitStack
from pathlib import Path

from bench.cluster import Cluster, running
from bench.main import authenticate
from bench.peers.dialects import S3, Dialect, Swift
from bench.peers.processes import NotStarted


class Objstore:
    """A development cluster."""

    name = "ours"
    title = "objstore"
    durability = "fsync of data, names and rows on a majority of replicas before the answer; reads ask two replicas"

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._stack = ExitStack()
        self._cluster: Cluster | None = None
        self.setup = f"`objstore dev` with 4 nodes, {workers} proxy worker{'s' if workers > 1 else ''}; background jobs on"

    def start(self, where: Path) -> None:
        self._cluster = self._stack.enter_context(running(nodes=4, workers=self._workers, data=where))

    def stop(self) -> None:
        self._stack.close()

    def roots(self) -> list[int]:
        return [self._cluster.process.pid] if self._cluster else []

    def daemons(self) -> list[int]:
        return []  # background jobs run in the servers' processes

    def check(self) -> None:
        if self._cluster and self._cluster.process.poll() is not None:
            raise NotStarted(f"the cluster ended with code {self._cluster.process.returncode}")

    def dialects(self) -> dict[str, Dialect]:
        assert self._cluster is not None
        token, account = authenticate(self._cluster)
        return {"Swift": Swift(self._cluster.port, account, token), "S3": S3(self._cluster.port, "test:tester", "testing")}
