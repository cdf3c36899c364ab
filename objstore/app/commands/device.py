"""`objstore device init`."""

import os

from objstore.app.configfile import load_config
from objstore.app.failure import Failure
from objstore.app.identity import cluster_fingerprint
from objstore.runtime.device import DeviceRefused, init_device
from objstore.runtime.rng import SystemRng


def initialise(path: str, config_path: str) -> int:
    """Write the identity file. Doing it again changes nothing. Raises Failure for a directory that is not free."""
    path = os.path.abspath(path)
    name = os.path.basename(path)
    config = load_config(config_path)
    try:
        identity = init_device(path, cluster_fingerprint(config).hex(), name, SystemRng())
    except DeviceRefused as error:
        raise Failure(str(error)) from error
    print(f"{path} is device {identity.device} of cluster {config.cluster.name} (id {identity.id})")
    return 0
