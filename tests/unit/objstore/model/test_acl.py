import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore.model.acl import (
    Grant,
    clean_account_acl,
    clean_container_acl,
    parse_account_acl,
    parse_container_acl,
)
from objstore.model.errors import InvalidInput

GROUPS = frozenset({"test", "test:tester"})


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("", ""),
        ("jdoe", "jdoe"),
        (" a:b , c ,, ", "a:b,c"),
        (".r:*", ".r:*"),
        (".referrer : *.example.com , a:b", ".r:.example.com,a:b"),
        (".ref:- bad.host", ".r:-bad.host"),
        (".r:-*.bad.host", ".r:-.bad.host"),
        (".r:*,.rlistings", ".r:*,.rlistings"),
    ],
)
def test_clean(text: str, clean: str) -> None:
    assert clean_container_acl(text, write=False) == clean
    assert clean_container_acl(clean, write=False) == clean


@pytest.mark.parametrize("text", [".r:", ".r: ", ".r:-", ".r:*.", ".x:y", ".rlistings:x"])
def test_errors(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        clean_container_acl(text, write=False)
    assert "in ACL: " in caught.value.text


def test_no_referrers_may_write() -> None:
    with pytest.raises(InvalidInput, match="Referrers not allowed"):
        clean_container_acl(".r:*", write=True)


@given(st.text(alphabet=".r:-*,ab ", max_size=30))
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    try:
        clean = clean_container_acl(text, write=False)
    except InvalidInput:
        return
    assert clean_container_acl(clean, write=False) == clean
    parse_container_acl(clean)


@pytest.mark.parametrize(
    ("acl", "named"),
    [
        ("test:tester", True),
        ("test", True),
        ("*:tester", True),
        ("test:*", True),
        ("*:*", True),
        ("tester", False),
        ("test:other", False),
        ("*:other", False),
        ("other:*", False),
        (".r:*", False),
        ("", False),
    ],
)
def test_users(acl: str, named: bool) -> None:
    assert parse_container_acl(acl).names_user(GROUPS) is named
    assert not parse_container_acl(acl).names_user(frozenset())


@pytest.mark.parametrize(
    ("acl", "page", "allowed"),
    [
        (".r:*", "", True),
        (".r:*", "http://any.host/", True),
        (".r:*,.r:-bad.host", "http://bad.host/x", False),
        (".r:-bad.host,.r:*", "http://bad.host/x", True),
        (".r:.example.com", "http://www.example.com:8080/x", True),
        (".r:.example.com", "http://example.com/x", False),
        (".r:.example.com,.r:-.bad.example.com", "http://x.bad.example.com/", False),
        (".r:good.host", "http://good.host.evil/", False),
        (".r:good.host", "http://[bad", False),
        (".r:good.host", "", False),
        ("a:b", "http://any.host/", False),
    ],
)
def test_referrers(acl: str, page: str, allowed: bool) -> None:
    assert parse_container_acl(acl).names_referrer(page) is allowed


def test_listings() -> None:
    assert parse_container_acl(".r:*,.rlistings").listings
    assert not parse_container_acl(".r:*").listings


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("", ""),
        ("{}", ""),
        ('{"read-only":["b"], "admin":["a"]}', '{"admin":["a"],"read-only":["b"]}'),
    ],
)
def test_account_lists(text: str, clean: str) -> None:
    assert clean_account_acl(text) == clean


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("yuck", "Syntax error in input ('yuck')"),
        ("[]", "Syntax error in input ('[]')"),
        ('{"admin":"x"}', 'Value for key "admin" must be a list'),
        ('{"foo":[]}', 'Key "foo" not recognized'),
        ('{"admin":[1]}', 'Elements of "admin" list must be strings'),
        ("[" * 100_000, None),
    ],
)
def test_account_list_errors(text: str, problem: str | None) -> None:
    with pytest.raises(InvalidInput) as caught:
        clean_account_acl(text)
    assert problem is None or caught.value.text == problem


def test_the_most_granted_counts() -> None:
    acl = parse_account_acl('{"read-only":["test","test:tester"],"admin":["test:tester"],"read-write":["test"]}')
    assert acl.grant_of(GROUPS) is Grant.ADMIN
    assert acl.grant_of({"test"}) is Grant.READ_WRITE
    assert acl.grant_of({"else"}) is Grant.NONE
    assert acl.grant_of(()) is Grant.NONE
    for broken in ("{", "[]", '{"admin": 5}', '{"admin": [5]}', '{"x": ["test"]}'):
        assert parse_account_acl(broken).grant_of(GROUPS) is Grant.NONE
