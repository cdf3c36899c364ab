"""`objstore locate`: the path of a user, an account, a container or an object to partition, devices and files."""

import asyncio
from dataclasses import dataclass
from itertools import islice

from objstore.app.commands.client import Cluster, on_cluster
from objstore.app.failure import Failure
from objstore.app.rings import ring_name
from objstore.formats.messages import Address, Kind, NodeReport, ObjectFiles, StatObject, StatTable, TableInfo, Target
from objstore.model.timestamps import to_swift
from ring.device import Device
from ring.hashing import hash_path, partition_of
from ring.ring import Ring

HANDOFFS_SHOWN_MAX = 16
HELP = "ACCOUNT, ACCOUNT/CONTAINER or ACCOUNT/CONTAINER/OBJECT, as in a URL behind /v1/"


@dataclass(frozen=True, slots=True)
class Place:
    """What to look for, and where."""

    name: str
    kind: str
    ring: Ring
    ring_name: str
    policy: int
    hash: bytes

    @property
    def partition(self) -> int:
        return partition_of(self.hash, self.ring.part_shift)


def run(path: str, config: str | None, data: str | None) -> int:
    """Print it. Exit code 1 when no device holds anything."""
    parts = path.removeprefix("/").removeprefix("v1/").split("/", 2)
    if not all(parts) or not _is_utf8(path):
        raise Failure(f"{path!r} is no path; give {HELP}")
    lines, found = on_cluster(config, data, lambda cluster: describe(cluster, parts))
    print("\n".join(lines))
    if not found:
        raise Failure(f"no device that answers holds anything of /{'/'.join(parts)}")
    return 0


def _is_utf8(path: str) -> bool:
    """Bytes of the command line that are no UTF-8 arrive as lone surrogates."""
    return not any("\ud800" <= letter <= "\udfff" for letter in path)


async def describe(cluster: Cluster, parts: list[str]) -> tuple[list[str], bool]:
    """The lines to print, and whether any device holds something."""
    place = await _place(cluster, parts)
    reports = await cluster.reports()
    lines = [
        f"{place.kind:<10}{place.name}",
        f"{'hash':<10}{place.hash.hex()}",
        f"{'partition':<10}{place.partition} of {place.ring.partition_count}",
        f"{'ring':<10}{place.ring_name}",
    ]
    primaries = list(place.ring.primaries(place.partition))
    handoffs = list(islice(place.ring.handoffs(place.partition), HANDOFFS_SHOWN_MAX))
    held = await asyncio.gather(*(_held(cluster, place, device, reports) for device in [*primaries, *handoffs]))
    found = False
    for number, (device, (holds, files, some)) in enumerate(zip([*primaries, *handoffs], held, strict=True)):
        role = f"primary {number + 1}" if number < len(primaries) else f"handoff {number - len(primaries) + 1}"
        report = reports.get(Address(device.ip, device.port))
        node = report.node if isinstance(report, NodeReport) else "?"
        lines += [
            "",
            f"{role:<12}{node}/{device.device} at {device.ip}:{device.port}: {holds}",
            *(f"{'':<12}{file}" for file in files),
        ]
        found = found or some
    return lines, found


async def _place(cluster: Cluster, parts: list[str]) -> Place:
    rings, settings = cluster.rings, cluster.config.cluster
    prefix, suffix = settings.hash_prefix.encode(), settings.hash_suffix.encode()
    name = "/" + "/".join(parts)
    hash_ = hash_path(prefix, suffix, *parts)
    if len(parts) == 1:
        return Place(name, "account", rings.account, "account", 0, hash_)
    container = Place(
        f"/{parts[0]}/{parts[1]}", "container", rings.container, "container", 0, hash_path(prefix, suffix, *parts[:2])
    )
    if len(parts) == 2:
        return container
    policy = await _policy(cluster, container)
    if policy not in rings.objects:
        raise Failure(f"{container.name} has storage policy {policy}, which this configuration does not know")
    return Place(name, "object", rings.objects[policy], ring_name(policy), policy, hash_)


async def _policy(cluster: Cluster, container: Place) -> int:
    """The policy of the container, from the first replica that knows it; 0 when none does."""
    for device in container.ring.primaries(container.partition):
        answer = await cluster.try_ask(Address(device.ip, device.port), _stat_table(container, device, "container"), TableInfo)
        if isinstance(answer, TableInfo) and answer.settings is not None:
            return answer.settings.policy
    return 0


def _stat_table(place: Place, device: Device, kind: Kind) -> StatTable:
    return StatTable(kind, Target(device.device, place.partition), place.hash, place.name)


async def _held(
    cluster: Cluster, place: Place, device: Device, reports: dict[Address, NodeReport | str]
) -> tuple[str, list[str], bool]:
    """What one device holds in words, its files, and whether it holds anything."""
    address = Address(device.ip, device.port)
    root = _root(reports.get(address), device.device)
    if place.kind == "object":
        target = Target(device.device, place.partition, place.policy)
        files = await cluster.try_ask(address, StatObject(target, place.hash, place.name), ObjectFiles)
        if isinstance(files, str):
            return files, [], False
        return _object_words(files), [f"{root}/{file}" for file in files.files], bool(files.files)
    kind: Kind = "account" if place.kind == "account" else "container"
    info = await cluster.try_ask(address, _stat_table(place, device, kind), TableInfo)
    if isinstance(info, str):
        return info, [], False
    if info.settings is None:
        return "nothing", [], False
    file = f"{root}/{kind}s/{place.partition}/{place.hash.hex()}.db"
    return _table_words(info, kind), [file], True


def _root(report: NodeReport | str | None, device: str) -> str:
    """The device's directory, where its node says so."""
    if isinstance(report, NodeReport):
        for one in report.devices:
            if one.device == device and one.path:
                return one.path
    return device


def _object_words(found: ObjectFiles) -> str:
    version = found.version
    if version is None:
        return "nothing"
    if version.deleted:
        return f"deleted at {to_swift(version.timestamp)}"
    return f"version {to_swift(version.timestamp)}, {version.size} bytes, md5 {version.etag}"


def _table_words(info: TableInfo, kind: Kind) -> str:
    settings, stats = info.settings, info.stats
    assert settings is not None
    if not settings.exists:
        return f"deleted at {to_swift(settings.delete_timestamp)}" if settings.delete_timestamp else "rows only, not created yet"
    containers = f"{stats.container_count} containers, " if kind == "account" else f"policy {settings.policy}, "
    return f"made {to_swift(settings.put_timestamp)}, {containers}{stats.object_count} objects, {stats.bytes_used} bytes"
