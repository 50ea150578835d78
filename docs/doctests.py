"""A griffe extension: doctests in docstrings become code blocks, so that Markdown does not take ``>>>`` for a quotation."""

from __future__ import annotations

import re
from typing import Any

import griffe

# from a prompt to the next empty line
_DOCTEST = re.compile(r"(?:^>>> .*\n?)(?:^.+\n?)*", re.MULTILINE)


class Doctests(griffe.Extension):
    """Fences each block of doctests of every docstring."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called for each object once its docstring is known."""
        if obj.docstring is not None:
            obj.docstring.value = _DOCTEST.sub(lambda block: f"```pycon\n{block[0].rstrip()}\n```\n", obj.docstring.value)
