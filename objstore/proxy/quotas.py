"""Quotas of containers and accounts (Swift's "Container quotas" and "Account quotas" pages), exact at the moment of the check.

Concurrent uploads may each see the room of the others: an account or container can exceed its quota by what is under way.
"""

from collections.abc import Mapping

from objstore.model.errors import InvalidInput, TooLarge
from objstore.model.policy import Policies
from objstore.placement.places import Placement
from objstore.proxy.infocache import Info, InfoCache
from objstore.proxy.operations import Context

CONTAINER_BYTES, CONTAINER_COUNT = "user:quota-bytes", "user:quota-count"
ACCOUNT_BYTES, ACCOUNT_COUNT = "sys:quota-bytes", "sys:quota-count"
LEGACY_ACCOUNT_BYTES = "user:quota-bytes"

_ROOM_MAX = 1 << 62


def is_account_quota(key: str) -> bool:
    """Whether an account's setting is a quota, which only a reseller may change."""
    return key == LEGACY_ACCOUNT_BYTES or key.startswith((ACCOUNT_BYTES, ACCOUNT_COUNT))


def check_container_values(values: Mapping[str, str]) -> None:
    """Raises InvalidInput for a quota that is no number."""
    if (text := values.get(CONTAINER_BYTES, "")) and _number(text) is None:
        raise InvalidInput("Invalid bytes quota.")
    if (text := values.get(CONTAINER_COUNT, "")) and _number(text) is None:
        raise InvalidInput("Invalid count quota.")


def check_account_values(values: Mapping[str, str]) -> None:
    """Raises InvalidInput for a quota that is no number."""
    for key, text in values.items():
        if is_account_quota(key) and text and _number(text) is None:
            raise InvalidInput("Invalid account quota.")


class Quotas:
    """Says how much may still be stored."""

    def __init__(self, cache: InfoCache, placement: Placement, policies: Policies) -> None:
        self._cache = cache
        self._placement = placement
        self._policies = policies

    async def check(self, ctx: Context, account: str, container: str, info: Info, size: int | None) -> int | None:
        """Raises TooLarge when an object of `size` bytes (None: unknown) does not fit. Returns the bytes there is room for,
        None when nothing limits them. A reseller's requests do not count against the account's quotas.
        """
        room = _ROOM_MAX
        if info.settings.values and (info.value(CONTAINER_BYTES) or info.value(CONTAINER_COUNT)):
            fresh = await self._cache.fresh(self._placement.container(account, container))
            room = min(room, _room(info.value(CONTAINER_BYTES), fresh.stats.bytes_used))
            _take_one(info.value(CONTAINER_COUNT), fresh.stats.object_count)
        if not ctx.identity.reseller:
            room = min(room, await self._account_room(account, info.settings.policy))
        if (size or 0) > room:
            raise TooLarge("Upload exceeds quota.")
        return room if room < _ROOM_MAX else None

    async def _account_room(self, account: str, policy: int) -> int:
        place = self._placement.account(account)
        info = self._cache.known(place) or await self._cache.get(place)
        if not info.settings.values:
            return _ROOM_MAX
        limits = {key: info.value(key) for key in info.settings.values if is_account_quota(key)}
        if not any(limits.values()):
            return _ROOM_MAX
        stats = (await self._cache.fresh(place)).stats
        room = _room(limits.get(ACCOUNT_BYTES) or limits.get(LEGACY_ACCOUNT_BYTES, ""), stats.bytes_used)
        _take_one(limits.get(ACCOUNT_COUNT, ""), stats.object_count)
        chosen = self._policies.get(policy)
        if chosen is not None:
            name = chosen.name.lower()
            _, objects, stored = stats.policies.get(policy, (0, 0, 0))
            room = min(room, _room(limits.get(f"{ACCOUNT_BYTES}-policy-{name}", ""), stored))
            _take_one(limits.get(f"{ACCOUNT_COUNT}-policy-{name}", ""), objects)
        return room


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def _room(limit: str, used: int) -> int:
    number = _number(limit)
    return _ROOM_MAX if number is None else number - used


def _take_one(limit: str, used: int) -> None:
    number = _number(limit)
    if number is not None and used + 1 > number:
        raise TooLarge("Upload exceeds quota.")
