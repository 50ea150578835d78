"""Types of arguments that several commands take."""

from __future__ import annotations

import argparse
from pathlib import Path

from dsbridge.errors import UsageError


def not_negative(text: str) -> int:
    """A whole number from 0 on, for argparse.

    >>> not_negative("3")
    3
    """
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"must not be negative, got {number}")
    return number


def there(*paths: str) -> None:
    """Raise ``UsageError`` for a path that is not there: a slip of the pen, no finding.

    >>> there("/", "no/such/file")
    Traceback (most recent call last):
    ...
    dsbridge.errors.UsageError: no/such/file is not there
    """
    for path in paths:
        if not Path(path).exists():
            raise UsageError(f"{path} is not there")


def writable(*paths: str | None) -> None:
    """Raise ``UsageError`` for a file that cannot be written because its folder is not there: before the work, not after.

    >>> writable(None, "-", "no/such/folder/out.py")
    Traceback (most recent call last):
    ...
    dsbridge.errors.UsageError: cannot write no/such/folder/out.py: its folder does not exist
    """
    for path in paths:
        if path not in (None, "-") and not Path(str(path)).resolve().parent.is_dir():
            raise UsageError(f"cannot write {path}: its folder does not exist")
