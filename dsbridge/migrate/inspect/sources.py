"""The files of a repository that are read, and what is left out and why."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dsbridge.migrate.inspect.repository import MOST_BYTES

_NOT_CODE = {
    **dict.fromkeys((".git", ".hg", ".svn"), "version control"),
    **dict.fromkeys(("site-packages", "node_modules", ".tox", ".nox"), "packages of others"),
    **dict.fromkeys(("__pycache__", ".ipynb_checkpoints", ".mypy_cache", ".ruff_cache", ".pytest_cache"), "caches"),
}
_ENVIRONMENT = ("pyvenv.cfg", "conda-meta")
_READ = (".py", ".ipynb")


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file or folder that was not read.

    >>> Skipped("data.py", "files of more than 2 MB").reason
    'files of more than 2 MB'
    """

    path: str
    reason: str


def sources(root: Path) -> tuple[list[Path], list[Skipped]]:
    """The Python files and notebooks below a folder, in order, and what was left out; a file is itself.

    Links to folders are not followed, so that nothing is read twice and no loop is entered; one to a file is, if it leads out.

    >>> found, skipped = sources(Path(__file__))
    >>> len(found), skipped
    (1, [])
    """
    if not root.is_dir():
        return [root], []
    found: list[Path] = []
    skipped: list[Skipped] = []
    for path, reason in _walk(root, root.resolve()):
        if reason:
            skipped.append(Skipped(path.relative_to(root).as_posix(), reason))
        else:
            found.append(path)
    return found, skipped


def counted(skipped: list[Skipped] | tuple[Skipped, ...]) -> dict[str, int]:
    """How many were left out, by reason.

    >>> counted([Skipped("a", "caches"), Skipped("b", "caches")])
    {'caches': 2}
    """
    return dict(Counter(one.reason for one in skipped))


def _walk(folder: Path, root: Path) -> Iterator[tuple[Path, str]]:
    """Each file, and each folder that is left out, with the reason or ""."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        yield folder, "folders that cannot be read"
        return
    for entry in entries:
        path = folder / entry.name
        if entry.is_dir(follow_symlinks=False):
            reason = _NOT_CODE.get(entry.name, "")
            if not reason and any((path / name).exists() for name in _ENVIRONMENT):
                reason = "virtual environments"
            if reason:
                yield path, reason
            else:
                yield from _walk(path, root)
        elif entry.is_symlink() and path.is_dir():
            yield path, "links to folders"
        elif path.suffix in _READ:
            yield path, _unread(path, entry, root)


def _unread(path: Path, entry: os.DirEntry[str], root: Path) -> str:
    """Why a file is not read, "" if it is."""
    if not path.is_file():
        return "links to nowhere, pipes and devices"
    if entry.is_symlink() and path.resolve().is_relative_to(root):
        return "links to files that are read anyway"
    return f"files of more than {MOST_BYTES // 1_000_000} MB" if path.stat().st_size > MOST_BYTES else ""
