"""What a forward keeps between calls: a recording is one call, so that nothing of it may depend on an earlier one."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import torch

from dsbridge.errors import Unsupported
from dsbridge.model.caches import Origin, fills
from dsbridge.model.frames import facts
from dsbridge.model.held import Tensor, held
from dsbridge.model.nodes import Place
from dsbridge.model.recording import Recording
from dsbridge.model.source import functions

HINT = "pass it in and return it, or keep it in the training loop"
IsLeaf = Callable[[str, torch.nn.Module], bool]
COUNTER = "num_batches_tracked"  # of batch norms; nothing is computed from it while momentum is a number
_TORCHS = {*vars(torch.nn.Module()), "forward"}


class Writes:
    """Sees whether one call writes into parameters and buffers, through whatever view of them."""

    def __init__(self, args: Any, named: Callable[[torch.Tensor], bool]) -> None:
        """``args``: tensors that the call is given; ``named``: whether one is a parameter, a buffer or an attribute."""
        whole = (_whole(one) for one in args if isinstance(one, torch.Tensor))
        self._before = [(one, facts(one)[2]) for one in whole if named(one)]

    def refuse(self, path: str, name: str, place: Place) -> None:
        """Raise ``Unsupported`` if one of them was written to."""
        if any(facts(one)[2] != version for one, version in self._before):
            text = "it writes into a buffer or a parameter of a module, which the next call would find changed"
            raise Unsupported(path, name, str(place), text, HINT)


def _whole(tensor: torch.Tensor) -> torch.Tensor:
    with torch._C.DisableTorchFunction():
        return tensor if tensor._base is None else tensor._base


@dataclass(slots=True)
class Kept:
    """What the modules of a copy hold before it runs."""

    copy: torch.nn.Module
    original: torch.nn.Module
    is_leaf: IsLeaf
    before: dict[tuple[str, str], Any]
    filled: list[tuple[str, str, Any]] = field(default_factory=list)  # caches: path, name, and what they hold

    @classmethod
    def of(cls, copy: torch.nn.Module, original: torch.nn.Module, is_leaf: IsLeaf) -> Kept:
        """``original`` is what was copied: its tensors are what the copy's were."""
        before = {(path, name): held(value) for path, module in copy.named_modules() for name, value in _attributes(module)}
        return cls(copy, original, is_leaf, before)

    def refuse_changes(self, moved: Collection[int], origin: Origin) -> None:
        """Raise ``Unsupported``, with the line that does it, for what is something else after a forward.

        ``moved``: identities of statistics that the cell moves, too. Layers that have an entry may change their buffers.
        ``origin``: what a tensor was made of. Caches that were filled are noted: ``refuse_unsettled`` looks at them.
        """
        for path, module in self.copy.named_modules():
            leaf = self.is_leaf(path, module)
            for name, value in _attributes(module):
                if name == COUNTER or id(value) in moved or (leaf and name not in module._parameters):
                    continue
                if self._same(path, name, value):
                    continue
                if name not in module._parameters and fills(
                    type(module), name, self.before.get((path, name), held(None)), value, origin
                ):
                    self.filled.append((path, name, held(value)))
                    continue
                where, harmless = _written(type(module), name)
                if name in module._parameters or name in module._buffers or not harmless:
                    text = f"forward changes self.{name}, which the next call would find changed"
                    raise Unsupported(path, f"self.{name}", where, text, HINT)

    def refuse_unsettled(self, same: bool) -> None:
        """Raise ``Unsupported`` for caches that a second call changes again; ``same``: whether it returned the same."""
        for path, name, after in self.filled:
            module = self.copy.get_submodule(path)
            if not same or held(getattr(module, name)) != after:
                text = f"forward changes self.{name}, and a second call with the same inputs does something else"
                raise Unsupported(path, f"self.{name}", _written(type(module), name)[0], text, HINT)

    def _same(self, path: str, name: str, value: Any) -> bool:
        if (path, name) not in self.before:
            return False
        before = self.before[path, name]
        if isinstance(before, Tensor):
            with torch._C.DisableTorchFunction():
                first, now = getattr(self.original.get_submodule(path), name), value
                return now is before.tensor and bool(((first == now) | ((first != first) & (now != now))).all())
        return bool(held(value) == before)


def _attributes(module: torch.nn.Module) -> list[tuple[str, Any]]:
    own = {name: value for name, value in vars(module).items() if name not in _TORCHS}
    return list({**module._parameters, **module._buffers, **own}.items())


def _written(cls: type, name: str) -> tuple[str, bool]:
    """The line outside of the constructor that writes an attribute, and whether each call writes it before it is read.

    A debug output, ``self.last = x``, that no method reads is written for others.
    """
    where, used, reads = "", "", False
    for file, function in functions(cls):
        if function.name == "__init__":
            continue
        fresh = min((one.lineno for one in function.body if isinstance(one, ast.Assign) and _sets(one, name)), default=None)
        for part in ast.walk(function):
            at = getattr(part, "lineno", 0)
            if isinstance(part, ast.AugAssign) and _stores(part.target, name):
                where, reads = where or f"{file}:{at}", True
            elif _stores(part, name):
                where = where or f"{file}:{at}"
            elif _is(part, name) or (isinstance(part, ast.Constant) and part.value == name):
                used = used or f"{file}:{at}"
                reads = reads or fresh is None or at <= fresh
    return where or used, bool(where) and not reads


def _sets(statement: ast.Assign, name: str) -> bool:
    return any(_is(part, name) for target in statement.targets for part in ast.walk(target))


def _stores(node: ast.AST, name: str) -> bool:
    """``self.name`` and ``self.name[0]["key"]`` where they are assigned to."""
    if not isinstance(node, (ast.Attribute, ast.Subscript)) or not isinstance(node.ctx, ast.Store):
        return False
    while isinstance(node, ast.Subscript):
        node = node.value
    return _is(node, name)


def _is(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == name


def refuse_counters(recording: Recording) -> None:
    """Batch norms that are written out count their calls in a buffer, which cells have not: nobody may read it."""
    for path, node in recording.state():
        if str(node.target).rpartition(".")[2] == COUNTER:
            raise Unsupported(path, COUNTER, str(node.place), "forward computes with the number of its calls", HINT)


def named_state(model: torch.nn.Module) -> dict[int, list[str]]:
    """Parameters, buffers and plain attributes that are tensors: all paths of each, by identity."""
    found: dict[int, list[str]] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        for name, value in {**module._parameters, **module._buffers, **vars(module)}.items():
            if isinstance(value, torch.Tensor):
                found.setdefault(id(value), []).append(f"{path}.{name}" if path else name)
    return found
