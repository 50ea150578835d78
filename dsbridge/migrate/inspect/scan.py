"""Reads files, asks the rules, makes the report."""

from __future__ import annotations

import gc
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import libcst as cst
from libcst.metadata import CodeRange, MetadataWrapper, PositionProvider

from dsbridge.errors import UsageError
from dsbridge.migrate.inspect.ignores import ignores
from dsbridge.migrate.inspect.notebooks import Notebook, notebook
from dsbridge.migrate.inspect.parse import Unreadable, check, decoded, parsed
from dsbridge.migrate.inspect.reader import uses
from dsbridge.migrate.inspect.report import InspectReport
from dsbridge.migrate.inspect.repository import Repository
from dsbridge.migrate.inspect.resolve import Names
from dsbridge.migrate.inspect.row import Row
from dsbridge.migrate.inspect.rules.registry import find, index, packages
from dsbridge.migrate.inspect.rules.rule import Rule
from dsbridge.migrate.inspect.sources import sources
from dsbridge.migrate.inspect.together import together

Progress = Callable[[str, int, int], None]


def inspect(path: str | os.PathLike[str], progress: Progress | None = None) -> InspectReport:
    """Say of each place in a file, a notebook or a repository where torch is used what becomes of it.

    Nothing is imported or run of it. The tables of layers and functions need torch, which is imported when the first name
    asks for them. ``progress``: called with (file, number of files done, of all).

    Raises ``UsageError`` for a path that is not there, or is no file.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "train.py").write_text("import torch\\nloss.backward(retain_graph=True)\\n")
    ...     report = inspect(folder)
    >>> [str(row).partition(" is ")[0].partition(" goes ")[0] for row in report.rows]
    ['train.py:1:8: fine MIG101 torch', ..., 'train.py:2:15: attention MIG602 .backward(retain_graph=)']
    """
    root = Path(path)
    if not root.exists():
        raise UsageError(f"{root} is not there")
    if not (root.is_dir() or root.is_file()):
        raise UsageError(f"{root} is neither a file nor a folder")
    found, skipped = sources(root)
    folder = root if root.is_dir() else root.parent
    repository = Repository(folder)
    rows: list[Row] = []
    silenced: list[Row] = []
    for number, file in enumerate(found):
        if progress is not None:
            progress(str(file), number, len(found))
        with _collector_paused():
            kept, quiet = _File(file, file.relative_to(folder).as_posix(), repository).rows()
        rows += kept
        silenced += quiet
    return InspectReport(str(root), tuple(rows), len(found), tuple(skipped), tuple(silenced))


@contextmanager
def _collector_paused() -> Iterator[None]:
    """A tree is 40 nodes a line and has no cycles: looking for some, again and again, takes a third of the time."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


class _Placed(MetadataWrapper):
    """A tree of which only the places are asked for."""

    def visit_batched(self, *args: Any, **kwargs: Any) -> cst.Module:
        """Nothing: libcst goes through the whole tree here for other kinds of metadata, asked for or not; 40 % of the time."""
        return self.module


class _File:
    """One file on its way through."""

    def __init__(self, path: Path, name: str, repository: Repository) -> None:
        self._path, self._name, self._repository = path, name, repository
        self._notebook: Notebook | None = None
        self._unread: list[Row] = []

    def rows(self) -> tuple[list[Row], list[Row]]:
        """The rows of a file by their places, and those that its comments silence."""
        try:
            text = self._text()
            found = self._found(text)
        except OSError as exc:
            return [self._row(_of("file access"), exc.strerror or type(exc).__name__)], []
        except Unreadable as exc:
            key = {"notebook": "notebook", "encoding": "file encoding"}.get(exc.kind, "file syntax")
            return [self._row(_of(key), exc.reason, line=exc.line)], []
        return self._silenced(found, ignores(text))

    def _text(self) -> str:
        text = decoded(self._path.read_bytes())
        if self._path.suffix != ".ipynb":
            return text
        self._notebook = notebook(text)
        self._unread = [self._row(_of("cell"), why, line=line, cell=cell) for cell, line, why in self._notebook.unread]
        return self._notebook.text

    def _found(self, text: str) -> list[tuple[int, Row]]:
        """(line in the text, row), in order."""
        wrong = check(text)
        if wrong is None and not _mentions(text) and not self._imports_own(text):
            return []
        try:
            module = parsed(text, wrong)
            names = Names(module, self._path, self._repository)
            noted = uses(module, names, index())
            noted += together(noted, names)
            if not noted:
                return []
            places = _Placed(module, unsafe_skip_copy=True).resolve(PositionProvider)
            said = [(places[use.node], use.name, verdict) for use in noted if (verdict := find(use)) is not None]
        except RecursionError:
            raise Unreadable("syntax", "it is nested too deeply") from None
        rows = {
            (place.start.line, place.start.column, rule.id): (place, name, rule, detail) for place, name, (rule, detail) in said
        }
        return [(key[0], self._placed(*rows[key])) for key in sorted(rows)]

    def _placed(self, place: CodeRange, name: str, rule: Rule, detail: str) -> Row:
        cell, line = self._notebook.places[place.start.line - 1] if self._notebook is not None else (0, place.start.line)
        end = (line + place.end.line - place.start.line, place.end.column + 1)
        return self._row(rule, detail, name=name, line=line, column=place.start.column + 1, end=end, cell=cell)

    def _row(
        self, rule: Rule, detail: str, *, name: str = "", line: int = 1, column: int = 1, end: tuple[int, int] | None = None,
        cell: int = 0,
    ) -> Row:  # fmt: skip
        message = rule.says(name or (f"cell {cell}" if cell else "the file"), detail)
        end = end or (line, column)
        return Row(
            self._name, line, column, end, rule.severity, rule.id, rule.family, message, rule.replacement, rule.link, cell
        )

    def _imports_own(self, text: str) -> bool:
        """Whether it imports from the repository, which may hand torch's names on."""
        named = (one[1] or one[2] for one in _IMPORT.finditer(text))
        return any(self._repository.module(name, self._path)[0] is not None for name in named)

    def _silenced(self, found: list[tuple[int, Row]], comments: dict[int, frozenset[str]]) -> tuple[list[Row], list[Row]]:
        kept = [*self._unread, *(row for line, row in found if row.rule not in comments.get(line, ()))]
        quiet = [row for line, row in found if row.rule in comments.get(line, ())]
        used = {(line, row.rule) for line, row in found}
        idle = [(line, rule) for line, named in comments.items() for rule in sorted(named) if (line, rule) not in used]
        kept += [self._idle(line, rule) for line, rule in idle]
        return sorted(kept, key=lambda row: (row.cell, row.line, row.column, row.rule)), quiet

    def _idle(self, line: int, rule: str) -> Row:
        cell, line = self._notebook.places[line - 1] if self._notebook is not None else (0, line)
        return self._row(_of("ignore"), f"there is no {rule} on this line", name="a comment", line=line, cell=cell)


_IMPORT = re.compile(r"^[ \t]*(?:from[ \t]+([.\w]+)[ \t]+import\b|import[ \t]+([\w.]+))", re.MULTILINE)


def _of(key: str) -> Rule:
    return index()[key][0]


@cache
def _packages() -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(sorted(packages()))})\b")


def _mentions(text: str) -> bool:
    return _packages().search(text) is not None
