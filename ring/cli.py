"""The ring builder's command line: `ring-builder FILE COMMAND ...`, with the commands and exit codes of Swift's tool.

0 is done, 1 done with a warning (or a rebalance with nothing to do), 2 an error, told in one line on standard error.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Sequence

from ring import devicecommands, rebalancecommands, report
from ring.builder import BuilderError, RingBuilder
from ring.builderfile import BuilderFileError, Files
from ring.device import DeviceError
from ring.fileformat import RingFileError, locked_directory, read_file, read_ring_file
from ring.options import EXIT_DONE, EXIT_ERROR, EXIT_WARNING, CommandParser, UsageError
from ring.ring import Ring
from ring.swiftbuilder import builder_from_swift

MIN_PART_HOURS_DEFAULT = 24

USAGE = """\
ring-builder FILE                      show the ring and its devices
ring-builder FILE COMMAND [...]        run a command; COMMAND --help explains it

  create <part_power> <replicas> <min_part_hours>
  add [r<region>]z<zone>-<ip>:<port>[R<r_ip>:<r_port>]/<device>_<meta> <weight> [...]
  set_weight, set_region, set_zone <search-value> <new value> [...]
  set_info <search-value> <ip>:<port>[R<r_ip>:<r_port>]/<device>_<meta> [...]
  remove <search-value> [...]
  search <search-value>                list_parts <search-value> [...]
  rebalance [--force] [--seed SEED]    plan [--seed SEED]
  validate                             dispersion [<filter>] [--verbose]
  write_ring                           write_builder [<min_part_hours>]
  import <swift builder file>
  set_replicas <replicas>              set_overload <overload>[%]
  set_min_part_hours <hours>           pretend_min_part_hours_passed
  version

A search value is d<id>r<region>z<zone>-<ip>:<port>R<r_ip>:<r_port>/<device>_<meta>, or any part of it.
Exit codes: 0 = operation successful, 1 = operation completed with warnings, 2 = error
"""


Command = Callable[[Files, Sequence[str]], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Never raises for bad input or bad files; `--help` ends the process."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        print(USAGE, end="")
        return EXIT_DONE
    try:
        return _run(given[0], given[1:])
    except (UsageError, BuilderError, BuilderFileError, DeviceError, RingFileError, TimeoutError) as error:
        print(f"ring-builder: {error}", file=sys.stderr)
    except BrokenPipeError:
        # Whoever reads our output has seen enough; the interpreter must not fail again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        print(f"ring-builder: {error.filename or given[0]}: {error.strerror or error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("ring-builder: interrupted; nothing was changed", file=sys.stderr)
    return EXIT_ERROR


def _run(path: str, rest: Sequence[str]) -> int:
    files = Files.named(path, time.time())
    name, arguments = (rest[0], rest[1:]) if rest else ("default", [])
    if name in READING:
        if files.builder != path and name not in ("version", "write_builder"):
            print(f"Note: using {files.builder} instead of {path} as builder file")
        result = READING[name](files, arguments)
        sys.stdout.flush()
        return result
    if name not in CHANGING:
        raise UsageError(f"Unknown command: {name}; ring-builder --help lists the commands")
    with locked_directory(files.builder):
        return CHANGING[name](files, arguments)


def _no_arguments(command: str, description: str, arguments: Sequence[str]) -> None:
    CommandParser(command, "", description).parse(arguments)


# Commands that only read


def show(files: Files, arguments: Sequence[str]) -> int:
    """The ring and its devices."""
    _no_arguments("default", "Shows the ring and its devices.", arguments)
    builder = files.load()
    for line in report.summary_lines(files.builder, builder, _ring_note(files, builder), files.now_s):
        print(line)
    return EXIT_DONE


def _ring_note(files: Files, builder: RingBuilder) -> str:
    if not os.path.exists(files.ring):
        return f"Ring file {files.ring} not found, probably it hasn't been written yet"
    try:
        ring = Ring.load(files.ring)
    except RingFileError as error:
        return f"Ring file {files.ring} is invalid: {error}"
    same = builder.rows and ring.table.rows == builder.to_ring().table.rows and ring.devices == tuple(builder.devices)
    return f"Ring file {files.ring} is {'up-to-date' if same else 'obsolete'}"


def validate(files: Files, arguments: Sequence[str]) -> int:
    """Check the builder."""
    _no_arguments("validate", "Checks that every partition has its replicas, each on a device of its own.", arguments)
    files.load().check()
    return EXIT_DONE


def dispersion(files: Files, arguments: Sequence[str]) -> int:
    """How well replicas are spread."""
    parser = CommandParser("dispersion", "[<filter>] [--verbose]", "Shows how well replicas are spread over failure domains.")
    parser.add_argument("filter", nargs="?", help="a regular expression; only failure domains whose names it matches are shown")
    parser.add_argument("-v", "--verbose", action="store_true", help="one line per failure domain")
    parser.add_argument("--recalculate", action="store_true", help="accepted for compatibility; it is always calculated")
    parsed = parser.parse(arguments)
    try:
        pattern = re.compile(parsed.filter) if parsed.filter else None
    except re.error as error:
        raise UsageError(f"{parsed.filter!r} is not a regular expression: {error}") from error
    builder = files.load()
    result = report.dispersion(builder)
    for line in report.dispersion_lines(builder, result, pattern, parsed.verbose):
        print(line)
    return EXIT_WARNING if any(domain.crowded_percent for domain in result.domains) else EXIT_DONE


def version(files: Files, arguments: Sequence[str]) -> int:
    """The versions of the ring file."""
    _no_arguments("version", "Shows the versions of the ring file.", arguments)
    table = read_ring_file(files.ring)
    print(f"{files.ring}: Serialization version: {table.format_version} (2-byte IDs), build version: {table.version}")
    return EXIT_DONE


# Commands that write


def create(files: Files, arguments: Sequence[str]) -> int:
    """Make a new builder file."""
    parser = CommandParser("create", "<part_power> <replicas> <min_part_hours>", "Makes a builder for 2^<part_power> partitions.")
    parser.add_argument("part_power", type=int, help="the ring has 2^part_power partitions, for ever")
    parser.add_argument("replicas", type=float, help="replicas of each partition; a fraction is for some partitions only")
    parser.add_argument("min_part_hours", type=int, help="hours in which a partition is moved no more than once")
    parsed = parser.parse(arguments)
    files.save(RingBuilder(parsed.part_power, parsed.replicas, parsed.min_part_hours))
    return EXIT_DONE


def write_ring(files: Files, arguments: Sequence[str]) -> int:
    """Write the ring file again, with what set_info has changed."""
    parser = CommandParser("write_ring", "", "Writes the ring file again; enough after set_info.")
    parser.add_argument("--format-version", type=int, choices=(1,), default=1, help="of the ring file: 1, which every Swift reads")
    parser.parse(arguments)
    files.load().to_ring().save(files.ring, files.now_s)
    return EXIT_DONE


def write_builder(files: Files, arguments: Sequence[str]) -> int:
    """Make a builder from a ring file."""
    parser = CommandParser("write_builder", "[<min_part_hours>]", "Makes a builder file from a ring file, ours or Swift's.")
    parser.add_argument("min_part_hours", type=int, nargs="?", default=MIN_PART_HOURS_DEFAULT)
    parsed = parser.parse(arguments)
    if os.path.exists(files.builder):
        raise UsageError(f"Cowardly refusing to overwrite existing Ring Builder file: {files.builder}")
    files.save(RingBuilder.from_ring(Ring.load(files.ring), parsed.min_part_hours))
    return EXIT_DONE


def import_(files: Files, arguments: Sequence[str]) -> int:
    """Make a builder from a builder file of Swift."""
    parser = CommandParser("import", "<swift builder file>", "Makes a builder file from one of Swift's; nothing in it is executed.")
    parser.add_argument("source")
    source: str = parser.parse(arguments).source
    if os.path.exists(files.builder):
        raise UsageError(f"Cowardly refusing to overwrite existing Ring Builder file: {files.builder}")
    try:
        files.save(builder_from_swift(read_file(source)))
    except ValueError as error:
        raise BuilderFileError(f"{source} is not a usable builder file of Swift: {error}") from error
    return EXIT_DONE


def set_replicas(files: Files, arguments: Sequence[str]) -> int:
    """Change the replica count."""
    parser = CommandParser("set_replicas", "<replicas>", "Changes the replica count; a fraction is for some partitions only.")
    parser.add_argument("replicas", type=float)
    replicas = parser.parse(arguments).replicas
    builder = files.load()
    builder.set_replicas(replicas)
    files.save(builder)
    print(f"The replica count is now {builder.replicas:.6f}.\nThe change will take effect after the next rebalance.")
    return EXIT_DONE


def set_overload(files: Files, arguments: Sequence[str]) -> int:
    """Change the overload factor."""
    parser = CommandParser("set_overload", "<overload>[%]", "Changes how far above its share a device may go for dispersion.")
    parser.add_argument("overload")
    text: str = parser.parse(arguments).overload
    try:
        overload = float(text.removesuffix("%")) / (100.0 if text.endswith("%") else 1.0)
    except ValueError:
        raise UsageError(f"{text!r} is not a valid number.") from None
    builder = files.load()
    builder.set_overload(overload)
    files.save(builder)
    doubtful = overload > 1 and not text.endswith("%")
    if doubtful:
        print("!?! Warning overload is greater than 100% !?!")
    print(f"The overload factor is now {overload:.2%} ({overload:.6f})\nThe change will take effect after the next rebalance.")
    return EXIT_WARNING if doubtful else EXIT_DONE


def set_min_part_hours(files: Files, arguments: Sequence[str]) -> int:
    """Change how long a partition stays after a move."""
    parser = CommandParser("set_min_part_hours", "<hours>", "Changes the hours in which a partition is moved no more than once.")
    parser.add_argument("hours", type=int)
    hours = parser.parse(arguments).hours
    builder = files.load()
    builder.set_min_part_hours(hours)
    files.save(builder)
    print(f"The minimum number of hours before a partition can be reassigned is now set to {builder.min_part_hours}")
    return EXIT_DONE


def pretend_min_part_hours_passed(files: Files, arguments: Sequence[str]) -> int:
    """Let every partition move again."""
    text = "Lets every partition move again at once. Dangerous before replication has caught up with the last rebalance."
    _no_arguments("pretend_min_part_hours_passed", text, arguments)
    builder = files.load()
    builder.pretend_min_part_hours_passed()
    files.save(builder)
    return EXIT_DONE


def _reading(act: Callable[[devicecommands.Load, Sequence[str]], None]) -> Command:
    def run(files: Files, arguments: Sequence[str]) -> int:
        act(files.load, arguments)
        return EXIT_DONE

    return run


def _changing(act: Callable[[devicecommands.Load, Sequence[str]], RingBuilder]) -> Command:
    def run(files: Files, arguments: Sequence[str]) -> int:
        files.save(act(files.load, arguments))
        return EXIT_DONE

    return run


READING: dict[str, Command] = {
    "default": show,
    "search": _reading(devicecommands.search),
    "list_parts": _reading(devicecommands.list_parts),
    "validate": validate,
    "dispersion": dispersion,
    "plan": rebalancecommands.plan,
    "version": version,
}
CHANGING: dict[str, Command] = {
    "create": create,
    "add": _changing(devicecommands.add),
    "remove": _changing(devicecommands.remove),
    "set_weight": _changing(devicecommands.set_weight),
    "set_region": _changing(devicecommands.set_region),
    "set_zone": _changing(devicecommands.set_zone),
    "set_info": _changing(devicecommands.set_info),
    "rebalance": rebalancecommands.rebalance,
    "write_ring": write_ring,
    "write_builder": write_builder,
    "import": import_,
    "set_replicas": set_replicas,
    "set_overload": set_overload,
    "set_min_part_hours": set_min_part_hours,
    "pretend_min_part_hours_passed": pretend_min_part_hours_passed,
}

if __name__ == "__main__":
    sys.exit(main())
