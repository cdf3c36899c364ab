"""Header values as text: any bytes in, the same bytes out.

Swift keeps metadata values that are not valid UTF-8, while our text travels as UTF-8. A byte that is no part of valid UTF-8 becomes
one character U+EF80..U+EFFF (0xEF00 + the byte), a range the ConScript registry keeps for just this. So that the way back is
unique, the bytes of such a character that a client really sends are treated as invalid too.
"""

Octets = bytes | memoryview
"""Bytes of a body. Nobody changes them while somebody holds them."""

ESCAPE_FIRST = "\uef80"
ESCAPE_LAST = "\uefff"


def text_of(raw: bytes) -> str:
    """The text of a header value. Inverse of `bytes_of`; never fails."""
    if raw.isascii():
        return raw.decode("ascii")
    text = raw.decode("utf-8", "surrogateescape")
    if text.isprintable():  # neither surrogates nor private characters are
        return text
    return "".join(_escape(character) for character in text)


def bytes_of(text: str) -> bytes:
    """The bytes that `text_of` turned into this text."""
    if text.isascii():
        return text.encode("ascii")
    if text.isprintable():
        return text.encode("utf-8")
    return b"".join(bytes([ord(c) & 0xFF]) if ESCAPE_FIRST <= c <= ESCAPE_LAST else c.encode("utf-8") for c in text)


def octets(text: str) -> int:
    """How many bytes `text` has on the client's side."""
    return len(text) if text.isascii() else len(bytes_of(text))


def valid_utf8(text: str) -> bool:
    """Whether the client's bytes were UTF-8."""
    return text.isprintable() or not any(ESCAPE_FIRST <= c <= ESCAPE_LAST for c in text)


def _escape(character: str) -> str:
    if "\udc80" <= character <= "\udcff":
        return chr(0xEF00 | ord(character) & 0xFF)
    if ESCAPE_FIRST <= character <= ESCAPE_LAST:
        return "".join(chr(0xEF00 | byte) for byte in character.encode("utf-8"))
    return character
