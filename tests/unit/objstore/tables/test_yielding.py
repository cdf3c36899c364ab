"""Background jobs on databases wait for clients."""

import asyncio
from pathlib import Path

import pytest

from tests.unit.objstore.tables.rig import put
from tests.unit.objstore.tables.syncrig import sync_rig


@pytest.mark.parametrize("job", ["replicator", "auditor"])
async def test_each_database_waits_its_turn(tmp_path: Path, job: str) -> None:
    names = [f"/acc/c{number}" for number in range(3)]
    async with sync_rig(tmp_path) as rig:
        for node in rig.nodes:
            for name in names:
                await node.merge(put("a", 1), name=name)
        upkeep = rig.nodes[0].container.upkeep
        assert upkeep is not None
        worker = upkeep.replicator if job == "replicator" else upkeep.auditor
        one_pass = asyncio.create_task(worker.run_once())
        for _ in names:
            worker._yielding.served += 1
            async with asyncio.timeout(10):
                await rig.clock.slept.wait()
            assert not one_pass.done()
            rig.clock.slept.clear()
            worker._yielding.served += 1
            await rig.clock.pass_time(1)
        assert (await one_pass)["databases"] == len(names)
