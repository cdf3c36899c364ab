"""Headers of accounts, containers and objects <-> the values of operations. Only what is named here is ever taken from a client."""

from collections.abc import Mapping
from urllib.parse import unquote

from objstore.api.dates import ceil_seconds, http_date, last_modified
from objstore.api.reply import Fields
from objstore.formats.messages import Settings
from objstore.model.errors import InvalidInput
from objstore.model.octets import bytes_of, text_of
from objstore.model.policy import Policies
from objstore.model.timestamps import to_swift
from objstore.model.version import Version
from objstore.proxy.operations import TableView

KEPT_WITH_OBJECTS = ("content-encoding", "content-disposition", "content-language", "cache-control", "expires", "x-robots-tag",
                     "x-object-manifest")  # fmt: skip
_OF_OBJECTS = frozenset({*KEPT_WITH_OBJECTS, "x-delete-at", "x-delete-after"})
DELETE_AT_MAX = 9_999_999_999
_CONTAINER_KEYS = {
    "x-container-read": "acl:read",
    "x-container-write": "acl:write",
    "x-container-sync-key": "sys:sync-key",
    "x-container-sync-to": "sys:sync-to",
}
_ACCOUNT_KEYS = {
    "x-account-access-control": "acl:account",
    "x-account-quota-bytes": "sys:quota-bytes",
    "x-account-quota-count": "sys:quota-count",
}
_ACCOUNT_POLICY_QUOTAS = {
    "x-account-quota-bytes-policy-": "sys:quota-bytes-policy-",
    "x-account-quota-count-policy-": "sys:quota-count-policy-",
}


def title(name: str) -> str:
    """`x-object-meta-a_b` -> `X-Object-Meta-A_B`, as Swift shows names; bytes ≥ 0x80 stay as they are."""
    return name.title() if name.isascii() else text_of(bytes_of(name).title())


# --- what a client sets -----------------------------------------------------------------------------------------


def container_values(headers: Mapping[str, str]) -> dict[str, str]:
    """Settings for put_container and post_container; an empty value removes."""
    return _table_values(headers, "container", _CONTAINER_KEYS, {})


def account_values(headers: Mapping[str, str]) -> dict[str, str]:
    """Settings for put_account and post_account; an empty value removes."""
    return _table_values(headers, "account", _ACCOUNT_KEYS, _ACCOUNT_POLICY_QUOTAS)


def _table_values(headers: Mapping[str, str], kind: str, keys: Mapping[str, str], prefixes: Mapping[str, str]) -> dict[str, str]:
    removal, meta = "x-remove-", f"x-{kind}-meta-"
    removed: dict[str, str] = {}
    values: dict[str, str] = {}
    for name, value in headers.items():
        if not name.startswith("x-"):
            continue
        remove = name.startswith(removal)
        if remove:
            name = "x-" + name[len(removal) :]
        key = "user:" + name[len(meta) :] if name.startswith(meta) else keys.get(name, "")
        if not key:
            key = next((to + name[len(start) :] for start, to in prefixes.items() if name.startswith(start)), "")
        if key:
            (removed if remove else values)[key] = "" if remove else value
    return removed | values


def object_user(headers: Mapping[str, str]) -> dict[str, str]:
    """The user metadata of a PUT, POST or COPY."""
    return {name[14:]: value for name, value in headers.items() if name.startswith("x-object-meta-")}


def object_headers(headers: Mapping[str, str], now: float) -> dict[str, str]:
    """The headers kept with an object, `x-delete-at` among them. Raises InvalidInput."""
    if _OF_OBJECTS.isdisjoint(headers):
        return {}
    kept = {name: headers[name] for name in KEPT_WITH_OBJECTS if headers.get(name)}
    manifest = kept.get("x-object-manifest")
    if manifest is not None:
        _check_manifest(manifest)
    delete_at = _delete_at(headers, now)
    if delete_at:
        kept["x-delete-at"] = delete_at
    return kept


def _check_manifest(value: str) -> None:
    container, slash, prefix = unquote(value).partition("/")
    if not container or not slash or not prefix or prefix.startswith("/") or "?" in value or "&" in value:
        raise InvalidInput("X-Object-Manifest must be in the format container/prefix")


def _delete_at(headers: Mapping[str, str], now: float) -> str:
    after = headers.get("x-delete-after", "")
    if after:
        moment = int(now) + _integer(after, "X-Delete-After")
        field = "X-Delete-After"
    else:
        at = headers.get("x-delete-at", "")
        if not at:
            return ""
        moment, field = _integer(at, "X-Delete-At"), "X-Delete-At"
    if moment <= now:
        raise InvalidInput(f"{field} in past")
    return str(min(moment, DELETE_AT_MAX))


def _integer(text: str, field: str) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()):
        raise InvalidInput(f"Non-integer {field}")
    magnitude = int(digits) if len(digits) < 20 else 10**19
    return -magnitude if text.startswith("-") else magnitude


# --- what a reader sees -----------------------------------------------------------------------------------------


def container_fields(view: TableView, policies: Policies) -> Fields:
    """The headers of a container's HEAD and GET."""
    settings = view.settings
    policy = policies.get(settings.policy)
    fields = [
        ("X-Container-Object-Count", str(view.stats.object_count)),
        ("X-Container-Bytes-Used", str(view.stats.bytes_used)),
        ("X-Timestamp", to_swift(settings.created_timestamp or settings.put_timestamp)),
        ("Last-Modified", http_date(ceil_seconds(_changed(settings)))),
        ("Accept-Ranges", "bytes"),
        ("X-Storage-Policy", policy.name if policy else str(settings.policy)),
    ]
    return fields + _settings_fields(settings, "container", _CONTAINER_KEYS)


def account_fields(view: TableView, policies: Policies) -> Fields:
    """The headers of an account's HEAD and GET."""
    stats, settings = view.stats, view.settings
    fields = [
        ("X-Account-Container-Count", str(stats.container_count)),
        ("X-Account-Object-Count", str(stats.object_count)),
        ("X-Account-Bytes-Used", str(stats.bytes_used)),
        ("X-Timestamp", to_swift(settings.created_timestamp or settings.put_timestamp)),
        ("Accept-Ranges", "bytes"),
    ]
    for index, figures in sorted(stats.policies.items()):
        policy = policies.get(index)
        start = f"X-Account-Storage-Policy-{policy.name if policy else index}"
        fields += zip((f"{start}-Container-Count", f"{start}-Object-Count", f"{start}-Bytes-Used"), map(str, figures), strict=True)
    fields += _settings_fields(settings, "account", _ACCOUNT_KEYS)
    for key, setting in settings.values.items():
        for start, to in _ACCOUNT_POLICY_QUOTAS.items():
            if key.startswith(to) and setting.value:
                fields.append((title(start + key[len(to) :]), setting.value))
    legacy, own = settings.values.get("user:quota-bytes"), settings.values.get("sys:quota-bytes")
    if legacy and legacy.value and not (own and own.value):
        fields.append(("X-Account-Quota-Bytes", legacy.value))
    return fields


def _changed(settings: Settings) -> int:
    return max([settings.put_timestamp, *(setting.timestamp for setting in settings.values.values())])


def _settings_fields(settings: Settings, kind: str, keys: Mapping[str, str]) -> Fields:
    names = {key: title(name) for name, key in keys.items()}
    fields = []
    for key, setting in settings.values.items():
        if not setting.value:
            continue
        if key.startswith("user:"):
            fields.append((title(f"x-{kind}-meta-{key[5:]}"), setting.value))
        elif key in names:
            fields.append((names[key], setting.value))
    return fields


def version_fields(version: Version) -> Fields:
    """What every answer about a version tells: its times, kept headers and user metadata."""
    changed = max(version.timestamp, version.meta_timestamp)
    fields = [("Last-Modified", last_modified(changed)), ("X-Timestamp", to_swift(changed))]
    if version.headers:
        fields += [(title(name), value) for name, value in version.headers.items()]
    return fields + user_fields(version)


def user_fields(version: Version) -> Fields:
    """The user metadata of an object."""
    return [(title("x-object-meta-" + name), value) for name, value in version.user.items()]


def shown_etag(etag: str, manifest: str) -> str:
    """The Etag field: Swift quotes those of large objects only."""
    return f'"{etag}"' if manifest else etag
