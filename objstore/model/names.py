"""Names of accounts, containers and objects, and their limits (Swift's `/info` shows them)."""

from typing import NamedTuple

from objstore.model.errors import InvalidInput

ACCOUNT_NAME_BYTES_MAX = 256
CONTAINER_NAME_BYTES_MAX = 256
OBJECT_NAME_BYTES_MAX = 1024


class ObjectName(NamedTuple):
    """An object's full name; each part is text, the object's part opaque (`a/../b` is just this name)."""

    account: str
    container: str
    object: str

    def __str__(self) -> str:
        return f"/{self.account}/{self.container}/{self.object}"


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def check_container_name(name: str) -> None:
    """Raises InvalidInput when no container may have this name."""
    if not name or "/" in name:
        raise InvalidInput("Container name cannot contain slashes or be empty")
    if _bytes(name) > CONTAINER_NAME_BYTES_MAX:
        raise InvalidInput(f"Container name length of {_bytes(name)} longer than {CONTAINER_NAME_BYTES_MAX}")


def check_object_name(name: str) -> None:
    """Raises InvalidInput when no object may have this name."""
    if _bytes(name) > OBJECT_NAME_BYTES_MAX:
        raise InvalidInput(f"Object name length of {_bytes(name)} longer than {OBJECT_NAME_BYTES_MAX}")
