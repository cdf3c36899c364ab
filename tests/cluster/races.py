"""Clients that race for objects under conditions, and a judge of what they were told.

Each body says who wrote it and over what: so an object is a chain of updates, and an update that was acknowledged must be in it.
"""

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from objstore.testing.rawhttp import Broken, Connection, NotSent

CLIENTS = 16
TIMEOUT_S = 20.0
READ_TRIES = 200
BUCKET = "races"
CREDENTIALS = Credentials("test:tester", "testing")


@dataclass(slots=True)
class Update:
    """One attempt. `outcome`: won, lost (told that the condition does not hold), open (it may have been applied), not sent."""

    etag: str
    parent: str
    outcome: str = "open"


@dataclass(slots=True)
class Racers:
    """`CLIENTS` clients in turn at each of the proxies; every other one speaks S3."""

    endpoints: Sequence[str]
    token: str
    account: str
    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    parents: dict[str, dict[str, str]] = field(default_factory=dict)
    """Of each key, by etag of a body that was sent, what it was meant to replace; "" for nothing."""
    winners: dict[str, list[str]] = field(default_factory=dict)
    """Of each key, the etags of what was acknowledged."""
    last: dict[str, str] = field(default_factory=dict)
    """Of each key, the etag that was read last."""
    _connections: list[Connection] = field(default_factory=list)

    async def start(self) -> None:
        self._connections = [Connection(self.endpoints[number % len(self.endpoints)]) for number in range(CLIENTS)]
        answer = await self._connections[0].request("PUT", f"{self.account}/{BUCKET}", {"X-Auth-Token": self.token})
        assert answer.status in (201, 202), answer.words

    def close(self) -> None:
        for connection in self._connections:
            connection.close()

    # --- the games ---------------------------------------------------------------------------------------------

    async def create(self, key: str) -> None:
        """All make the object if nobody else did."""
        await self._together(key, [""] * CLIENTS)
        if len(self.winners[key]) > 1:
            self.wrong.append(f"{key}: {len(self.winners[key])} creators won")
        await self.check(key)

    async def update(self, key: str) -> None:
        """All replace what each of them read."""
        read = await asyncio.gather(*(self._read(key, number) for number in range(CLIENTS)))
        await self._together(key, list(read))
        by_parent = Counter(self.parents[key][etag] for etag in self.winners[key])
        self.wrong += [f"{key}: {count} updates of {parent} won" for parent, count in by_parent.items() if count > 1]
        await self.check(key)

    async def check(self, key: str) -> None:
        """What the object is now follows from all that was acknowledged, and from what was read before."""
        state = await self._read(key, sum(self.outcomes.values()))
        line = [state]
        while line[-1] and len(line) <= len(self.parents[key]):
            line.append(self.parents[key][line[-1]])
        missing = set(self.winners[key]).difference(line)
        if missing:
            self.wrong.append(f"{key}: {len(missing)} acknowledged updates are not in what it became")
        if self.last.get(key, "") not in line:
            self.wrong.append(f"{key}: an update that was read is not in what it became")
        self.last[key] = state

    # --- requests ----------------------------------------------------------------------------------------------

    async def _together(self, key: str, parents: list[str]) -> None:
        held = self.parents.setdefault(key, {})
        updates = []
        for number, parent in enumerate(parents):
            body = json.dumps([key, number, parent]).encode()
            etag = hashlib.md5(body).hexdigest()
            held[etag] = parent
            updates.append((Update(etag, parent), body))
        await asyncio.gather(*(self._put(key, number, *update) for number, update in enumerate(updates)))
        before = len(self.winners.setdefault(key, []))
        self.winners[key] += [update.etag for update, _ in updates if update.outcome == "won"]
        found = Counter(update.outcome for update, _ in updates)
        self.outcomes.update(found)
        self.outcomes["decided"] += len(self.winners[key]) > before
        if found["lost"] and not found["won"] and not found["open"] and not any(parents):
            self.wrong.append(f"{key}: refused although nobody made it")

    async def _put(self, key: str, number: int, update: Update, body: bytes) -> None:
        condition = {"If-Match": f'"{update.parent}"'} if update.parent else {"If-None-Match": "*"}
        target, headers = self._target(key, number, "PUT")
        try:
            answer = await self._connections[number].request("PUT", target, headers | condition, body, timeout_s=TIMEOUT_S)
        except NotSent:
            update.outcome = "not sent"
            return
        except (Broken, TimeoutError):
            return
        match answer.status:
            case 200 | 201:
                update.outcome = "won"
            case 412:
                update.outcome = "lost"
            case 409 | 500 | 503 | 504:
                self.outcomes[f"status {answer.status}"] += 1
            case _:
                self.wrong.append(f"{key}: PUT answered {answer.words}")

    async def _read(self, key: str, number: int) -> str:
        """The object's etag, "" for none; patient."""
        for _ in range(READ_TRIES):
            target, headers = self._target(key, number, "GET")
            try:
                answer = await self._connections[number % CLIENTS].request("GET", target, headers, timeout_s=TIMEOUT_S)
            except (NotSent, Broken, TimeoutError):
                answer = None
            if answer is not None and answer.status in (200, 404):
                return answer.headers["etag"].strip('"') if answer.status == 200 else ""
            if answer is not None and answer.status != 503:
                self.wrong.append(f"{key}: GET answered {answer.words}")
            await asyncio.sleep(0.1)
        self.wrong.append(f"{key}: could not be read")
        return self.last.get(key, "")

    def _target(self, key: str, number: int, method: str) -> tuple[str, dict[str, str]]:
        """Path and headers of a request: half of the clients of each proxy speak S3."""
        if number // len(self.endpoints) % 2:
            return f"{self.account}/{BUCKET}/{key}", {"X-Auth-Token": self.token}
        endpoint = self.endpoints[number % CLIENTS % len(self.endpoints)]
        request = AWSRequest(method, f"{endpoint}/{BUCKET}/{key}")
        S3SigV4QueryAuth(CREDENTIALS, "s3", "us-east-1", expires=3600).add_auth(request)
        return request.url.removeprefix(endpoint), {}
