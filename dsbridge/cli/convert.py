"""``dsbridge convert SRC DST``: a checkpoint in another format, under a MindSpore network's names where one is given."""

from __future__ import annotations

import argparse
import sys

from dsbridge.cli import live
from dsbridge.cli.arguments import there
from dsbridge.cli.output import conclude


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``dsbridge convert``.

    >>> parser = argparse.ArgumentParser(); configure(parser)
    >>> parser.parse_args(["a.pth", "b.ckpt", "--dry-run"]).dry_run
    True
    """
    add = parser.add_argument
    live.configure(parser)
    add("source", metavar="SRC", help="a checkpoint of any known format")
    add(
        "target",
        metavar="DST",
        help="the file to write; .safetensors, .ckpt (MindSpore), .pth, .pt, .bin (torch), or in parts: *.index.json",
    )
    add("--max-shard-size", metavar="SIZE", help="of each part, for a target *.index.json; 5GB by default")
    add("--dry-run", action="store_true", help="print the plan and write nothing")
    add("--accept-guesses", action="store_true", help="carry out rows that are only proposed")
    add("--no-strict", action="store_true", help="leave out tensors that nothing takes")
    add("--no-read-back", action="store_true", help="do not compare what was written")
    add("--json", action="store_true", help="JSON instead of text")


def run(arguments: argparse.Namespace) -> int:
    """Plan or convert; 0 if it is fine, 1 if a row is not sure (the plan is printed then, by --dry-run)."""
    there(arguments.source)
    from dsbridge.checkpoint import convert, plan  # numpy: not for those who ask another command

    options = live.plan_options(arguments)
    if arguments.dry_run:
        found = plan(arguments.source, arguments.target, **options)
        return conclude(arguments, found)
    report = convert(
        arguments.source,
        arguments.target,
        accept_guesses=arguments.accept_guesses,
        strict=not arguments.no_strict,
        read_back=not arguments.no_read_back,
        max_shard_size=arguments.max_shard_size,
        progress=sys.stderr.isatty(),
        **options,
    )
    return conclude(arguments, report)
