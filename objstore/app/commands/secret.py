"""`objstore secret new`."""

import os
import secrets

from objstore.app.failure import Failure

SECRET_BYTES = 32


def new(path: str | None) -> int:
    """Write a new secret (64 hex digits) to `path`, or print it. Raises Failure rather than overwrite one."""
    text = secrets.token_hex(SECRET_BYTES)
    if path is None:
        print(text)
        return 0
    write_secret(path, text)
    print(f"new cluster secret in {path}; copy it to every node, readable by the store's user alone")
    return 0


def write_secret(path: str, text: str) -> None:
    """Durably, with mode 0600."""
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise Failure(f"{path} exists already; a cluster keeps its secret, so it is never overwritten") from None
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(descriptor)
