"""``dsbridge migrate``: a whole torch training as MindSpore files, from an unmodified script or from live objects."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from dsbridge.cli import live
from dsbridge.cli.output import conclude, say_progress
from dsbridge.errors import UsageError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``dsbridge migrate``.

    >>> parser = argparse.ArgumentParser(); configure(parser)
    >>> parsed = parser.parse_args(["train.py", "--steps", "8", "-o", "out"])
    >>> parsed.source, parsed.steps, parsed.args
    ('train.py', 8, [])
    """
    add = parser.add_argument
    add("source", nargs="?", metavar="SCRIPT | MODULE:SETUP", help="a torch script, or a function that makes a TrainingSetup")
    parser.epilog = "The script's own arguments come last, after --."
    parser.set_defaults(args=[])  # what comes after --
    add("--steps", type=int, default=24, help="optimizer steps to record and to compare (24)")
    add("-o", "--out", metavar="FOLDER", help="write model.py, data.py, train.py, weights, PARITY.md and verify.py there")
    add("--timeout", type=float, default=600.0, metavar="SECONDS", help="how long the script may take for these steps (600)")
    add("--no-verify", action="store_true", help="leave out the proof, which takes a minute or two")
    add("--inspect", metavar="PATH", help="a static report on a file or repository instead: nothing is run")
    add("--sarif", metavar="FILE", help="with --inspect: write the report as SARIF, too")
    add("--json", action="store_true", help="JSON instead of text")


def run(arguments: argparse.Namespace) -> int:
    """Capture, plan, verify, write; 1 where something is missing or differs. Raises ``UsageError``."""
    if bool(arguments.inspect) == bool(arguments.source):
        raise UsageError("migrate takes a script or a setup", hint="or --inspect PATH, for a report without running anything")
    if arguments.inspect:
        from dsbridge.migrate.inspect.command import run as inspect

        return int(inspect(arguments.inspect, as_json=arguments.json, sarif=arguments.sarif))
    if arguments.steps < 1:
        raise UsageError(f"--steps must be at least 1, got {arguments.steps}")
    plan = _plan(arguments)
    if not arguments.no_verify and plan.report.ok:
        say_progress(f"replaying {arguments.steps} steps in PyNative and graph mode, beside torch")
        plan.verify(arguments.steps)
    if arguments.out and (plan.ok or not plan.report.ok):
        plan.write(arguments.out)
        say_progress(f"written: {arguments.out}")
    return conclude(arguments, plan)


def _plan(arguments: argparse.Namespace) -> Any:
    from dsbridge import migrate

    if arguments.source.endswith(".py") or Path(arguments.source).is_file():
        if not Path(arguments.source).is_file():
            raise UsageError(f"{arguments.source} is no file")
        say_progress(f"running {arguments.source} for {arguments.steps} steps")
        setup = migrate.capture(arguments.source, arguments.args, arguments.steps, timeout_s=arguments.timeout)
    else:
        setup = live.made(arguments.source)
        if not isinstance(setup, migrate.TrainingSetup):
            raise UsageError(
                f"{arguments.source} makes a {type(setup).__name__}", hint="it must make a dsb.migrate.TrainingSetup"
            )
    return migrate.plan(setup, steps=arguments.steps)
