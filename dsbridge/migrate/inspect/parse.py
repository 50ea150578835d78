"""A file's text as a tree of syntax, or why not."""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings

import libcst as cst

_DEEP = 200  # brackets in brackets; CPython itself takes no more
_TOO_DEEP = "it is nested too deeply"


class Unreadable(Exception):
    """Why a file cannot be read; ``line`` is where, ``kind`` "syntax" or "encoding".

    >>> Unreadable("syntax", "invalid syntax", 3).line
    3
    """

    def __init__(self, kind: str, reason: str, line: int = 1) -> None:
        super().__init__(reason)
        self.kind, self.reason, self.line = kind, reason, line


def decoded(data: bytes) -> str:
    """The text of a Python file: UTF-8, or what its first lines declare. Raises ``Unreadable``.

    >>> decoded(b"x = 1\\r\\n")
    'x = 1\\n'
    """
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        text = data.decode(encoding)
    except (SyntaxError, UnicodeDecodeError, LookupError) as exc:
        reason = f"{exc.reason} at byte {exc.start}" if isinstance(exc, UnicodeDecodeError) else str(exc)
        line = data[: exc.start].count(b"\n") + 1 if isinstance(exc, UnicodeDecodeError) else 1
        raise Unreadable("encoding", reason, line) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def check(text: str) -> Unreadable | None:
    """What this Python has against a text; syntax of a later version, maybe. Raises ``Unreadable`` for deep nesting.

    libcst's parser goes on where CPython's stops, and dies or hangs there (brackets in 5,000 brackets), so CPython is asked
    first. It is also ten times as fast: files in which no torch is mentioned are not read any further.

    >>> check("x = 1"), check("print 'x'")
    (None, Unreadable("Missing parentheses in call to 'print'. Did you mean print(...)?"))
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes are the file's own affair
            ast.parse(text)
    except (RecursionError, MemoryError):
        raise Unreadable("syntax", _TOO_DEEP) from None
    except (SyntaxError, ValueError) as exc:
        if _depth(text) > _DEEP:
            raise Unreadable("syntax", _TOO_DEEP) from None
        return Unreadable("syntax", getattr(exc, "msg", str(exc)), getattr(exc, "lineno", 1) or 1)
    return None


def parsed(text: str, wrong: Unreadable | None) -> cst.Module:
    """The tree of a text of which ``check`` has said what is ``wrong``. Raises ``Unreadable`` with reason and line.

    >>> len(parsed("x = 1", check("x = 1")).body)
    1
    """
    try:
        return cst.parse_module(text)
    except cst.ParserSyntaxError as exc:
        raise (wrong or Unreadable("syntax", f"libcst: {exc.message}", max(exc.raw_line, 1))) from None
    except RecursionError:
        raise Unreadable("syntax", _TOO_DEEP) from None


def _depth(text: str) -> int:
    """Brackets in brackets at most; those in strings count too."""
    deepest = depth = 0
    for bracket in re.findall(r"[()\[\]{}]", text):
        depth = depth + 1 if bracket in "([{" else max(depth - 1, 0)
        deepest = max(deepest, depth)
    return deepest
