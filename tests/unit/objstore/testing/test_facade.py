"""The blocking cluster is the cluster, and the plugin costs nothing before it is used."""

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

import objstore.testing
from objstore.testing import BlockingCluster, Cluster

ROOT = Path(__file__).resolve().parents[4]


def public(kind: type) -> dict[str, object]:
    members = {name: member for base in reversed(kind.__mro__[:-1]) for name, member in vars(base).items()}
    return {name: member for name, member in members.items() if not name.startswith("_")}


def signature(function: object) -> list[tuple[str, object, object]]:
    assert callable(function)
    found = inspect.signature(function).parameters.values()
    return [(one.name, one.kind, one.default) for one in found]


def test_the_facade_has_every_method_and_property_of_the_cluster() -> None:
    original, facade = public(Cluster), public(BlockingCluster)
    assert facade.keys() - {"shape"} == original.keys()
    for name, member in original.items():
        if isinstance(member, property):
            assert isinstance(facade[name], property), name
        else:
            assert signature(facade[name]) == signature(member), name
            assert not inspect.iscoroutinefunction(facade[name]), name
    assert signature(BlockingCluster.__init__) == signature(Cluster.__init__)


def test_the_plugin_loads_nothing_of_the_store() -> None:
    code = "import sys, objstore.testing.plugin; print(*sorted(sys.modules))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    ours = {name for name in done.stdout.split() if name.startswith(("objstore", "ring"))}
    assert ours == {"objstore", "objstore.testing", "objstore.testing.plugin"}
    assert not {"aiohttp", "uvloop", "asyncio", "msgspec", "swiftclient"} & set(done.stdout.split())


def test_names_of_the_package() -> None:
    for name in objstore.testing.__all__:
        assert getattr(objstore.testing, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'Clutter'"):
        objstore.testing.Clutter  # noqa: B018 - the access is what is tested
