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
