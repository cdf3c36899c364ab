"""Which start of the machine this is."""

import uuid

PATH = "/proc/sys/kernel/random/boot_id"


def boot_id() -> bytes:
    """16 bytes that differ between two starts of the machine; random where the system does not tell, so that nothing that must not
    outlive a start ever does.
    """
    try:
        with open(PATH) as file:
            return uuid.UUID(file.read().strip()).bytes
    except (OSError, ValueError):
        return uuid.uuid4().bytes
