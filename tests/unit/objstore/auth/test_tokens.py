"""Signed tokens: accepted everywhere the secret is known, refused after any change."""

import base64

import pytest

from objstore.auth.tokens import LIFE_S, PREFIX, SKEW_S, TokenSigner

SECRET = b"s" * 32


class FixedClock:
    def __init__(self, now: float) -> None:
        self.time = now

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, delay_s: float) -> None:
        self.time += delay_s


class CountingRng:
    def __init__(self) -> None:
        self.count = 0

    def random(self) -> float:
        return 0.5

    def token_bytes(self, count: int) -> bytes:
        self.count += 1
        return self.count.to_bytes(count, "big")


def signer(secret: bytes = SECRET, now: float = 1_000_000.0) -> TokenSigner:
    return TokenSigner(secret, FixedClock(now), CountingRng())


def binding(user: str) -> bytes:
    return b"digest of " + user.encode()


def test_a_second_process_accepts_what_the_first_issued() -> None:
    token, claims = signer().issue("test:tester", binding("test:tester"))
    assert token.startswith("AUTH_tk")
    assert claims.expires_s == 1_000_000 + LIFE_S
    assert signer(now=1_000_100).verify(token, binding) == claims


def test_names_may_be_unicode_and_tokens_differ() -> None:
    one = signer()
    first, claims = one.issue("konto:jürgen", binding("konto:jürgen"))
    second, _ = one.issue("konto:jürgen", binding("konto:jürgen"))
    assert first != second
    assert one.verify(first, binding) == claims


def test_every_changed_byte_is_refused() -> None:
    token, _ = signer().issue("a:b", binding("a:b"))
    raw = base64.urlsafe_b64decode(token[len(PREFIX) :] + "=" * (-len(token[len(PREFIX) :]) % 4))
    for index in range(len(raw)):
        changed = raw[:index] + bytes([raw[index] ^ 1]) + raw[index + 1 :]
        text = PREFIX + base64.urlsafe_b64encode(changed).rstrip(b"=").decode()
        assert signer().verify(text, binding) is None, index


@pytest.mark.parametrize(
    "token",
    [
        "",
        "AUTH_tk",
        "AUTH_tkx",
        "AUTH_tk" + "A" * 20,
        "AUTH_tk" + "A" * 200,
        "AUTH_tk\xe9",
        "AUTH_tk" + "A" * 5000,
        "Bearer x",
        "AUTH_tk!!!!",
    ],
)
def test_malformed_tokens(token: str) -> None:
    assert signer().verify(token, binding) is None


def test_truncated_tokens() -> None:
    token, _ = signer().issue("a:b", binding("a:b"))
    for end in range(len(token)):
        assert signer().verify(token[:end], binding) is None


def test_another_secret_is_refused() -> None:
    token, _ = signer(b"t" * 32).issue("a:b", binding("a:b"))
    assert signer().verify(token, binding) is None


def test_another_key_of_the_user_is_refused() -> None:
    token, _ = signer().issue("a:b", b"old")
    assert signer().verify(token, lambda user: b"new") is None


def test_expiry_and_skew() -> None:
    token, claims = signer().issue("a:b", binding("a:b"))
    assert signer(now=claims.expires_s + SKEW_S - 1).verify(token, binding)
    assert signer(now=claims.expires_s + SKEW_S).verify(token, binding) is None
    assert signer(now=1_000_000 - SKEW_S).verify(token, binding)
    assert signer(now=1_000_000 - SKEW_S - 1).verify(token, binding) is None, "issued by a clock far ahead"


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        signer(b"short")
