"""What every command writes, and how: reports to stdout, progress to stderr, colours only for people."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from typing import Any, Protocol

from dsbridge.styles import styled


class Reported(Protocol):
    """What the library's reports have in common."""

    @property
    def ok(self) -> bool: ...

    def to_dict(self) -> dict[str, Any]: ...


def say(text: str) -> None:
    """Text to stdout as it is; severities are coloured on a terminal, unless ``NO_COLOR`` is set (https://no-color.org).

    >>> say("doctor: nothing to report")
    doctor: nothing to report
    """
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        sys.stdout.write(text + "\n")
        return
    from rich.console import Console  # 60 ms, and of no use in a pipe

    Console().print(styled(text), soft_wrap=True)  # lines are the terminal's to wrap, so that commands can be copied


def say_json(data: Any) -> None:
    """Plain data to stdout.

    >>> say_json({"ok": True})
    {
      "ok": true
    }
    """
    sys.stdout.write(json.dumps(data, indent=2) + "\n")


def conclude(arguments: argparse.Namespace, report: Reported, text: str | None = None) -> int:
    """Write a report, as text or (``--json``) as data, and return the exit code: 0 if it is ok, 1 if not.

    >>> from dsbridge.report import Report
    >>> conclude(argparse.Namespace(json=False), Report("plan"))
    plan: nothing to report
    0
    """
    if arguments.json:
        say_json(report.to_dict())
    else:
        say(str(report) if text is None else text)
    return 0 if report.ok else 1


def steps(title: str) -> Callable[[str, int, int], None]:
    """A progress bar on stderr over named steps, called with (name, done, total); nothing where stderr is no terminal.

    >>> steps("doctor")("imports", 3, 15)
    """
    if not sys.stderr.isatty():
        return lambda name, done, total: None
    from tqdm import tqdm

    bar = tqdm(desc=title, leave=False, bar_format="{desc}: {n_fmt}/{total_fmt} {postfix}")

    def show(name: str, done: int, total: int) -> None:
        bar.total, bar.n = total, done
        bar.set_postfix_str(name)
        if done + 1 >= total:
            bar.close()

    return show


def say_progress(text: str) -> None:
    """A line on stderr, for people who wait; nothing where stderr is no terminal.

    >>> say_progress("comparing 4 batches")
    """
    if sys.stderr.isatty():
        sys.stderr.write(text + "\n")
