"""What the files of a repository import from each other: names that they hand on, classes that they derive from torch's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dsbridge.migrate.inspect.canonical import canonical
from dsbridge.migrate.inspect.exports import HERE, Exports, exports, member
from dsbridge.migrate.inspect.parse import Unreadable, decoded

MOST_BYTES = 2_000_000
_NOTHING = Exports({}, {}, ())


@dataclass(frozen=True, slots=True)
class Own:
    """Something that the repository defines itself; ``roots``: the classes of other packages that a class derives from.

    >>> Own(frozenset({"torch.nn.Module"})).roots
    frozenset({'torch.nn.Module'})
    """

    roots: frozenset[str] = frozenset()


Origin = str | Own
"""Where a name comes from: the qualified name of another package's, or ``Own``."""


class Repository:
    """The files below ``root``; what one of them offers is read when an import asks for it, once."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._exports: dict[Path, Exports] = {}
        self._followed: dict[tuple[str, Path], Origin] = {}
        top = self._root
        while (top / "__init__.py").is_file() and top != top.parent:  # a package, imported by its own name
            top = top.parent
        self._bases = [root, root / "src"] if top == self._root else [top, root]

    def follow(self, name: str, file: Path) -> Origin:
        """What a name that is imported in ``file`` stands for: through the repository's own files, to where it comes from.

        >>> Repository(Path("/no/such/folder")).follow("torch.nn.Linear", Path("a.py"))
        'torch.nn.Linear'
        """
        key = (name, file)
        if key not in self._followed:
            self._followed[key] = Own()  # of modules that import each other
            self._followed[key] = self._find(name, file)
        return self._followed[key]

    def offers(self, module: str, name: str, file: Path) -> bool:
        """Whether a module of the repository, as ``file`` imports it, has a name of another package's, or a class."""
        path, rest = self.module(module, file)
        return path is not None and not any(rest) and self._has(path, name, frozenset())

    def module(self, name: str, file: Path) -> tuple[Path | None, list[str]]:
        """The repository's file that a dotted name leads into, and what is left of the name.

        >>> Repository(Path("/no/such/folder")).module("torch.nn", Path("a.py"))
        (None, ['torch', 'nn'])
        """
        dots = len(name) - len(name.lstrip("."))
        parts = [part for part in name.split(".") if part]
        if dots:
            base = file.parent.joinpath(*[".."] * (dots - 1))
            return self._walk(base, parts, inside=True)
        beside = [] if (file.parent / "__init__.py").is_file() else [file.parent]  # a script's own folder
        for base in (*self._bases, *beside):
            path, rest = self._walk(base, parts)
            if path is not None:
                return path, rest
        return None, parts

    def _walk(self, base: Path, parts: list[str], inside: bool = False) -> tuple[Path | None, list[str]]:
        """Down the folders; ``inside``: the first one is a package already."""
        found = base / "__init__.py" if inside else None
        for number, part in enumerate(parts):
            if (base / f"{part}.py").is_file():
                return self._within(base / f"{part}.py"), parts[number + 1 :]
            if not (base / part).is_dir():
                return self._within(found), parts[number:]
            base = base / part
            found = base / "__init__.py"
        return self._within(found), []

    def _within(self, path: Path | None) -> Path | None:
        if path is None or not path.is_file():
            return None
        path = path.resolve()
        return path if path.is_relative_to(self._root) else None

    def _read(self, path: Path) -> Exports:
        if path not in self._exports:
            try:
                small = path.stat().st_size <= MOST_BYTES
                self._exports[path] = exports(decoded(path.read_bytes())) if small else _NOTHING
            except (OSError, Unreadable, SyntaxError, ValueError, RecursionError, MemoryError):
                self._exports[path] = _NOTHING  # the file has a row of its own
        return self._exports[path]

    def _has(self, path: Path, name: str, seen: frozenset[Path]) -> bool:
        offered = self._read(path)
        if name in offered.names or name in offered.classes:
            return True
        below = [self.module(star, path)[0] for star in offered.stars]
        return any(one is not None and one not in seen and self._has(one, name, seen | {path}) for one in below)

    def _find(self, name: str, file: Path) -> Origin:
        if name.startswith(HERE):
            return self._member(file, [name.removeprefix(HERE)])
        path, rest = self.module(name, file)
        if path is None:
            return Own() if name.startswith(".") else canonical(name)
        return self._member(path, rest) if rest else Own()

    def _member(self, path: Path, parts: list[str]) -> Origin:
        offered, (name, *rest) = self._read(path), parts
        if name in offered.names:
            return self.follow(".".join([offered.names[name], *rest]), path)
        if name in offered.classes and not rest:
            bases = [self.follow(base, path) for base in offered.classes[name]]
            return Own(frozenset[str]().union(*({one} if isinstance(one, str) else one.roots for one in bases)))
        star = next((star for star in offered.stars if self.offers(star, name, path)), None)
        return self.follow(".".join([member(star, name), *rest]), path) if star is not None else Own()
