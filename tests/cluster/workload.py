"""Clients that write, overwrite and delete, remember what was acknowledged, and check it afterwards.

Each key belongs to one client, so the order of its operations is known. An operation that ended in an error or never answered may
or may not have been applied; one that was acknowledged must have been.
"""

import hashlib
import http.client
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.cluster.swift import Swift

ABSENT = ""
COME_BACK_S = 5.0
"""A node that was refused by one which started later asks it again after Knobs.refusal_memory_max_s: until then a read that must
copy a version from the one to the other may say that it is unavailable.
"""


@dataclass(slots=True)
class Key:
    """What a key may hold: digests of bodies, ABSENT for deleted. One state when everything was acknowledged."""

    possible: set[str] = field(default_factory=lambda: {ABSENT})


@dataclass(slots=True)
class Workload:
    """Run `clients` threads against `connect()`; `keys_each` names each, sizes drawn from `sizes`."""

    connect: Callable[[], Swift]
    container: str
    clients: int
    seed: int
    keys_each: int = 40
    sizes: tuple[int, ...] = (0, 100, 4096, 70_000, 700_000)
    keys: dict[str, Key] = field(default_factory=dict)
    acknowledged: int = 0
    failures: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> None:
        """Start the clients; they go on until `stop`."""
        for number in range(self.clients):
            thread = threading.Thread(target=self._client, args=(number,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Ask the clients to end and wait for them."""
        self._stop.set()
        for thread in self._threads:
            thread.join(90)
            if thread.is_alive():
                raise RuntimeError("a client hangs")

    def _client(self, number: int) -> None:
        rng = random.Random(self.seed * 1000 + number)
        swift = self.connect()
        while not self._stop.is_set():
            name = f"client{number:02d}/key {rng.randrange(self.keys_each)}"
            key = self.keys.setdefault(name, Key())
            delete = rng.random() < 0.2
            body = b"" if delete else rng.randbytes(rng.choice(self.sizes))
            state = ABSENT if delete else hashlib.md5(body).hexdigest()
            expected = (204, 404) if delete else (201,)
            before = key.possible
            key.possible = before | {state}
            try:
                answer = swift.request("DELETE" if delete else "PUT", f"/{self.container}/{name}", None if delete else body)
            except (OSError, http.client.HTTPException) as error:
                self._fail(f"{name}: {type(error).__name__} {error}")
                continue
            if answer.status in expected:
                key.possible = {state}
                with self._lock:
                    self.acknowledged += 1
            else:
                self._fail(f"{name}: {answer.status} {answer.headers.get('x-trans-id')} {answer.body[:100]!r}")
        swift.close()

    def _fail(self, text: str) -> None:
        with self._lock:
            self.failures.append(text)
        self._stop.wait(0.05)

    def check_objects(self, swift: Swift) -> list[str]:
        """Read every key back; the problems found, none when all is well."""
        problems = []
        for name, key in sorted(self.keys.items()):
            # An operation that was cut off may stand on a minority of the replicas: ask all of them, which also settles it.
            newest = {"X-Newest": "true"} if len(key.possible) > 1 else {}
            answer = swift.request("GET", f"/{self.container}/{name}", headers=newest)
            deadline = time.monotonic() + COME_BACK_S
            while answer.status == 503 and time.monotonic() < deadline:
                time.sleep(0.2)
                answer = swift.request("GET", f"/{self.container}/{name}", headers=newest)
            if answer.status not in (200, 404):
                problems.append(f"{name}: GET answered {answer.status}")
                continue
            state = ABSENT if answer.status == 404 else hashlib.md5(answer.body).hexdigest()
            if state not in key.possible:
                problems.append(f"{name}: found {state or 'nothing'}, possible {sorted(key.possible)}")
            elif answer.status == 200 and answer.headers["etag"] != state:
                problems.append(f"{name}: etag {answer.headers['etag']} does not match the body")
            key.possible = {state}
        return problems

    def check_listing(self, swift: Swift) -> list[str]:
        """Compare the listing and the container's figures with what `check_objects` found."""
        rows = swift.names(self.container)
        truth = {name for name, key in self.keys.items() if key.possible != {ABSENT}}
        problems = [f"{name}: not listed" for name in sorted(truth - rows.keys())]
        problems += [f"{name}: listed but gone" for name in sorted(rows.keys() - truth)]
        problems += [
            f"{name}: listed hash differs"
            for name in sorted(truth & rows.keys())
            if {rows[name]["hash"]} != self.keys[name].possible
        ]
        answer = swift.request("HEAD", f"/{self.container}")
        if answer.status != 204:
            return [*problems, f"HEAD answered {answer.status} {answer.headers.get('x-trans-id')}"]
        head = answer.headers
        expected = (len(rows), sum(int(str(row["bytes"])) for row in rows.values()))
        found = (int(head["x-container-object-count"]), int(head["x-container-bytes-used"]))
        if found != expected:
            problems.append(f"container says {found}, its listing {expected}")
        return problems
