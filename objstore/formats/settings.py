"""How two replicas' settings of one account or container merge: register by register, the newest wins.

Merging is commutative, associative and idempotent. A deletion voids every register that is not newer, so that what is created
again starts empty. Policy and creation time belong together: they are those of the earliest creation known after the latest
deletion that any creation followed, so a replica that missed a creation cannot change an existing container's policy.
"""

import msgspec

from objstore.formats.messages import Setting, Settings


def merge_settings(a: Settings, b: Settings) -> Settings:
    """What both replicas must hold once they know `a` and `b` of one name. Returns `a` itself when `b` adds nothing.

    Raises ValueError for two names.
    """
    if a.name != b.name:
        raise ValueError(f"settings of {a.name!r} and {b.name!r}")
    deleted = max(a.delete_timestamp, b.delete_timestamp)
    values = dict(a.values)
    for key, setting in b.values.items():
        known = values.get(key)
        if known is None or (setting.timestamp, setting.value) > (known.timestamp, known.value):
            values[key] = setting
    created = max(a, b, key=_creation)
    merged = Settings(
        a.name,
        max(a.put_timestamp, b.put_timestamp),
        deleted,
        created.policy,
        created.created_timestamp,
        without_voided(values, deleted),
        created.base_timestamp,
    )
    return a if merged == a else merged


def revived(settings: Settings) -> Settings:
    """Those of a deleted container that exists again because objects are in it.

    It is the creation before the deletion that goes on, with its policy, so whoever revives it says the same, and any creation
    that came after the deletion wins over it. What was set before is void all the same.
    """
    return msgspec.structs.replace(settings, put_timestamp=settings.delete_timestamp + 1)


def without_voided(values: dict[str, Setting], delete_timestamp: int) -> dict[str, Setting]:
    """The registers that a deletion at `delete_timestamp` leaves."""
    return {key: setting for key, setting in values.items() if setting.timestamp > delete_timestamp}


def _creation(settings: Settings) -> tuple[bool, int, int, int]:
    """Orders what two replicas say of the creation; the greater is kept."""
    return (settings.created_timestamp > 0, settings.base_timestamp, -settings.created_timestamp, settings.policy)
