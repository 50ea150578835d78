"""What the script calls things: modules and tensors by its variables, inputs by its loop's targets."""

from __future__ import annotations

import ast
import keyword
import linecache
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import torch

from dsbridge.migrate.child.where import Place, is_users

Leaves = dict[int, tuple[Any, ...]]  # by the tensor's identity: where in the batch it lies
_EPOCHS = ("epochs", "num_epochs", "n_epochs", "max_epochs", "num_train_epochs")
_TAKEN = {"self", "program", "forward", "training", "run", *keyword.kwlist}


def leaves_of(batch: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], torch.Tensor]]:
    """The tensors of a batch, with their paths.

    >>> [path for path, _ in leaves_of({"x": torch.ones(1), "y": (torch.ones(1), "name")})]
    [('x',), ('y', 0)]
    """
    if isinstance(batch, torch.Tensor):
        yield path, batch
    elif isinstance(batch, Mapping):
        for key in batch:
            yield from leaves_of(batch[key], (*path, key))
    elif isinstance(batch, (tuple, list)):
        for number, one in enumerate(batch):
            yield from leaves_of(one, (*path, number))


class Variables:
    """Modules and tensors that the user's frames hold, by name; attributes of ``self`` and of plain objects too."""

    def __init__(self) -> None:
        self.modules: dict[str, torch.nn.Module] = {}
        self.tensors: dict[str, torch.Tensor] = {}
        self.epochs = 0  # how many the script wants, where a variable says so

    def look(self) -> None:
        """At all of the user's frames, innermost first. Tensors that were found before may be called otherwise now."""
        self.tensors = {}
        frame = sys._getframe(1)
        seen: set[int] = set()
        while frame is not None:
            if is_users(frame.f_code.co_filename):
                self._scope(frame.f_locals)
                if id(frame.f_globals) not in seen:
                    seen.add(id(frame.f_globals))
                    self._scope(frame.f_globals)
            frame = frame.f_back  # type: ignore[assignment]

    def _scope(self, names: Mapping[str, Any]) -> None:
        for name, value in list(names.items()):
            self._take(name, value)
            if isinstance(value, Namespace) or (
                not isinstance(value, (torch.nn.Module, torch.Tensor, type)) and is_users(_file_of(type(value)))
            ):
                for attribute, inner in list(getattr(value, "__dict__", {}).items()):
                    self._take(attribute, inner)

    def _take(self, name: str, value: Any) -> None:
        if isinstance(value, torch.nn.Module):
            self.modules.setdefault(name, value)
        elif isinstance(value, torch.Tensor):
            self.tensors.setdefault(name, value)
        elif type(value) is int and name.lower() in _EPOCHS and not self.epochs:
            self.epochs = value

    def owner(self, module: torch.nn.Module) -> str:
        """The path of a module, from the largest module that holds it; empty for one that no variable leads to."""
        found = [
            (sum(1 for _ in root.modules()), -len(name), f"{name}.{path}".rstrip("."))
            for name, root in self.modules.items()
            for path, one in root.named_modules()
            if one is module
        ]
        return max(found)[2] if found else ""

    def owner_of_tensor(self, tensor: torch.Tensor) -> str:
        """The same of a parameter or buffer."""
        for name, root in sorted(self.modules.items(), key=lambda item: -sum(1 for _ in item[1].modules())):
            for held in (root.named_parameters(), root.named_buffers()):
                for path, one in held:
                    if one is tensor:
                        return f"{name}.{path}"
        return ""

    def name(self, tensor: torch.Tensor) -> str:
        """What a tensor is called; empty where nothing says."""
        return next((name for name, one in self.tensors.items() if one is tensor), "")


def _file_of(cls: type) -> str:
    module = sys.modules.get(cls.__module__)
    return getattr(module, "__file__", None) or "<unknown>"


def input_names(place: Place, paths: list[tuple[Any, ...]]) -> list[str]:
    """Names for the tensors of a batch fetched at a place: keys, the loop's targets, or what the batch is unpacked to."""
    targets = _targets(place, 1 + max((path[0] for path in paths if path and isinstance(path[0], int)), default=0))
    names: list[str] = []
    for number, path in enumerate(paths):
        key = next((part for part in reversed(path) if isinstance(part, str)), "")
        named = targets[path[0]] if path and isinstance(path[0], int) and path[0] < len(targets) else ""
        name = key or named or ("x" if len(paths) == 1 else f"x{number}")
        names.append(fitting(name, names))
    return names


def fitting(name: str, taken: Any) -> str:
    """A name that is an identifier and not taken.

    >>> fitting("input-ids", []), fitting("x", ["x"]), fitting("class", [])
    ('input_ids', 'x_2', 'class_')
    """
    name = "".join(letter if letter.isalnum() else "_" for letter in name).strip("_") or "x"
    name = f"x{name}" if name[0].isdigit() else name
    name = f"{name}_" if name in _TAKEN else name
    number, made = 2, name
    while made in taken:
        made, number = f"{name}_{number}", number + 1
    return made


@lru_cache(maxsize=64)
def _tree(file: str) -> ast.Module:
    try:
        return ast.parse("".join(linecache.getlines(file)))
    except SyntaxError:
        return ast.Module([], [])


def _targets(place: Place, width: int) -> list[str]:
    """Names that a batch of this many parts is unpacked to."""
    whole = ""
    for node in ast.walk(_tree(place.file)):
        if isinstance(node, (ast.For, ast.AsyncFor)) and node.lineno <= place.line <= (node.iter.end_lineno or 0):
            found = _parts(node.target)
        elif isinstance(node, ast.Assign) and node.lineno <= place.line <= (node.end_lineno or 0):
            found = _parts(node.targets[0])
        else:
            continue
        if len(found) >= width > 0 and isinstance(found, list):
            return found
        whole = found if isinstance(found, str) else whole
    for node in ast.walk(_tree(place.file)):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name) and isinstance(node.targets[0], ast.Tuple):
            found = _parts(node.targets[0])
            if isinstance(found, list) and len(found) >= width and node.value.id in (whole, "batch", "data"):
                return found
    return []


def _parts(target: ast.expr) -> list[str] | str:
    """The names of a target: of ``i, (x, y)`` those of the inner tuple; of a name, itself."""
    if isinstance(target, ast.Name):
        return target.id
    if not isinstance(target, (ast.Tuple, ast.List)):
        return []
    inner = [one for one in target.elts if isinstance(one, (ast.Tuple, ast.List))]
    if inner:
        return _parts(inner[-1])
    names = [one.id if isinstance(one, ast.Name) else "" for one in target.elts]
    if len(names) == 2 and names[1] in ("batch", "data", "sample", "samples"):
        return names[1]  # for i, batch in enumerate(loader)
    return ["" if name == "_" else name for name in names]
