"""The command `objstore`. Exit codes: 0 done, 1 failed with a plain line that says what to do, 2 wrong usage.

Each command imports what it needs when it runs, so that `objstore dev` starts its processes at once.
"""

import sys
from collections.abc import Callable
from typing import Any

import click

from objstore.app.configfile import ConfigError
from objstore.app.failure import Failure
from objstore.app.version import VERSION

CONFIG_HELP = "The node's configuration file."
DATA_HELP = "The data directory of a development cluster."
EXIT_FAILED = 1
EXIT_USAGE = 2


def main() -> None:
    """Entry point of the installed command and of bin/objstore."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command; returns its exit code."""
    try:
        code = cli.main(arguments, prog_name="objstore", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return EXIT_USAGE
    except click.UsageError as error:
        asked = error.ctx.command_path if error.ctx is not None else "objstore"
        print(f"objstore: {error.format_message()} (try: {asked} --help)", file=sys.stderr)
        return EXIT_USAGE
    except click.ClickException as error:
        error.show()
        return EXIT_FAILED
    except click.Abort:
        return EXIT_FAILED
    except ConfigError as error:
        return _fail(error.problems)
    except Failure as error:
        return _fail(error.lines)
    except BrokenPipeError:
        return EXIT_FAILED
    except OSError as error:
        return _fail([f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error)])
    return code if isinstance(code, int) else 0


def _fail(lines: Any) -> int:
    for line in lines:
        print(f"objstore: {line}", file=sys.stderr)
    return EXIT_FAILED


def cluster_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--config and --data: which cluster an operator command speaks to."""
    command = click.option("--data", type=click.Path(file_okay=False), help=DATA_HELP)(command)
    return click.option("--config", type=click.Path(dir_okay=False), help=CONFIG_HELP)(command)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, message="objstore %(version)s", help="Show the version and exit.")
def cli() -> None:
    """A Swift-style distributed object store."""


@cli.command()
@click.option("--data", default="data", show_default=True, type=click.Path(file_okay=False), help="Where everything is kept.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(1, 65535), help="The public port, on 127.0.0.1.")
@click.option("--nodes", type=click.IntRange(1, 64), help="Storage nodes, a process and a zone each.  [default: 4]")
@click.option("--workers", type=click.IntRange(1, 64), help="Proxy workers.  [default: one per two CPU cores]")
@click.option("--fresh", is_flag=True, help="Begin with an empty store: what is in the data directory is deleted.")
def dev(data: str, port: int, nodes: int | None, workers: int | None, fresh: bool) -> int:
    """Run a development cluster on this machine until Ctrl-C."""
    from objstore.app import dev as implementation

    return implementation.run(data, port, nodes, workers, fresh)


@cli.command()
@click.option("--config", required=True, type=click.Path(dir_okay=False), help=CONFIG_HELP)
def serve(config: str) -> int:
    """Run one node of a deployment."""
    from objstore.app import serve as implementation

    return implementation.run(config)


@cli.command()
@click.argument("name")
@click.option("--once", is_flag=True, help="One pass, then end. Needed: passes repeat by themselves in a running node.")
@cluster_options
def daemon(name: str, once: bool, config: str | None, data: str | None) -> int:
    """Run one pass of the background job NAME on this node's devices and print its figures."""
    from objstore.app.commands import daemon as implementation

    if not once:
        raise click.UsageError("a running node repeats its jobs by itself; say --once for one pass now")
    return implementation.run(name, config, data)


@cli.group()
def device() -> None:
    """Prepare devices."""


@device.command("init")
@click.argument("path", type=click.Path(file_okay=False))
@click.option("--config", required=True, type=click.Path(dir_okay=False), help="Any configuration file of the cluster.")
def device_init(path: str, config: str) -> int:
    """Make the directory PATH (a mounted disk) a device of the cluster; its last part is the device's name in the rings."""
    from objstore.app.commands import device as implementation

    return implementation.initialise(path, config)


@cli.group()
def secret() -> None:
    """The secret that the nodes of a cluster share."""


@secret.command("new")
@click.argument("path", required=False, type=click.Path(dir_okay=False))
def secret_new(path: str | None) -> int:
    """Make a cluster secret and write it to PATH (readable by its owner alone), or print it."""
    from objstore.app.commands import secret as implementation

    return implementation.new(path)


@cli.command()
@click.option("--plain", is_flag=True, help="One line of key=value pairs per device, sizes in bytes: for programs.")
@click.option("--daemons", is_flag=True, help="The background jobs instead: what each does, and what its last pass found.")
@cluster_options
def status(plain: bool, daemons: bool, config: str | None, data: str | None) -> int:
    """Show every node of the rings, its devices and what is pending on them."""
    from objstore.app.commands import status as implementation

    if daemons:
        return implementation.run_daemons(config, data)
    return implementation.run(config, data, plain)


@cli.command()
@click.argument("path")
@cluster_options
def locate(path: str, config: str | None, data: str | None) -> int:
    """Show where PATH (ACCOUNT, ACCOUNT/CONTAINER or ACCOUNT/CONTAINER/OBJECT) lies and what each device holds of it."""
    from objstore.app.commands import locate as implementation

    return implementation.run(path, config, data)


@cli.group()
def quarantine() -> None:
    """Files that were set aside because they failed verification."""


@quarantine.command("list")
@click.argument("device", required=False)
@cluster_options
def quarantine_list(device: str | None, config: str | None, data: str | None) -> int:
    """List what is in quarantine, on DEVICE (node/device) or everywhere."""
    from objstore.app.commands import quarantine as implementation

    return implementation.show(device, config, data)


@quarantine.command("restore")
@click.argument("device")
@click.argument("entry")
@cluster_options
def quarantine_restore(device: str, entry: str, config: str | None, data: str | None) -> int:
    """Put the quarantined ENTRY of DEVICE (node/device) back where it was, if it verifies now."""
    from objstore.app.commands import quarantine as implementation

    return implementation.restore(device, entry, config, data)


@cli.command()
def version() -> None:
    """Print the version."""
    print(f"objstore {VERSION}")
