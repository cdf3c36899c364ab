"""What a whole cluster on one machine is made of, file by file: for `objstore dev` and for the testing harness."""

import os

from objstore.app.config import Config
from objstore.app.failure import Failure
from objstore.app.identity import cluster_fingerprint
from objstore.runtime.device import DeviceRefused, init_device
from objstore.runtime.rng import SystemRng
from ring.builder import RingBuilder
from ring.builderfile import save_builder


def save_ring(directory: str, name: str, builder: RingBuilder) -> None:
    """The builder and the ring made from it, each replaced as a whole."""
    save_builder(os.path.join(directory, f"{name}.builder"), builder)
    builder.to_ring().save(os.path.join(directory, f"{name}.ring.gz"))


def make_device(config: Config, name: str) -> None:
    """The device `name` of the node, empty; one that is there already stays as it is. Raises Failure."""
    path = os.path.join(config.node.devices_root, name)
    try:
        init_device(path, cluster_fingerprint(config).hex(), name, SystemRng())
    except DeviceRefused as error:
        raise Failure(str(error)) from error


def write_file(path: str, text: str) -> None:
    """Replace a file as a whole; its contents are durable before it gets its name."""
    with open(path + ".new", "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".new", path)
