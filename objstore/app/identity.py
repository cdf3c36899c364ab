"""What makes a cluster and a process of it recognisable: the cluster's fingerprint, and the identity in timestamps."""

import hashlib

from objstore.app.config import CLOCK_IDENTITY_MAX, SLOTS_PER_NODE_MAX, Config


def cluster_fingerprint(config: Config) -> bytes:
    """16 bytes from the cluster's name and what placement depends on.

    It is written on every device and proven by every connection, so a node or a disk of another cluster, or a node with a
    wrong hash prefix, is refused. The secret is not part of it and can be replaced.
    """
    parts = (config.cluster.name, config.cluster.hash_prefix, config.cluster.hash_suffix)
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(4, "big") + data)
    return digest.digest()[:16]


def clock_identity(config: Config, slot: int) -> int:
    """The 14 bits that tell this process's timestamps from any other's: 9 of the node, 5 of the worker's slot.

    Nodes without a number of their own (`node.clock_identity`) take one from their name; two names may then share one, which
    matters only if both write the same object within the same 10 µs.
    """
    if not 0 <= slot < SLOTS_PER_NODE_MAX:
        raise ValueError(f"a node has at most {SLOTS_PER_NODE_MAX} slots, this is number {slot}")
    number = config.node.clock_identity
    if number < 0:
        digest = hashlib.sha256(config.node.name.encode()).digest()
        number = int.from_bytes(digest[:4], "big") % (CLOCK_IDENTITY_MAX + 1)
    return number * SLOTS_PER_NODE_MAX + slot
