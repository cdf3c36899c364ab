"""Command-line arguments of the ring builder's commands: options that name devices, and errors that are one plain line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from ring.builder import DeviceChange, RingBuilder
from ring.device import Device
from ring.searchvalue import DeviceSearch, ValueFormError, parse_address, parse_search, parse_weight

EXIT_DONE, EXIT_WARNING, EXIT_ERROR = 0, 1, 2
DEVICE_OPTIONS: tuple[tuple[str, str, Callable[[str], object]], ...] = (
    ("id", "-u", int),
    ("region", "-r", int),
    ("zone", "-z", int),
    ("ip", "-i", parse_address),
    ("port", "-p", int),
    ("replication_ip", "-j", parse_address),
    ("replication_port", "-q", int),
    ("device", "-d", str),
    ("meta", "-m", str),
    ("weight", "-w", parse_weight),
)
CHANGE_OPTIONS: tuple[tuple[str, str, Callable[[str], object]], ...] = (
    ("ip", "-I", parse_address),
    ("port", "-P", int),
    ("replication_ip", "-J", parse_address),
    ("replication_port", "-Q", int),
    ("device", "-D", str),
    ("meta", "-M", str),
)


class UsageError(Exception):
    """Arguments that a command cannot take. The message is one plain line."""


class CommandParser(argparse.ArgumentParser):
    """An argparse parser that raises UsageError instead of ending the process; only --help ends it (SystemExit 0)."""

    def __init__(self, command: str, usage: str, description: str) -> None:
        super().__init__(
            prog=f"ring-builder FILE {command}",
            usage=f"ring-builder FILE {command} {usage}".replace("%", "%%"),
            description=description.replace("%", "%%"),
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; usage: {self.format_usage().removeprefix('usage: ').strip()}")

    def add_device_options(self) -> None:
        """The options that describe a device: --id, --region, --ip ... and their short forms."""
        for name, short, kind in DEVICE_OPTIONS:
            self.add_argument(short, f"--{name.replace('_', '-')}", dest=name, type=_named(kind, name), metavar="VALUE")
        self.add_argument("-y", "--yes", action="store_true", help="do not ask before changing several devices")

    def add_change_options(self) -> None:
        """The options that say what a device becomes: --change-ip ..."""
        for name, short, kind in CHANGE_OPTIONS:
            flag = f"--change-{name.replace('_', '-')}"
            self.add_argument(short, flag, dest=f"change_{name}", type=_named(kind, name), metavar="VALUE")

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Raises UsageError."""
        return self.parse_intermixed_args(arguments)


def described_device(parsed: argparse.Namespace) -> dict[str, object]:
    """The fields given by the options of `add_device_options`."""
    values = vars(parsed)
    return {name: values[name] for name, _, _ in DEVICE_OPTIONS if values[name] is not None}


def described_change(parsed: argparse.Namespace) -> DeviceChange:
    """The fields given by the options of `add_change_options`."""
    values = vars(parsed)
    given = {name: values[f"change_{name}"] for name, _, _ in CHANGE_OPTIONS if values[f"change_{name}"] is not None}
    return DeviceChange(**given)  # type: ignore[typeddict-item,no-any-return]


def searches(parsed: argparse.Namespace, values: Sequence[str]) -> list[DeviceSearch]:
    """What to search for: the options, or else each of the values. Raises UsageError when there is neither, or both."""
    fields = described_device(parsed)
    if fields and values:
        raise UsageError("search by options or by search values, not by both")
    if not fields and not values:
        raise UsageError("a search value is needed, such as d3, z1, 10.0.0.1 or /sda")
    try:
        return [DeviceSearch(fields)] if fields else [parse_search(value) for value in values]
    except ValueFormError as error:
        raise UsageError(str(error)) from error


def found(builder: RingBuilder, wanted: Sequence[DeviceSearch]) -> list[Device]:
    """The devices that any of the searches matches, by id."""
    return [device for device in builder.present_devices() if any(search.matches(device) for search in wanted)]


def confirmed(devices: Sequence[Device], question: str, yes: bool) -> bool:
    """True when there is no need to ask, or the answer on standard input is yes."""
    if len(devices) < 2:
        return True
    print("Matched more than one device:")
    for device in devices:
        print(f"    {device}")
    if yes:
        return True
    print(f"Are you sure you want to {question} these {len(devices)} devices? (y/N) ", end="", flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _named(kind: Callable[[str], object], name: str) -> Callable[[str], object]:
    """The conversion with a name for argparse's error message."""

    def convert(text: str) -> object:
        try:
            return kind(text)
        except ValueFormError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    convert.__name__ = "whole number" if kind is int else name
    return convert
