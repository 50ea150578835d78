"""``dsbridge inspect``: what is in a checkpoint, or how two of them differ, by their headers."""

from __future__ import annotations

import argparse
import json
import sys

from dsbridge.cli.arguments import not_negative, there

DEFAULT_ROWS = 50


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``dsbridge inspect``.

    >>> parser = argparse.ArgumentParser(); configure(parser)
    >>> parser.parse_args(["a.pth", "--limit", "3"]).limit
    3
    """
    add = parser.add_argument
    add("first", metavar="PATH", help="a file, a directory or an *.index.json of any format")
    add("second", nargs="?", metavar="OTHER", help="compare with this one: names, shapes, dtypes")
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
    from dsbridge.checkpoint.inspect import difference, inspect  # imports numpy

    paths = [path for path in (arguments.first, arguments.second) if path is not None]
    there(*paths)
    limit = DEFAULT_ROWS if arguments.limit is None else arguments.limit or None
    reports = [inspect(path) for path in paths]
    differing = difference(*reports) if len(reports) == 2 else None
    if differing is None:
        text, data = reports[0].text(limit), reports[0].to_dict()
    else:
        findings = [str(report.report) for report in reports if len(report.report)]
        text = "\n".join([differing.text(limit), *findings])
        data = {**differing.to_dict(), "findings": [report.to_dict()["findings"] for report in reports]}
    sys.stdout.write((json.dumps(data, indent=2) if arguments.json else text) + "\n")
    return 0 if all(report.ok for report in reports) and (differing is None or differing.equal) else 1
