import pytest

from objstore.model.errors import InvalidInput
from objstore.model.metadata import check_headers, check_metadata, check_text
from objstore.model.octets import text_of


@pytest.mark.parametrize(
    "user",
    [
        {},
        {"n" * 128: ""},
        {"n": "v" * 256},
        {f"{i}": "v" for i in range(90)},
        {f"{i:x}": "v" * 255 for i in range(16)},
        {"ä" * 64: "ä" * 128},
        {"n": text_of(b"\xff" * 256)},
    ],
)
def test_what_fits(user: dict[str, str]) -> None:
    check_metadata("object", user)


@pytest.mark.parametrize(
    ("user", "problem"),
    [
        ({"": "v"}, "Metadata name cannot be empty"),
        ({"n" * 129: "v"}, "Metadata name too long: x-object-meta-" + "n" * 129),
        ({"n": "v" * 257}, "Metadata value longer than 256: x-object-meta-n"),
        ({f"{i}": "v" for i in range(91)}, "Too many metadata items; max 90"),
        ({f"{i:x}": "v" * 256 for i in range(16)}, "Total metadata too large; max 4096"),
        ({"n": text_of(b"\xff" * 257)}, "Metadata value longer than 256: x-object-meta-n"),
        ({"ä" * 65: "v"}, "Metadata name too long: x-object-meta-" + "ä" * 65),
    ],
)
def test_what_does_not(user: dict[str, str], problem: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_metadata("object", user)
    assert caught.value.text == problem


def test_headers_and_text() -> None:
    check_headers({"a": "v" * 8192})
    with pytest.raises(InvalidInput):
        check_headers({"a": "v" * 8193})
    check_text({"ä": "\u0e12"})
    with pytest.raises(InvalidInput, match="UTF-8"):
        check_text({"a": text_of(b"\xe2\x98")})
