"""Notebooks: their code cells as one text, in which each line knows its cell."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dsbridge.migrate.inspect.parse import Unreadable, check, parsed

_TIMED = ("%%time", "%%timeit", "%%capture", "%%prun", "%%memit", "%%debug")  # what follows is Python
_MAGIC = re.compile(r"^(\s*)(?:[%!?].*|\S+\?{1,2})$")
_ASSIGNED = re.compile(r"^(\s*[\w, ]+=\s*)[%!].*$")


@dataclass(frozen=True, slots=True)
class Notebook:
    """``places``: for each line of ``text``, its cell and its line there. ``unread``: (cell, line, why) of what was left out.

    >>> Notebook("x = 1", ((1, 1),), ()).places[0]
    (1, 1)
    """

    text: str
    places: tuple[tuple[int, int], ...]
    unread: tuple[tuple[int, int, str], ...]


def notebook(text: str) -> Notebook:
    """The code of a notebook, magic commands taken out. Cells are numbered from 1, those of text counted too.

    Raises ``Unreadable`` for what is no notebook.

    >>> cells = [{"cell_type": "markdown"}, {"cell_type": "code", "source": ["!pip install torch\\n", "import torch"]}]
    >>> notebook(json.dumps({"cells": cells})).text
    'pass\\nimport torch\\n'
    """
    lines: list[str] = []
    places: list[tuple[int, int]] = []
    unread: list[tuple[int, int, str]] = []
    for number, cell in _code(text):
        try:
            code = _python(cell)
        except Unreadable as exc:
            unread.append((number, exc.line, exc.reason))
            continue
        lines += code
        places += [(number, line + 1) for line in range(len(code))]
    return Notebook("".join(f"{line}\n" for line in lines), tuple(places), tuple(unread))


def _code(text: str) -> Iterator[tuple[int, str]]:
    try:
        whole = json.loads(text)
        language = whole.get("metadata", {}).get("language_info", {}).get("name", "python")
        cells = whole["cells"] if "cells" in whole else [cell for sheet in whole["worksheets"] for cell in sheet["cells"]]
        found = [(number, _source(cell)) for number, cell in enumerate(cells, 1) if cell.get("cell_type") == "code"]
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as exc:
        raise Unreadable("notebook", f"it is no notebook ({type(exc).__name__})") from None
    if not str(language).lower().startswith(("python", "ipython")):
        raise Unreadable("notebook", f"its language is {language}")
    yield from found


def _source(cell: Any) -> str:
    source = cell.get("source", cell.get("input", ""))
    return source if isinstance(source, str) else "".join(source)


def _python(cell: str) -> list[str]:
    """The lines of a cell as Python; raises ``Unreadable``."""
    lines = cell.split("\n")
    first = lines[0].strip()
    if first.startswith("%%"):
        if first.split()[0] not in _TIMED:
            raise Unreadable("cell", f"it is for {first.split()[0]}")
        lines[0] = "pass"
    if not _is_python(lines):  # it has magic commands, maybe; a line that starts with % may belong to a product as well
        lines = [_ASSIGNED.sub(r"\1None", _MAGIC.sub(r"\1pass", line)) for line in lines]
        parsed("\n".join(lines), check("\n".join(lines)))
    return lines


def _is_python(lines: list[str]) -> bool:
    text = "\n".join(lines)
    try:
        parsed(text, check(text))
    except Unreadable:
        return False
    return True
