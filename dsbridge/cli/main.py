"""``dsbridge COMMAND ...``: exit code 0 when all is fine, 1 with findings, 2 for a command line that makes no sense."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import dsbridge
from dsbridge.errors import DsbridgeError, UsageError

INTERRUPTED = 130  # as a shell says it of a process that Ctrl-C ended


@dataclass(frozen=True, slots=True)
class Command:
    """A command and its module, which has ``configure(parser)`` and ``run(arguments) -> exit code``.

    >>> COMMANDS[0]
    Command('bench')
    """

    name: str
    help: str
    module: str

    def __repr__(self) -> str:
        return f"Command({self.name!r})"


COMMANDS = (
    Command("bench", "measure loaders against each other, or your own one", "dsbridge.cli.bench"),
    Command("inspect", "say what is in a checkpoint, or how two differ", "dsbridge.cli.inspect"),
    Command("convert", "convert a checkpoint between torch and MindSpore", "dsbridge.cli.convert"),
    Command("verify", "prove that a converted checkpoint is what its source says", "dsbridge.cli.verify"),
)


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands; each module configures its own part.

    >>> make_parser().parse_args(["bench", "--list"]).command
    'bench'
    """
    parser = argparse.ArgumentParser(prog="dsbridge", description="Move a PyTorch training setup to MindSpore.")
    parser.add_argument("--version", action="version", version=f"dsbridge {dsbridge.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        part = commands.add_parser(command.name, help=command.help, description=f"{command.help[0].upper()}{command.help[1:]}.")
        module = importlib.import_module(command.module)
        module.configure(part)
        part.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line (``sys.argv`` by default) and return its exit code; argparse itself exits with 2.

    >>> main(["bench", "--list"])    # doctest: +ELLIPSIS
    workloads:
    ...
    0
    """
    arguments = make_parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except UsageError as exc:
        sys.stderr.write(f"dsbridge {arguments.command}: {exc}\n")
        return 2
    except DsbridgeError as exc:
        sys.stderr.write(f"dsbridge {arguments.command}: {exc}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return INTERRUPTED
