"""What was removed or moved does not come back from the journal after a crash."""

import shutil
from pathlib import Path

import pytest

from objstore.model.errors import Code, NodeError
from objstore.object.files import Files
from objstore.object.removal import Removal
from objstore.runtime.crashpoints import NoCrashPoints
from objstore.runtime.knobs import Knobs
from tests.unit.objstore.object.rig import HASH, Node, Rig, at


@pytest.fixture
async def unsettled(rig: Rig) -> Node:
    """A node whose journal is settled only when somebody asks for it."""
    node = await rig.node()
    node.disk._knobs = Knobs(settle_s=600)
    await node.put(b"first", 0.5)  # the thread that settles takes its time from here on
    await node.drained()
    return node


async def after_a_crash(rig: Rig, node: Node, root: Path) -> Node:
    shutil.copytree(node.root, root / "crashed")  # copies attributes too
    return await rig.node("crashed")


async def test_a_removed_object_stays_away(rig: Rig, unsettled: Node, tmp_path: Path) -> None:
    """Its older, small version was in the journal, the last, large one was not."""
    node = unsettled
    await node.put(b"small", 1)
    await node.put_large(bytes(200_000), 2)
    await node.drained()
    removed = await Removal(NoCrashPoints()).remove(node.device, 0, 12, {HASH: Files(at(2))}, 0)
    assert removed == 1
    again = await after_a_crash(rig, node, tmp_path)
    assert again.files() == []


async def test_a_quarantined_file_stays_there(rig: Rig, unsettled: Node, tmp_path: Path) -> None:
    node = unsettled
    await node.put(b"body", 1)
    await node.drained()
    node.data_file().write_bytes(b"rot!")
    with pytest.raises(NodeError):
        await node.get()
    again = await after_a_crash(rig, node, tmp_path)
    assert again.files() == []
    with pytest.raises(NodeError) as refusal:
        await again.get()
    assert refusal.value.code is Code.CORRUPT
