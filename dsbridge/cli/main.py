"""``dsbridge COMMAND ...``: exit code 0 when all is fine, 1 with findings, 2 when it cannot be done at all."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NamedTuple

import dsbridge
from dsbridge.errors import DsbridgeError, MissingDependencyError, UsageError

INTERRUPTED = 130  # as a shell says it of a process that Ctrl-C ended


class Command(NamedTuple):
    """A command and its module, which has ``configure(parser)`` and ``run(arguments) -> exit code``.

    >>> COMMANDS[0]
    Command('doctor')
    """

    name: str
    help: str
    module: str

    def __repr__(self) -> str:
        return f"Command({self.name!r})"


COMMANDS = (
    Command("doctor", "say what is wrong with this machine and its packages, and what mends it", "dsbridge.cli.doctor"),
    Command("bench", "measure loaders against each other, or your own one", "dsbridge.cli.bench"),
    Command("inspect", "say what is in a checkpoint, or how two differ", "dsbridge.cli.inspect"),
    Command("convert", "convert a checkpoint between torch and MindSpore", "dsbridge.cli.convert"),
    Command("model", "convert a torch model into MindSpore source, with weights and a proof", "dsbridge.cli.model"),
    Command(
        "migrate", "move a whole torch training, from its unmodified script, or inspect code for it", "dsbridge.cli.migrate"
    ),
    Command("plan", "say what a torch DataLoader becomes, prove it, write it as a script", "dsbridge.cli.plan"),
    Command("verify", "prove that a converted checkpoint is what its source says", "dsbridge.cli.verify"),
)


def make_parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    """The parser for a command line. Only the module of the command on it is imported: others cost what they import.

    >>> make_parser(["bench", "--list"]).parse_args(["bench", "--list"]).command
    'bench'
    """
    parser = argparse.ArgumentParser(prog="dsbridge", description="Move a PyTorch training setup to MindSpore.")
    parser.add_argument("--version", action="version", version=f"dsbridge {dsbridge.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    named = next((word for word in argv if not word.startswith("-")), "")
    for command in COMMANDS:
        part = commands.add_parser(command.name, help=command.help, description=f"{command.help[0].upper()}{command.help[1:]}.")
        part.add_argument("-v", "--verbose", action="store_true", help="show the traceback of an error")
        if command.name == named:
            module = importlib.import_module(command.module)
            module.configure(part)
            part.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line (``sys.argv`` by default) and return its exit code; argparse itself exits with 2.

    An error is one line on stderr, the traceback comes with ``-v``. 1: what was looked at is not fine, or cannot be read.
    2: the command line makes no sense, a package is missing, or code that it names (or ours) fails.

    >>> main(["bench", "--list"])    # doctest: +ELLIPSIS
    workloads:
    ...
    0
    """
    argv = sys.argv[1:] if argv is None else argv
    own, rest = (argv[: argv.index("--")], argv[argv.index("--") + 1 :]) if "--" in argv else (argv, [])
    arguments = make_parser(own).parse_args(own)
    if hasattr(arguments, "args"):
        arguments.args = list(rest)
    elif rest:
        make_parser(own).error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        return int(arguments.run(arguments))
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our stdout has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as exc:
        if arguments.verbose:
            import traceback  # not above: a tenth of what --help takes

            traceback.print_exc()
        sys.stderr.write(f"dsbridge {arguments.command}: {_line(exc)}\n")
        return 2 if isinstance(exc, (UsageError, MissingDependencyError)) or not isinstance(exc, DsbridgeError) else 1


def _line(exc: Exception) -> str:
    """What the user reads: our own errors say it all, those of other code need their names and a way to see more."""
    if isinstance(exc, DsbridgeError):
        return str(exc)
    return f"{type(exc).__name__}: {exc} (-v shows where)"
