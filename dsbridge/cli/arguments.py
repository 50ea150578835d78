"""Types of arguments that several commands take."""

from __future__ import annotations

import argparse


def not_negative(text: str) -> int:
    """A whole number from 0 on, for argparse.

    >>> not_negative("3")
    3
    """
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"must not be negative, got {number}")
    return number
