"""The limits of user metadata (Swift's `/info` shows them). Sizes count the client's bytes, see model/octets."""

from collections.abc import Mapping

from objstore.model.errors import InvalidInput
from objstore.model.octets import octets, valid_utf8

NAME_BYTES_MAX = 128
VALUE_BYTES_MAX = 256
COUNT_MAX = 90
OVERALL_BYTES_MAX = 4096
HEADER_BYTES_MAX = 8192


def check_metadata(kind: str, user: Mapping[str, str]) -> None:
    """Raises InvalidInput, with Swift's words, when `user` (names without prefix) is beyond a limit.

    `kind` is "account", "container" or "object". Counts come before the overall size, as in Swift.
    """
    total = 0
    for count, (name, value) in enumerate(user.items(), start=1):
        if not name:
            raise InvalidInput("Metadata name cannot be empty")
        name_bytes, value_bytes = octets(name), octets(value)
        if name_bytes > NAME_BYTES_MAX:
            raise InvalidInput(f"Metadata name too long: x-{kind}-meta-{name}")
        if value_bytes > VALUE_BYTES_MAX:
            raise InvalidInput(f"Metadata value longer than {VALUE_BYTES_MAX}: x-{kind}-meta-{name}")
        if count > COUNT_MAX:
            raise InvalidInput(f"Too many metadata items; max {COUNT_MAX}")
        total += name_bytes + value_bytes
    if total > OVERALL_BYTES_MAX:
        raise InvalidInput(f"Total metadata too large; max {OVERALL_BYTES_MAX}")


def check_headers(headers: Mapping[str, str]) -> None:
    """Raises InvalidInput when a header to be kept is too long."""
    for name, value in headers.items():
        if octets(value) > HEADER_BYTES_MAX:
            raise InvalidInput(f"Header value too long: {name}")


def check_text(values: Mapping[str, str]) -> None:
    """Raises InvalidInput when a name or a value is not UTF-8: accounts and containers take text only."""
    if not all(valid_utf8(name) and valid_utf8(value) for name, value in values.items()):
        raise InvalidInput("Metadata must be valid UTF-8")
