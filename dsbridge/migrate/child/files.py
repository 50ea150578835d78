"""Files that a script saves while it is watched: they are kept in memory, and loaded and copied from there."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable
from functools import wraps
from typing import Any

import torch


class Saved:
    """What torch.save was given, by path. ``tell``: is told of each path that is not written.

    >>> kept = Saved(print)
    >>> kept.install()
    >>> torch.save([1], "/nowhere/a.pt"); shutil.copyfile("/nowhere/a.pt", "/nowhere/b.pt"), torch.load("/nowhere/b.pt")
    /nowhere/a.pt
    ('/nowhere/b.pt', [1])
    >>> kept.remove()
    """

    def __init__(self, tell: Callable[[Any], None]) -> None:
        self._tell = tell
        self._files: dict[str, bytes] = {}
        self._originals: list[tuple[Any, str, Any]] = []

    def install(self) -> None:
        """From now on."""
        self._wrap(torch, "save", self._save)
        self._wrap(torch, "load", self._load)
        for name in ("copy", "copy2", "copyfile"):
            self._wrap(shutil, name, self._copy)
        for owner, name in ((shutil, "move"), (os, "rename"), (os, "replace")):
            self._wrap(owner, name, self._move)
        for name in ("remove", "unlink"):
            self._wrap(os, name, self._remove)

    def remove(self) -> None:
        """Put everything back."""
        for owner, name, original in reversed(self._originals):
            setattr(owner, name, original)
        self._originals.clear()

    def _wrap(self, owner: Any, name: str, instead: Callable[..., Any]) -> None:
        original = getattr(owner, name)

        @wraps(original)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            return instead(original, *args, **kwargs)

        self._originals.append((owner, name, original))
        setattr(owner, name, wrapped)

    def _key(self, path: Any) -> str:
        return os.path.realpath(os.fspath(path)) if isinstance(path, (str, os.PathLike)) else ""

    def _save(self, original: Any, obj: Any, f: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(f, io.BytesIO):  # as pickles of tensors do it
            return original(obj, f, *args, **kwargs)
        target = io.BytesIO()
        original(obj, target, *args, **kwargs)
        key = self._key(f)
        if key:
            self._files[key] = target.getvalue()
        self._tell(f)
        return None

    def _load(self, original: Any, f: Any, *args: Any, **kwargs: Any) -> Any:
        held = self._files.get(self._key(f))
        return original(f if held is None else io.BytesIO(held), *args, **kwargs)

    def _copy(self, original: Any, src: Any, dst: Any, *args: Any, **kwargs: Any) -> Any:
        held = self._files.get(self._key(src))
        if held is None:
            return original(src, dst, *args, **kwargs)
        self._files[self._key(os.path.join(dst, os.path.basename(src)) if os.path.isdir(dst) else dst)] = held
        return dst

    def _move(self, original: Any, src: Any, dst: Any, *args: Any, **kwargs: Any) -> Any:
        if self._key(src) not in self._files:
            return original(src, dst, *args, **kwargs)
        self._copy(original, src, dst)
        del self._files[self._key(src)]
        return dst

    def _remove(self, original: Any, path: Any, *args: Any, **kwargs: Any) -> Any:
        if self._files.pop(self._key(path), None) is None:
            original(path, *args, **kwargs)
