"""The ring builder's commands on devices: add, remove, set_*, search, list_parts.

Each takes a function that loads the builder, so that wrong arguments are told first. Those that change it return it; the caller
stores it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ring import report
from ring.builder import BuilderError, DeviceChange, RingBuilder
from ring.device import Device
from ring.options import CommandParser, UsageError, confirmed, described_change, described_device, found, searches
from ring.searchvalue import DeviceSearch, ValueFormError, parse_change, parse_new_device, parse_search, parse_weight

Load = Callable[[], RingBuilder]

UNCHANGED = "The on-disk ring builder is unchanged."
PLACE = "[r<region>]z<zone>-<ip>:<port>[R<r_ip>:<r_port>]/<device>_<meta>"
SEARCH_USAGE = "<search-value> | --region <region> --zone <zone> --ip <ip> --port <port> --device <device> ..."


def add(load: Load, arguments: Sequence[str]) -> RingBuilder:
    """Add devices. Raises UsageError, BuilderError, DeviceError."""
    parser = CommandParser(
        "add",
        f"{PLACE} <weight> [...] | --region <region> --zone <zone> --ip <ip> --port <port> --device <device> --weight <weight>",
        "Adds devices. They get partitions at the next rebalance.",
    )
    parser.add_device_options()
    parser.add_argument("values", nargs="*", help=f"pairs of {PLACE} and weight")
    parsed = parser.parse(arguments)
    fields = described_device(parsed)
    if bool(fields) == bool(parsed.values) or len(parsed.values) % 2:
        parser.error("pairs of a device and a weight are needed, or options that describe one device")
    if fields:
        missing = [name for name in ("region", "zone", "ip", "port", "device", "weight") if name not in fields]
        if missing:
            raise UsageError(f"Required argument --{missing[0]} not specified. {UNCHANGED}")
        if "id" in fields:
            raise UsageError(f"a new device gets its id from the ring builder. {UNCHANGED}")
        changes = [DeviceChange(**fields)]  # type: ignore[typeddict-item]
    else:
        try:
            changes = [parse_new_device(*pair) for pair in _pairs(parsed.values)]
        except ValueFormError as error:
            raise UsageError(f"{error}. {UNCHANGED}") from error
    builder = load()
    devices = [builder.add_device(**change) for change in changes]
    for change, device in zip(changes, devices, strict=True):
        if "region" not in change:
            print(f"WARNING: No region specified for {device}. Defaulting to region 1.")
        print(f"Device {device} with {device.weight} weight got id {device.id}")
    return builder


def remove(load: Load, arguments: Sequence[str]) -> RingBuilder:
    """Mark devices for removal. Raises UsageError, BuilderError."""
    parser = CommandParser(
        "remove",
        f"{SEARCH_USAGE} [--yes]",
        "Marks devices for removal at the next rebalance, which then moves all that they hold. This is for devices that have "
        "failed; to take a working device out of use, set its weight to 0, rebalance until it is empty, then remove it.",
    )
    parser.add_device_options()
    parser.add_argument("values", nargs="*")
    parsed = parser.parse(arguments)
    wanted = searches(parsed, parsed.values)
    builder = load()
    devices = _matches(builder, wanted)
    if not confirmed(devices, "remove", parsed.yes):
        raise UsageError("Aborting device removals")
    for device in devices:
        print(f"{builder.remove_device(device.id)} marked for removal and will be removed next rebalance.")
    return builder


def set_weight(load: Load, arguments: Sequence[str]) -> RingBuilder:
    """Raises UsageError, BuilderError."""
    return _set_one(load, arguments, "weight", lambda text: DeviceChange(weight=parse_weight(text)))


def set_region(load: Load, arguments: Sequence[str]) -> RingBuilder:
    """Raises UsageError, BuilderError, DeviceError."""
    return _set_one(load, arguments, "region", lambda text: DeviceChange(region=_number(text)))


def set_zone(load: Load, arguments: Sequence[str]) -> RingBuilder:
    """Raises UsageError, BuilderError, DeviceError."""
    return _set_one(load, arguments, "zone", lambda text: DeviceChange(zone=_number(text)))


def set_info(load: Load, arguments: Sequence[str]) -> RingBuilder:
    """Change addresses, names or meta data. Raises UsageError, BuilderError, DeviceError."""
    parser = CommandParser(
        "set_info",
        "<search-value> <ip>:<port>[R<r_ip>:<r_port>]/<device>_<meta> [...] | --ip <ip> ... --change-ip <ip> ... [--yes]",
        "Changes what devices are called and where they are reached; any part of the new value may be left out. Nothing moves: "
        "write_ring afterwards is enough.",
    )
    parser.add_device_options()
    parser.add_change_options()
    parser.add_argument("values", nargs="*")
    parsed = parser.parse(arguments)
    change = described_change(parsed)
    if change:
        plans = [(search, change) for search in searches(parsed, parsed.values)]
    elif parsed.values and len(parsed.values) % 2 == 0:
        plans = _plans(parsed.values, parse_change)
    else:
        parser.error("pairs of a search value and a new value are needed, or --change-... options")
    builder = load()
    for device, new in _apply(builder, plans, "update the info for", parsed.yes):
        print(f"Device {device} is now {new}")
    return builder


def search(load: Load, arguments: Sequence[str]) -> None:
    """Show the devices that match. Raises UsageError."""
    parser = CommandParser("search", SEARCH_USAGE, "Shows the devices that match.")
    parser.add_device_options()
    parser.add_argument("values", nargs="*")
    parsed = parser.parse(arguments)
    if len(parsed.values) > 1:
        parser.error("one search value at a time")
    wanted = searches(parsed, parsed.values)
    builder = load()
    devices = found(builder, wanted)
    if not devices:
        raise UsageError("No matching devices found")
    _print_lines(report.search_table(builder, devices))


def list_parts(load: Load, arguments: Sequence[str]) -> None:
    """Show the partitions on the devices that match. Raises UsageError, BuilderError."""
    parser = CommandParser("list_parts", SEARCH_USAGE, "Lists the partitions with replicas on any of the devices, and how many.")
    parser.add_device_options()
    parser.add_argument("values", nargs="*")
    parsed = parser.parse(arguments)
    wanted = searches(parsed, parsed.values)
    builder = load()
    devices = found(builder, wanted)
    if not devices:
        raise UsageError("No matching devices found")
    if not builder.rows:
        raise BuilderError("no partition is assigned yet; rebalance first")
    _print_lines(report.partition_lines(builder, {device.id for device in devices}))


def _set_one(load: Load, arguments: Sequence[str], field: str, parse: Callable[[str], DeviceChange]) -> RingBuilder:
    parser = CommandParser(
        f"set_{field}",
        f"<search-value> <new {field}> [...] | --ip <ip> --device <device> ... <new {field}> [--yes]",
        f"Changes the {field} of devices. Partitions move at the next rebalance.",
    )
    parser.add_device_options()
    parser.add_argument("values", nargs="*")
    parsed = parser.parse(arguments)
    fields = described_device(parsed)
    if fields and len(parsed.values) == 1:
        try:
            plans = [(DeviceSearch(fields), parse(parsed.values[0]))]
        except ValueFormError as error:
            raise UsageError(str(error)) from error
    elif not fields and parsed.values and len(parsed.values) % 2 == 0:
        plans = _plans(parsed.values, parse)
    else:
        parser.error(f"pairs of a search value and a new {field} are needed, or options and one new {field}")
    builder = load()
    for device, new in _apply(builder, plans, f"update the {field} for", parsed.yes):
        print(f"{device if field == 'weight' else new} {field} set to {getattr(new, field)}")
    return builder


def _plans(values: Sequence[str], parse: Callable[[str], DeviceChange]) -> list[tuple[DeviceSearch, DeviceChange]]:
    try:
        return [(parse_search(value), parse(new)) for value, new in _pairs(values)]
    except ValueFormError as error:
        raise UsageError(str(error)) from error


def _apply(
    builder: RingBuilder, plans: Iterable[tuple[DeviceSearch, DeviceChange]], question: str, yes: bool
) -> Iterable[tuple[Device, Device]]:
    done = []
    for search_, change in plans:
        devices = _matches(builder, [search_])
        if not confirmed(devices, question, yes):
            raise UsageError("Aborting device modifications")
        done += [(device, builder.change_device(device.id, **change)) for device in devices]
    return done


def _matches(builder: RingBuilder, wanted: Sequence[DeviceSearch]) -> list[Device]:
    for one in wanted:
        if not found(builder, [one]):
            raise UsageError(f"Search value matched 0 devices. {UNCHANGED}")
    return found(builder, wanted)


def _pairs(values: Sequence[str]) -> Iterable[tuple[str, str]]:
    return zip(values[::2], values[1::2], strict=True)


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueFormError(f"Invalid number {text}")
    return int(text)


def _print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        print(line)
