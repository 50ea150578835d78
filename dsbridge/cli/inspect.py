"""``dsbridge inspect``: what is in a checkpoint or a dataset, or how two of them differ, by their headers."""

from __future__ import annotations

import argparse
import re
from typing import Any

from dsbridge.cli.arguments import not_negative, there
from dsbridge.cli.output import conclude, say, say_json
from dsbridge.errors import UsageError

DEFAULT_ROWS = 50


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``dsbridge inspect``.

    >>> parser = argparse.ArgumentParser(); configure(parser)
    >>> parser.parse_args(["a.pth", "--limit", "3"]).limit
    3
    """
    add = parser.add_argument
    add("first", metavar="PATH", help="a checkpoint (file, directory, *.index.json), or Parquet or Arrow data")
    add("second", nargs="?", metavar="OTHER", help="compare with this one: names, shapes, dtypes")
    add("--grep", metavar="REGEX", default="", help="only tensors or columns whose name matches")
    add("--tree", action="store_true", help="names as a tree, each module with its tensors and bytes")
    add("--depth", type=not_negative, metavar="N", help="levels of the tree; what is below is summed up")
    add("--limit", type=not_negative, metavar="N", help=f"rows of a table at most (default {DEFAULT_ROWS}; 0: all)")
    add("--json", action="store_true", help="JSON to stdout, with all rows")


def run(arguments: argparse.Namespace) -> int:
    """Print; 1 with findings worse than "info" or differences. Raises ``UsageError`` for paths that are not there.

    >>> parser = argparse.ArgumentParser(); configure(parser)
    >>> run(parser.parse_args(["no/such/file"]))
    Traceback (most recent call last):
    ...
    dsbridge.errors.UsageError: no/such/file is not there
    """
    paths = [path for path in (arguments.first, arguments.second) if path is not None]
    there(*paths)
    try:
        re.compile(arguments.grep)
    except re.error as exc:
        raise UsageError(
            f"--grep {arguments.grep!r} is no regular expression: {exc}", hint="escape . * ( [ with a backslash"
        ) from exc
    if arguments.tree and len(paths) == 2:
        raise UsageError("--tree shows one checkpoint, not how two differ", hint="leave out --tree or one path")
    from dsbridge.sources.inspect import is_dataset  # imports numpy

    kinds = {is_dataset(path) for path in paths}
    if len(kinds) == 2:
        raise UsageError(f"{paths[0]} and {paths[1]}: one is a dataset, the other is not")
    return _datasets(arguments, paths) if kinds.pop() else _checkpoints(arguments, paths)


def _datasets(arguments: argparse.Namespace, paths: list[str]) -> int:
    from dsbridge.sources.inspect import difference, inspect_dataset

    reports = [inspect_dataset(path).matching(arguments.grep) for path in paths]
    if len(reports) == 1:
        return conclude(arguments, reports[0])
    return _compared(arguments, reports, difference(*reports))


def _checkpoints(arguments: argparse.Namespace, paths: list[str]) -> int:
    from dsbridge.checkpoint import name_tree
    from dsbridge.checkpoint.inspect import difference, inspect

    limit = DEFAULT_ROWS if arguments.limit is None else arguments.limit or None
    reports = [inspect(path).matching(arguments.grep) for path in paths]
    if len(reports) == 2:
        return _compared(arguments, reports, difference(*reports), limit)
    tree = arguments.tree or arguments.depth is not None
    text = name_tree.text(reports[0], arguments.depth, limit) if tree else reports[0].text(limit)
    return conclude(arguments, reports[0], text)


def _compared(arguments: argparse.Namespace, reports: list[Any], differing: Any, limit: int | None = None) -> int:
    """What differs, then the findings of each; 1 with either."""
    if arguments.json:
        say_json({**differing.to_dict(), "findings": [report.to_dict()["findings"] for report in reports]})
    else:
        say("\n".join([differing.text(limit), *(str(report.report) for report in reports if len(report.report))]))
    return 0 if differing.equal and all(report.ok for report in reports) else 1
