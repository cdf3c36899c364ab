"""What a proxy worker needs beside the APIs: users, the page of figures, the clock's durable floor."""

import hmac
import os

from objstore.api.pages import Pages, error_page
from objstore.api.reply import Reply
from objstore.api.request import Request
from objstore.app.config import DEVELOPMENT_USERS, Config
from objstore.app.configfile import is_loopback
from objstore.app.metrics import MetricsSocket, RequestFigures
from objstore.auth.tempauth import TempAuth, User
from objstore.auth.tokens import TokenSigner
from objstore.runtime.device import DeviceFloor
from objstore.runtime.filesystem import RealFileSystem
from objstore.runtime.interface import Clock, Rng

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
METHODS = frozenset(("GET", "HEAD", "PUT", "POST", "DELETE", "COPY", "OPTIONS"))


def users_of(config: Config) -> list[User]:
    """The configured users, and the development users where these are allowed."""
    users = [*config.auth.users, *(DEVELOPMENT_USERS if config.auth.development else ())]
    return [User(one.account, one.name, one.key, admin=one.admin, reseller=one.reseller, service=one.service) for one in users]


def login_of(config: Config, secret: bytes, clock: Clock, rng: Rng) -> TempAuth:
    """Their logins."""
    return TempAuth(users_of(config), TokenSigner(secret, clock, rng, config.auth.token_life_s), rng)


def floor_of(config: Config, slot: int) -> DeviceFloor:
    """Where the worker in this slot keeps its clock's reservation. Raises OSError."""
    directory = os.path.join(config.node.state_dir, f"worker-{slot}")
    os.makedirs(directory, mode=0o700, exist_ok=True)
    return DeviceFloor(RealFileSystem(directory), "clock")


class EdgeFigures:
    """The edge's counter. Methods that no API knows count as one, so that clients cannot invent labels."""

    def __init__(self, figures: RequestFigures) -> None:
        self._figures = figures

    def request(self, method: str, status: int, seconds: float, bytes_in: int, bytes_out: int) -> None:
        """As EdgeMetrics."""
        self._figures.add(method if method in METHODS else "other", status, seconds, bytes_in, bytes_out)


class NodePages(Pages):
    """The pages, with figures of the whole node for those who may see them: this machine, and whoever has the token."""

    def __init__(self, auth: TempAuth, info: dict[str, object], metrics: MetricsSocket, config: Config) -> None:
        self.is_draining = False
        super().__init__(
            auth,
            info,
            lambda: (METRICS_TYPE, b""),
            config.auth.storage_url,
            draining=lambda: self.is_draining,
            scheme="https" if config.proxy.tls_cert else "http",
        )
        self._metrics = metrics
        self._bearer = f"Bearer {config.metrics.token}" if config.metrics.token else ""
        self._logs_in = "auth" in config.node.roles

    async def handle(self, request: Request) -> Reply:
        """As Api."""
        if request.path == "/metrics" and request.method in ("GET", "HEAD"):
            if not self._may_see_metrics(request):
                return error_page(403)
            return Reply(200, [("Content-Type", METRICS_TYPE)], await self._metrics.gather())
        if request.path.startswith("/auth") and not self._logs_in:
            return error_page(404)
        return await super().handle(request)

    def _may_see_metrics(self, request: Request) -> bool:
        given = request.headers.get("authorization", "")
        if self._bearer and hmac.compare_digest(given.encode("utf-8", "replace"), self._bearer.encode()):
            return True
        return is_loopback(request.connection.client)
