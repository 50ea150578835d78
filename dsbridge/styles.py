"""The look of texts where there are colours: terminals and notebooks. rich does both; it is imported when first needed."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.text import Text

_STYLES = {
    "error": "bold red", "warning": "yellow", "info": "cyan", "unsupported": "bold red", "attention": "yellow", "fine": "green",
}  # fmt: skip
_FINDING = re.compile(rf"^ *(?:(?:cell )?\S+: )?(?P<severity>{'|'.join(_STYLES)}) (?P<code>[\w-]+)", re.MULTILINE)
_PRE = '<pre style="white-space:pre;overflow-x:auto;line-height:1.3;font-family:monospace">{code}</pre>'
_WIDE = 10_000  # columns: nothing is to be wrapped


def styled(text: str) -> Text:
    """The text with the severities and codes of its findings in colour.

    >>> styled("  warning few-files [ulimit -n]: at most 64").spans[0].style
    'yellow'
    """
    from rich.text import Text

    shown = Text(text)
    for found in _FINDING.finditer(text):
        shown.stylize(_STYLES[found["severity"]], *found.span("severity"))
        shown.stylize("bold", *found.span("code"))
    return shown


def aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Lines of a table, indented by two.

    >>> aligned([("a", "1"), ("long", "2")])
    ['  a     1', '  long  2']
    """
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [("  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))).rstrip() for row in rows]


def printable(text: Any) -> str:
    r"""Without line breaks and control characters: names come from files.

    >>> print(printable("a\x1b[31m"))
    a\x1b[31m
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in str(text))


def repr_html(report: Any) -> str:
    """``_repr_html_`` of whatever prints as a table: its text as HTML, for notebooks.

    >>> repr_html("a < b").partition(">")[2]
    'a &lt; b</pre>'
    """
    from rich.console import Console

    console = Console(record=True, file=io.StringIO(), width=_WIDE, force_jupyter=False)
    console.print(styled(str(report)), soft_wrap=True, end="")
    return console.export_html(inline_styles=True, code_format=_PRE)
