"""``dsbridge doctor``: what is wrong with this machine and its packages, and what mends it."""

from __future__ import annotations

import argparse

from dsbridge.cli.arguments import not_negative
from dsbridge.cli.output import say, say_json, steps
from dsbridge.environment.doctor import doctor


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``dsbridge doctor``.

    >>> parser = argparse.ArgumentParser(); configure(parser)
    >>> parser.parse_args(["--workers", "4"]).workers
    4
    """
    add = parser.add_argument
    add("--workers", type=not_negative, default=2, metavar="N", help="worker processes that a training is to have (default 2)")
    add(
        "--fix-env",
        action="store_true",
        help='only shell lines, for eval "$(dsbridge doctor --fix-env)"; nothing else is changed',
    )
    add("--json", action="store_true", help="JSON instead of text")


def run(arguments: argparse.Namespace) -> int:
    """Examine and print; 1 with a finding that is worse than "info"."""
    diagnosis = doctor(arguments.workers, steps("doctor"))
    if arguments.fix_env:
        say(diagnosis.fix_env())
        return 0
    if arguments.json:
        say_json(diagnosis.to_dict())
    else:
        say(str(diagnosis))
    return 0 if diagnosis.healthy else 1
