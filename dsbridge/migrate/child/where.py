"""Where the script stands: frames of its own files, not of libraries."""

from __future__ import annotations

import os
import sys
import sysconfig
from functools import lru_cache
from types import FrameType
from typing import NamedTuple

_LIBRARIES = tuple({f"{os.path.realpath(sysconfig.get_path(name))}{os.sep}" for name in ("stdlib", "purelib", "platlib")})
_OURS = f"{os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))}{os.sep}"


class Place(NamedTuple):
    """A line of the user's code.

    >>> str(Place("/home/a/train.py", 12))
    '/home/a/train.py:12'
    """

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.file else "an unknown place"


@lru_cache(maxsize=4096)
def is_users(file: str) -> bool:
    """Whether a file is the user's own: not of a library, not of dsbridge, and a file.

    >>> is_users(os.__file__), is_users("<string>"), is_users("/home/a/train.py")
    (False, False, True)
    """
    real = os.path.realpath(file)
    return not file.startswith("<") and not real.startswith(_LIBRARIES) and not real.startswith(_OURS)


def called_by_user(library: str) -> bool:
    """Whether a library's function was called by the user's own code, and not by another library.

    ``library``: the part of a path by which its own files are known.
    """
    frame = sys._getframe(1)
    while frame is not None and (frame.f_code.co_filename.startswith((_OURS, "<")) or library in frame.f_code.co_filename):
        frame = frame.f_back  # type: ignore[assignment]
    return frame is not None and is_users(frame.f_code.co_filename)


def user_place(made: object = None) -> Place:
    """The innermost frame of the user's code; ``made``: where that object is made, not its own class's constructors."""
    frame = sys._getframe(1)
    while frame is not None and (not is_users(frame.f_code.co_filename) or _constructs(frame, made)):
        frame = frame.f_back  # type: ignore[assignment]
    return Place("", 0) if frame is None else Place(frame.f_code.co_filename, frame.f_lineno)


def _constructs(frame: FrameType, made: object) -> bool:
    code = frame.f_code
    return made is not None and code.co_name == "__init__" and frame.f_locals.get(code.co_varnames[0]) is made
