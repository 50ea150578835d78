"""``dsbridge plan module:loader``: what a torch DataLoader becomes, proven on a few batches if asked, and as a script."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from dsbridge.cli import live
from dsbridge.cli.arguments import not_negative, writable
from dsbridge.cli.output import conclude, say_progress
from dsbridge.errors import UsageError

if TYPE_CHECKING:
    from dsbridge.pipeline.plan import PipelinePlan

POLICIES = ("exact", "near", "native")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``dsbridge plan``.

    >>> parser = argparse.ArgumentParser(); configure(parser)
    >>> parser.parse_args(["train:make_loader", "--policy", "near"]).policy
    'near'
    """
    add = parser.add_argument
    add("loader", metavar="MODULE:LOADER", help="a torch DataLoader, or a function that makes one")
    add("--policy", choices=POLICIES, default="exact", help="which differences of pixels are allowed (default exact: none)")
    add("--transform", metavar="NAME", help="the attribute with the image transform, in a dataset class of your own")
    add("--seed", type=int, default=0, metavar="N", help="of the transforms' random numbers (default 0)")
    add("--workers", type=not_negative, metavar="N", help="worker processes (default: the loader's num_workers)")
    add("--verify", type=not_negative, default=0, metavar="N", help="compare the first N batches with torch's, every value")
    add("--emit", metavar="FILE", help="write the pipeline as a script of its own; - for stdout, instead of the plan")
    add("--json", action="store_true", help="JSON instead of text")


def run(arguments: argparse.Namespace) -> int:
    """Plan, verify, print, write; 1 with a finding that is an error. Raises ``UsageError`` for what is no loader."""
    if arguments.emit == "-" and arguments.json:
        raise UsageError("--emit - and --json both want stdout", hint="name a file: --emit out.py")
    writable(arguments.emit)
    from dsbridge.pipeline.plan import plan  # imports torch

    loader = live.made(arguments.loader)
    try:
        planned = plan(
            loader, arguments.policy, transform=arguments.transform, seed=arguments.seed, num_workers=arguments.workers
        )
    except TypeError as exc:
        raise UsageError(f"{arguments.loader}: {exc}", hint="name a DataLoader, or a function without arguments") from exc
    if arguments.verify:
        say_progress(f"comparing {arguments.verify} batches with torch's")
        planned.verify(arguments.verify)
    script = _script(planned) if arguments.emit else ""
    if arguments.emit == "-":
        return conclude(arguments, planned.report, script.rstrip("\n"))
    if arguments.emit:
        Path(arguments.emit).write_text(script)
        say_progress(f"written: {arguments.emit}")
    return conclude(arguments, planned.report)


def _script(planned: PipelinePlan) -> str:
    try:
        return planned.to_python()
    except NotImplementedError as exc:
        raise UsageError(
            f"this pipeline cannot be written as a script: {exc}", hint="leave --emit out: build() runs it"
        ) from exc
