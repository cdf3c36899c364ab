"""Rings that change while clients read and write: the data follows, replica by replica, and nobody notices (F68, F69, F74)."""

import asyncio
import hashlib
import threading
from collections.abc import Awaitable, Callable

from objstore.testing.cluster import Cluster
from tests.cluster.swift import Swift

OBJECTS = 60


def body_of(number: int, version: int) -> bytes:
    return hashlib.sha256(f"{number} {version}".encode()).digest() * 50


class Client:
    """Writes and reads all objects over and over in a thread of its own; every answer must be the newest acknowledged one."""

    def __init__(self, cluster: Cluster) -> None:
        self._swift = Swift(cluster.endpoint)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.versions = dict.fromkeys(range(OBJECTS), 0)
        self.requests = 0
        self.wrong: list[str] = []
        self._swift.request("PUT", "/moving")
        for number in range(OBJECTS):
            self._put(number)

    def __enter__(self) -> "Client":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                for number in range(OBJECTS):
                    if self._stop.is_set():
                        return
                    self._get(number)
                    if (number + self.requests) % 5 == 0:
                        self._put(number)
                self._list()
        except Exception as error:  # the test asserts on what is in here
            self.wrong.append(repr(error))

    def _put(self, number: int) -> None:
        version = self.versions[number] + 1
        status = self._swift.request("PUT", f"/moving/o{number}", body_of(number, version)).status
        self.requests += 1
        if status == 201:
            self.versions[number] = version
        else:
            self.wrong.append(f"PUT o{number}: {status}")

    def _get(self, number: int) -> None:
        answer = self._swift.request("GET", f"/moving/o{number}")
        self.requests += 1
        if answer.status != 200 or answer.body != body_of(number, self.versions[number]):
            self.wrong.append(f"GET o{number}: {answer.status}")

    def _list(self) -> None:
        self.requests += 1
        missing = OBJECTS - len(self._swift.names("moving"))
        if missing:
            self.wrong.append(f"listing: {missing} missing")


async def watch_copies(cluster: Cluster, lowest: list[int]) -> None:
    """The fewest devices that held any one object at any moment."""
    while True:
        for number in range(0, OBJECTS, 7):
            devices = {(one.node, one.device) for one in cluster.replicas(f"moving/o{number}") if one.kind == "data"}
            lowest.append(len(devices))
            await asyncio.sleep(0)
        await asyncio.sleep(0.02)


async def change(cluster: Cluster, client: Client, work: Callable[[], Awaitable[object]]) -> int:
    """Make a change of the rings and let the data move, all under load; returns the fewest copies seen."""
    lowest: list[int] = []
    watching = asyncio.create_task(watch_copies(cluster, lowest))
    try:
        await work()
        for _ in range(4):
            await cluster.run_daemons("object-replicator", "container-replicator", "account-replicator", "object-updater")
    finally:
        watching.cancel()
    assert client.wrong == []
    return min(lowest)


async def test_a_cluster_grows_shrinks_and_loses_a_device_under_load() -> None:
    async with Cluster(nodes=4, devices=1, network_faults=False) as cluster:
        with Client(cluster) as client:
            fewest = []

            async def grow() -> None:
                await cluster.add_node()

            fewest.append(await change(cluster, client, grow))
            added = cluster.nodes[-1]
            held = await cluster.status(added)
            assert held.devices[0].state == "ok"

            async def drain() -> None:
                await cluster.set_weight("node1", "d1", 0)

            fewest.append(await change(cluster, client, drain))
            await change(cluster, client, drain)  # a rebalance moves one replica of a partition at a time

            async def lose() -> None:
                await cluster.remove_device("node2", "d1")

            await change(cluster, client, lose)
        await cluster.settle(60)
        assert client.wrong == [] and client.requests > 100
        assert min(fewest) >= 2, "never fewer than two copies while data only moves"
        for number in range(OBJECTS):
            found = [one for one in cluster.replicas(f"moving/o{number}") if one.node != "node2"]  # its disk is out of use
            assert {one.node for one in found if one.kind == "data"} == {"node3", "node4", added}
            assert {one.md5 for one in found} == {hashlib.md5(body_of(number, client.versions[number])).hexdigest()}
        print(f"{client.requests} requests during 4 ring changes, {len(client.wrong)} wrong; fewest copies {min(fewest)}")
