"""Configured users: logging in, tokens, and who they are."""

import pytest

from objstore.auth.tempauth import CACHE_ENTRIES_MAX, TempAuth, TokenRejected, User
from objstore.auth.tokens import LIFE_S, SKEW_S, TokenSigner
from objstore.model.identity import ANONYMOUS
from objstore.runtime.rng import SystemRng

USERS = [
    User("test", "tester", "testing", admin=True),
    User("test", "tester3", "testing3"),
    User("test5", "tester5", "testing5", service=True),
    User("admin", "admin", "admin", reseller=True),
]


class FixedClock:
    time = 1_000_000.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, delay_s: float) -> None:
        self.time += delay_s


def make(users: list[User] = USERS, secret: bytes = b"x" * 32, clock: FixedClock | None = None) -> TempAuth:
    rng = SystemRng()
    return TempAuth(users, TokenSigner(secret, clock or FixedClock(), rng), rng)


def token(auth: TempAuth, user: str, key: str) -> str:
    grant = auth.log_in(user, key)
    assert grant is not None
    return grant.token


def test_log_in() -> None:
    grant = make().log_in("test:tester", "testing")
    assert grant is not None
    assert (grant.storage_account, grant.expires_in_s) == ("AUTH_test", LIFE_S)


@pytest.mark.parametrize(
    ("user", "key"),
    [("test:tester", "bad"), ("test:tester", ""), ("nobody:x", "testing"), ("", ""), ("test", "testing"), ("u" * 999, "k"),
     ("test:tester", "k" * 9999), ("\udcff:x", "\udcff")],
)  # fmt: skip
def test_wrong_credentials(user: str, key: str) -> None:
    assert make().log_in(user, key) is None


def test_owner_groups() -> None:
    auth = make()
    identity = auth.identify(token(auth, "test:tester", "testing"))
    assert identity.groups == {"test", "test:tester", "AUTH_test"}
    assert identity.owns == {"AUTH_test"}
    assert not identity.reseller
    assert identity.owner_of("AUTH_test") and not identity.owner_of("SERVICE_test")


def test_user_without_rights() -> None:
    auth = make()
    identity = auth.identify(token(auth, "test:tester3", "testing3"))
    assert identity.groups == {"test", "test:tester3"} and not identity.owns and not identity.anonymous


def test_reseller() -> None:
    auth = make()
    assert auth.identify(token(auth, "admin:admin", "admin")).owner_of("AUTH_anything")


def test_service_accounts_need_both_tokens() -> None:
    auth = make()
    owner, service = token(auth, "test:tester", "testing"), token(auth, "test5:tester5", "testing5")
    assert auth.identify(owner, service).owns == {"AUTH_test", "SERVICE_test"}
    assert auth.identify(owner, owner).owns == {"AUTH_test"}
    assert not auth.identify(service, service).owns
    alone = auth.identify("", service)
    assert not alone.anonymous and not alone.groups and not alone.owns
    assert not auth.identify(token(auth, "test:tester3", "testing3"), service).owns


def test_no_token_is_anonymous_and_a_bad_one_is_not() -> None:
    auth = make()
    assert auth.identify("") is ANONYMOUS
    with pytest.raises(TokenRejected):
        auth.identify("AUTH_tkbad")
    with pytest.raises(TokenRejected):
        auth.identify(token(auth, "test:tester", "testing"), "AUTH_tkbad")
    with pytest.raises(TokenRejected):
        auth.identify(token(make(secret=b"y" * 32), "test:tester", "testing"))


def test_a_cached_token_still_expires() -> None:
    clock = FixedClock()
    auth = make(clock=clock)
    text = token(auth, "test:tester", "testing")
    assert auth.identify(text) is auth.identify(text)
    clock.time += LIFE_S + SKEW_S
    with pytest.raises(TokenRejected):
        auth.identify(text)


def test_a_new_key_ends_old_tokens() -> None:
    text = token(make(), "test:tester", "testing")
    make().identify(text)
    with pytest.raises(TokenRejected):
        make([User("test", "tester", "changed", admin=True)]).identify(text)
    with pytest.raises(TokenRejected):
        make([]).identify(text)


def test_the_cache_is_bounded() -> None:
    auth = make()
    for _ in range(CACHE_ENTRIES_MAX + 10):
        auth.identify(token(auth, "test:tester", "testing"))
    assert len(auth._verified) == CACHE_ENTRIES_MAX


def test_keys_are_not_shown() -> None:
    assert "testing" not in repr(USERS[0])
