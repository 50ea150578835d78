"""The look of texts where there are colours: terminals and notebooks. rich does both; it is imported when first needed."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.text import Text

_STYLES = {"error": "bold red", "warning": "yellow", "info": "cyan"}
_FINDING = re.compile(rf"^ *(?:\S+: )?(?P<severity>{'|'.join(_STYLES)}) (?P<code>[\w-]+)", re.MULTILINE)
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


def repr_html(report: Any) -> str:
    """``_repr_html_`` of whatever prints as a table: its text as HTML, for notebooks.

    >>> repr_html("a < b").partition(">")[2]
    'a &lt; b</pre>'
    """
    from rich.console import Console

    console = Console(record=True, file=io.StringIO(), width=_WIDE, force_jupyter=False)
    console.print(styled(str(report)), soft_wrap=True, end="")
    return console.export_html(inline_styles=True, code_format=_PRE)
