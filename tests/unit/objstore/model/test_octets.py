"""Any bytes survive the way through text."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from objstore.model.octets import bytes_of, octets, text_of, valid_utf8


@given(st.binary(max_size=64))
def test_every_value_comes_back(raw: bytes) -> None:
    text = text_of(raw)
    text.encode("utf-8")
    assert bytes_of(text) == raw
    assert octets(text) == len(raw)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(text)) == text


@given(st.text(max_size=32))
def test_every_text_comes_back(text: str) -> None:
    raw = text.encode("utf-8", "surrogatepass")
    assert bytes_of(text_of(raw)) == raw


def test_plain_text_is_itself() -> None:
    assert text_of("grün\t".encode()) == "grün\t"
    assert text_of(b"abc") == "abc"


def test_escapes_and_characters_like_escapes() -> None:
    assert text_of(b"a\xe2\x98") == "a\uefe2\uef98"
    for character in ("\uef80", "\uefff", "\uef7f", "\uf000"):
        assert bytes_of(text_of(character.encode())) == character.encode()


def test_validity() -> None:
    assert valid_utf8("grün\n") and valid_utf8("x")
    assert not valid_utf8(text_of(b"\xff"))
