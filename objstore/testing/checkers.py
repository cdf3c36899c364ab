"""Whether what happened is what was promised: pure functions over a history of operations, or over a snapshot of all devices. Each
returns its complaints as plain lines, none when all is well.
"""

from objstore.model.rows import ContainerRow
from objstore.testing.snapshot import Snapshot, Thing


def unsettled(snapshot: Snapshot) -> list[str]:
    """What replication and reporting still have to do: copies that are missing, differ, or are where they should not be; figures
    that an account was not told.
    """
    lines = list(snapshot.stray)
    for thing in snapshot.things.values():
        lines += _copies(thing)
    return lines + _figures(snapshot)


def _copies(thing: Thing) -> list[str]:
    lines = []
    primaries = [copy for copy in thing.copies if copy.primary is not None]
    if len(primaries) < thing.primaries:
        where = ", ".join(map(str, primaries)) or "none of them"
        lines.append(f"{thing}: {len(primaries)} of {thing.primaries} primaries hold it: {where}")
    if len({copy.content for copy in primaries}) > 1:
        lines.append(f"{thing}: its copies differ: {', '.join(f'{copy} {copy.content[:8]}' for copy in primaries)}")
    lines += [f"{thing}: {copy} is a handoff" for copy in thing.copies if copy.primary is None]
    lines += [f"{thing}: {copy} holds {copy.surplus} files that do not count" for copy in thing.copies if copy.surplus]
    return lines


def _figures(snapshot: Snapshot) -> list[str]:
    """Each account's row of a container says what the container's database says."""
    lines = []
    accounts = snapshot.named("account")
    for name, container in snapshot.named("container").items():
        account, _, short = name[1:].partition("/")
        row = accounts[f"/{account}"].rows.get(short) if f"/{account}" in accounts else None
        exists = any(copy.alive for copy in container.copies)
        if exists != (row is not None):
            lines.append(f"{container}: {'exists' if exists else 'was deleted'}, its account was not told")
        elif isinstance(row, ContainerRow) and (told := (row.object_count, row.bytes_used)) != container.figures:
            lines.append(f"{container}: holds {container.figures} objects and bytes, its account was told {told}")
    return lines
