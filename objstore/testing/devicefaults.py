"""Faults of disks: full, failing, slow, gone, back again, replaced."""

import os
import shutil

import msgspec

from objstore.app.clusterfiles import make_device
from objstore.testing.failures import ClusterError
from objstore.testing.faultyfs import ANY, Rule, Script, load_scripts, save_scripts
from objstore.testing.layout import Member
from objstore.testing.life import Life

FREE_BYTES = 1 << 20
"""Well inside the space that a device keeps in reserve."""


class DeviceFaults:
    """Part of Cluster."""

    _life: Life

    async def fill_disk(self, node: str, device: str, free_bytes: int = FREE_BYTES) -> None:
        """As if so much space were left: objects are refused, deletions use what is left. 0 refuses everything."""
        script = self._script(node, device)
        self._save(node, device, msgspec.structs.replace(script, free_bytes=free_bytes))

    async def free_disk(self, node: str, device: str) -> None:
        """There is space again."""
        script = self._script(node, device)
        self._save(node, device, msgspec.structs.replace(script, free_bytes=None))

    async def fail_disk(
        self,
        node: str,
        device: str,
        operation: str = ANY,
        *,
        error: str = "EIO",
        path: str = ANY,
        nth: int = 0,
        lasting: bool = False,
    ) -> None:
        """Calls of `operation` (see `faultyfs.OPERATIONS`; "*": all) on paths that match fail with this error, until `heal_disk`:
        every one of them, only the `nth` from now, or with `lasting` that one and all later ones.
        """
        self._add(node, device, _rule(operation, path, error, 0.0, nth, lasting=lasting))

    async def slow_disk(self, node: str, device: str, seconds: float, operation: str = "sync", *, path: str = ANY) -> None:
        """Calls of `operation` take so much longer, until `heal_disk`."""
        self._add(node, device, _rule(operation, path, "", seconds, 0, lasting=False))

    async def heal_disk(self, node: str, device: str) -> None:
        """Neither full nor failing nor slow any more. A device that gave up writing stays so until its node is restarted."""
        self._save(node, device, Script())

    async def heal_disks(self) -> None:
        """The same for every disk of every node; those that are removed are returned."""
        for process in self._life.processes.values():
            member = process.member
            if self._life.layout.shape.disk_faults and member.kind == "storage":
                save_scripts(member.faults_file, {})
            for device in _removed(member):
                await self.return_disk(member.name, device)

    async def remove_disk(self, node: str, device: str) -> None:
        """Unmount it under the running process: where it was is an empty directory. The node notices within a second or two."""
        here, away = self._places(node, device)
        if device in _removed(self._life.process(node).member):
            raise ClusterError(f"{node}/{device} is removed already")
        os.makedirs(os.path.dirname(away), exist_ok=True)
        os.rename(here, away)
        os.mkdir(here)

    async def return_disk(self, node: str, device: str) -> None:
        """Mount it again with all that was on it. Raises ClusterError when something was written where it was missing."""
        here, away = self._places(node, device)
        if device not in _removed(self._life.process(node).member):
            raise ClusterError(f"{node}/{device} is not removed")
        if found := os.listdir(here):
            raise ClusterError(f"{node} wrote to the empty mount point {here}: {', '.join(sorted(found))}")
        os.rmdir(here)
        os.rename(away, here)

    async def replace_disk(self, node: str, device: str) -> None:
        """A new, empty device in its place; what was on the old one is lost."""
        if device not in _removed(self._life.process(node).member):
            await self.remove_disk(node, device)
        _, away = self._places(node, device)
        shutil.rmtree(away)
        make_device(self._life.config(node), device)

    # --- inside ------------------------------------------------------------------------------------------------

    def _member(self, node: str, device: str) -> Member:
        member = self._life.process(node).member
        if member.kind != "storage":
            raise ClusterError(f"{node} has no devices")
        there = sorted(os.listdir(member.devices_root))
        if device not in there:
            raise ClusterError(f"{node} has no device {device}; it has: {', '.join(there)}")
        return member

    def _places(self, node: str, device: str) -> tuple[str, str]:
        member = self._member(node, device)
        return os.path.join(member.devices_root, device), os.path.join(member.home, "removed", device)

    def _script(self, node: str, device: str) -> Script:
        return self._scripts(self._member(node, device)).get(device, Script())

    def _scripts(self, member: Member) -> dict[str, Script]:
        if not self._life.layout.shape.disk_faults:
            raise ClusterError("disks do not fail on request: the cluster was made with disk_faults=False")
        try:
            return load_scripts(member.faults_file)
        except FileNotFoundError:
            return {}

    def _add(self, node: str, device: str, rule: Rule) -> None:
        script = self._script(node, device)
        self._save(node, device, msgspec.structs.replace(script, rules=(*script.rules, rule)))

    def _save(self, node: str, device: str, script: Script) -> None:
        member = self._member(node, device)
        save_scripts(member.faults_file, {**self._scripts(member), device: script})


def _removed(member: Member) -> list[str]:
    """Its devices that are removed now."""
    try:
        return sorted(os.listdir(os.path.join(member.home, "removed")))
    except FileNotFoundError:
        return []


def _rule(operation: str, path: str, error: str, delay_s: float, nth: int, *, lasting: bool) -> Rule:
    try:
        return Rule(operation, path, error, delay_s, nth, lasting)
    except ValueError as problem:
        raise ClusterError(str(problem)) from None
