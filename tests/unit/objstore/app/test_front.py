"""The pages of a worker: who may see figures, where one logs in; and the users of a configuration."""

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from objstore.api.request import Request
from objstore.app.config import Auth, Config, Metrics, Node, Role, User
from objstore.app.front import EdgeFigures, NodePages, floor_of, login_of
from objstore.app.metrics import MetricsSocket, RequestFigures
from objstore.auth.tempauth import TempAuth
from objstore.runtime.clock import HybridClock, SystemClock
from objstore.runtime.rng import SystemRng

SECRET = b"s" * 32


@dataclass
class Asked:
    """What the pages look at of a request."""

    path: str
    client: str = "127.0.0.1"
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    user: str = ""

    @property
    def connection(self) -> Any:
        return SimpleNamespace(client=self.client)


def login(config: Config) -> TempAuth:
    return login_of(config, SECRET, SystemClock(), SystemRng())


def pages(tmp_path: Path, config: Config) -> NodePages:
    figures = RequestFigures()
    figures.add("GET", 200, 0.1, 0, 0)
    return NodePages(login(config), {}, MetricsSocket(str(tmp_path), "p", [figures.families]), config)


async def status(served: NodePages, asked: Asked) -> int:
    return (await served.handle(cast(Request, asked))).status


@pytest.mark.parametrize(
    ("client", "given", "token", "expected"),
    [
        ("127.0.0.1", "", "", 200),
        ("::1", "", "", 200),
        ("10.0.0.9", "", "", 403),
        ("", "", "", 403),
        ("10.0.0.9", "Bearer t0ken", "", 403),
        ("10.0.0.9", "Bearer ", "", 403),
        ("10.0.0.9", "Bearer t0ken", "t0ken", 200),
        ("10.0.0.9", "Bearer other", "t0ken", 403),
        ("10.0.0.9", "", "t0ken", 403),
        ("127.0.0.1.evil.example", "", "", 403),
    ],
)
async def test_who_may_see_figures(tmp_path: Path, client: str, given: str, token: str, expected: int) -> None:
    served = pages(tmp_path, Config(metrics=Metrics(token=token)))
    asked = Asked("/metrics", client, headers={"authorization": given} if given else {})
    assert await status(served, asked) == expected


async def test_figures_are_in_prometheus_format(tmp_path: Path) -> None:
    reply = await pages(tmp_path, Config()).handle(cast(Request, Asked("/metrics")))
    assert b'objstore_requests_total{code="200",operation="GET"} 1.0' in reply.body
    assert dict(reply.fields)["Content-Type"].startswith("text/plain; version=0.0.4")


@pytest.mark.parametrize(("roles", "expected"), [(("proxy", "auth"), 401), (("auth",), 401), (("proxy",), 404)])
async def test_one_logs_in_where_the_auth_role_is(tmp_path: Path, roles: tuple[Role, ...], expected: int) -> None:
    assert await status(pages(tmp_path, Config(node=Node(roles=roles))), Asked("/auth/v1.0")) == expected


async def test_the_health_check_says_when_the_worker_ends(tmp_path: Path) -> None:
    served = pages(tmp_path, Config())
    assert await status(served, Asked("/healthcheck")) == 200
    served.is_draining = True
    assert await status(served, Asked("/healthcheck")) == 503


def test_users_come_from_the_configuration() -> None:
    alice = User(account="photos", name="alice", key="k1", admin=True)
    config = Config(auth=Auth(users=(alice,)))
    assert login(config).log_in("photos:alice", "k1") is not None
    assert login(config).log_in("test:tester", "testing") is None
    assert login(Config(auth=Auth(development=True))).log_in("test:tester", "testing") is not None


def test_a_token_of_one_worker_is_good_on_another() -> None:
    config = Config(auth=Auth(development=True))
    grant = login(config).log_in("admin:admin", "admin")
    assert grant is not None
    assert login(config).identify(grant.token).reseller


def test_methods_cannot_become_labels() -> None:
    figures = RequestFigures()
    for method in ("GET", "LICK", "x" * 1000):
        EdgeFigures(figures).request(method, 405, 0.0, 0, 0)
    assert set(figures.codes) == {("GET", 405), ("other", 405)}


def test_clocks_of_two_slots_keep_apart_and_go_on_after_a_restart(tmp_path: Path) -> None:
    config = Config(node=Node(state_dir=str(tmp_path)))
    first = HybridClock(SystemClock(), 1, floor_of(config, 0))
    second = HybridClock(SystemClock(), 2, floor_of(config, 1))
    last = max(first.next(), second.next())
    again = HybridClock(SystemClock(), 1, floor_of(config, 0))
    assert again.next() > last
