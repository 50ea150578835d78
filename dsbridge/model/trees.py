"""The live model as a tree of constructs: layers as their cells, containers as instances of classes to be emitted."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn.utils.parametrize import ParametrizationList

from dsbridge.checkpoint.rules import Rule
from dsbridge.errors import Unsupported
from dsbridge.model import helpers, mint
from dsbridge.model.bodies import Body, body
from dsbridge.model.construct import Cells, Construct, Refused
from dsbridge.model.conversion import ConversionReport
from dsbridge.model.frames import Frame
from dsbridge.model.kept import COUNTER
from dsbridge.model.layers.registry import Seen, find
from dsbridge.model.loops import folded
from dsbridge.model.modes import merged
from dsbridge.model.recording import Recording
from dsbridge.model.spelling import attribute, holds_lists, speller

SEQUENTIAL = "nn.SequentialCell"


@dataclass(frozen=True, slots=True)
class Own:
    """A parameter or buffer of a container itself."""

    shape: tuple[int, ...]
    dtype: Any
    trainable: bool


@dataclass(eq=False, slots=True)
class Instance:
    """One container of the model. ``construct`` is filled in when its class is known."""

    path: str
    module: torch.nn.Module
    children: dict[str, Any] = field(default_factory=dict)
    own: dict[str, Own] = field(default_factory=dict)
    numbers: dict[str, Any] = field(default_factory=dict)
    train: Body | None = None
    evaluated: Body | None = None  # where it does something else
    base: str = "nn.Cell"
    construct: Construct | None = None

    @property
    def depth(self) -> int:
        """How many levels of instances are below it, and itself."""
        return 1 + max((one.depth for one in instances_in(self.children)), default=0)


def instances_in(value: Any) -> list[Instance]:
    """The instances directly in a container's children, those in lists included."""
    if isinstance(value, Instance):
        return [value]
    if isinstance(value, Cells):
        return instances_in(value.cells)
    return [found for one in value.values() for found in instances_in(one)] if isinstance(value, dict) else []


def _constructs(value: Any) -> Iterator[Construct]:
    """The cells directly in a container's children, those in lists and in arguments included."""
    if isinstance(value, Construct):
        yield value
        value = value.args
    elif isinstance(value, Cells):
        value = value.cells
    if isinstance(value, dict):
        for one in value.values():
            yield from _constructs(one)


class LayerRefused(Unsupported):
    """A layer's entry refuses its settings; what its forward calls may still be known."""


class Builder:
    """Makes the tree from a model and what was recorded of it in both modes."""

    def __init__(
        self, model: torch.nn.Module, train: Recording, evaluated: Recording, report: ConversionReport, flavour: str = "nn",
        opened: frozenset[str] = frozenset(),
    ) -> None:  # fmt: skip
        """``opened``: paths of layers that were recorded like any other module, as their entries refuse them."""
        self._flavour, self._opened = flavour, opened
        self._model, self._train, self._evaluated, self.report = model, train, evaluated, report
        self._ran = {path for recording in (train, evaluated) for path in recording.used()}
        self.instances: list[Instance] = []
        self.cells: dict[str, Construct] = {}
        self.rules: list[Rule] = []
        self._takes: dict[str, tuple[int, ...]] = {}
        self.unused: list[str] = []

    def build(self) -> Any:
        """The root: an instance, or a single cell."""
        return self._value("", self._model)

    def helpers(self) -> list[str]:
        """The helpers that cells and bodies use, and those that these use."""
        names = set()
        for one in self.instances:
            names |= {made.callee for made in _constructs(one.children)}
            lines = [line for written in (one.train, one.evaluated) if written for line in written.statements]
            names |= {part.id for line in lines for part in ast.walk(line) if isinstance(part, ast.Name)}
        return helpers.needed(names)

    def names_of_outputs(self) -> list[str]:
        """Of a model that returns a mapping: its class's name, and the names of its tensors, in order."""
        frames = self._train.frames.get("", ())
        return frames[0].names if frames else []

    def arguments(self) -> list[str]:
        """The names of the model's arguments that hold tensors; a sequence has one."""
        frames = self._train.frames.get("", ())
        return list(frames[0].arguments) if frames else ["input"]

    def spell(self, module: torch.nn.Module) -> Callable[[str], ast.expr]:
        """How paths below a module are spelled."""
        return speller(module, self._flavour, frozenset(id(self._model.get_submodule(path)) for path in self._opened))

    def _value(self, path: str, module: torch.nn.Module) -> Any:
        make = None if path in self._opened else find(module)
        if make is not None:
            return self._leaf(path, module, make)
        if type(module) is torch.nn.Sequential:
            return Cells("nn.SequentialCell", self._children(path, module))
        if type(module) is torch.nn.ModuleList:
            return Cells("nn.CellList", self._children(path, module))
        if type(module) is torch.nn.ModuleDict and not holds_lists(module):
            return Cells("nn.CellDict", self._children(path, module))
        return self._instance(path, module)

    def _leaf(self, path: str, module: torch.nn.Module, make: Any) -> Construct:
        calls = tuple(self._train.leaf_calls.get(path, ()) or self._evaluated.leaf_calls.get(path, ()))
        try:
            made: Construct = (mint.layer(module) if self._flavour == "mint" else None) or make(module, Seen(calls))
        except Refused as exc:
            raise LayerRefused(path, type(module).__name__, str(calls[0].place) if calls else "", str(exc)) from exc
        self.rules += rules_of(path, module, made)
        self.cells[path] = made
        return made

    def _children(self, path: str, module: torch.nn.Module) -> dict[str, Any]:
        """What a module holds. A part that never ran, in neither mode, is left out, which is a finding."""
        found = {}
        for name, child in module._modules.items():
            if child is None:
                continue
            below = f"{path}.{name}" if path else name
            keeps_place = isinstance(module, (torch.nn.Sequential, torch.nn.ModuleList))
            ran = any(one == below or one.startswith(below + ".") for one in self._ran)
            if not keeps_place and not ran and find(child) is None:
                self._leave_out(below, child)
                continue
            found[name] = self._value(below, child)
        return found

    def _leave_out(self, path: str, module: torch.nn.Module) -> None:
        self.unused.append(path)
        held = sum(1 for _ in module.state_dict())
        elsewhere = any(one is module for other, one in self._model.named_modules(remove_duplicate=False) if other in self._ran)
        if held and not elsewhere:
            self.report.add(
                "unused-module",
                "warning",
                path,
                f"{type(module).__name__} ran in neither mode: its {held} tensors are left out",
            )

    def _instance(self, path: str, module: torch.nn.Module) -> Instance:
        made = Instance(path, module, self._children(path, module))
        tensors = {**module._parameters, **module._buffers}
        here = f"{path}." if path else ""
        # an opened layer has its own names, not those of the cell that ours would be
        literal = path in self._opened or isinstance(module, ParametrizationList)
        self.rules += [
            Rule((here + name,), (here + attribute(name),))
            for name, t in tensors.items()
            if t is not None and name != COUNTER and (literal or attribute(name) != name)
        ]
        if tensors.pop(COUNTER, None) is not None:
            self.rules.append(Rule((here + COUNTER,), ()))
        made.own = {
            attribute(name): Own(tuple(t.shape), t.dtype, isinstance(t, torch.nn.Parameter) and t.requires_grad)
            for name, t in tensors.items()
            if t is not None
        }
        if isinstance(module, torch.nn.Sequential) and type(module).forward is torch.nn.Sequential.forward:
            made.base = SEQUENTIAL
        else:
            made.base = base_of(module)
            self._bodies(made)
        self.instances.append(made)
        return made

    def _bodies(self, made: Instance) -> None:
        frames = [self._only(recording.frames.get(made.path, []), made) for recording in (self._train, self._evaluated)]
        train, evaluated = frames
        self._write_bodies(made, train, evaluated)
        if made.path:
            self._drop_unread(made)

    def _drop_unread(self, made: Instance) -> None:
        """Arguments that the body never reads are not passed; a sequence passes its one argument always."""
        bodies = [one for one in (made.train, made.evaluated) if one is not None]
        holder = self._model.get_submodule(made.path.rpartition(".")[0])
        if not bodies or isinstance(holder, torch.nn.Sequential) or len({tuple(one.arguments) for one in bodies}) > 1:
            return
        read = {n.id for one in bodies for line in one.statements for n in ast.walk(line) if isinstance(n, ast.Name)}
        kept = [number for number, name in enumerate(bodies[0].arguments) if name in read]
        if len(kept) < len(bodies[0].arguments):
            self._takes[made.path] = tuple(kept)
            for one in bodies:
                one.arguments = [one.arguments[number] for number in kept]

    def _write_bodies(self, made: Instance, train: Frame | None, evaluated: Frame | None) -> None:
        if train is None or evaluated is None:
            made.train = self._body(train or evaluated, made) if train or evaluated else None
            return
        if merged(train, evaluated):
            made.train = self._body(train, made)
            return
        made.train, made.evaluated = self._body(train, made), self._body(evaluated, made)
        if made.train.text() == made.evaluated.text():
            made.evaluated = None

    def _only(self, frames: list[Frame], made: Instance) -> Frame | None:
        """The one frame of a module: if it is called several times it must do the same each time."""
        if not frames:
            return None
        texts = {self._body(frame, made).text() for frame in frames}
        if len(texts) > 1:
            raise Unsupported(
                made.path, "forward", "", f"it does {len(texts)} different things in {len(frames)} calls of one forward"
            )
        return frames[0]

    def _body(self, frame: Frame | None, made: Instance) -> Body:
        assert frame is not None
        spell = self.spell(made.module)
        written = body(frame, spell, frozenset(helpers.sources()), self._takes, self._flavour)
        for (_, name), value in written.numbers.items():
            made.numbers[name] = value
        lists = {name: len(m) for name, m in made.module.named_modules() if name and type(m) is torch.nn.ModuleList}
        names = {n.id for line in written.statements for n in ast.walk(line) if isinstance(n, ast.Name)}
        lengths = {ast.unparse(spell(name)): length for name, length in lists.items()}
        written.statements[:] = folded(written.statements, lengths, names)
        return written


def base_of(module: torch.nn.Module) -> str:
    """The class of MindSpore that holds children under these names."""
    if isinstance(module, (torch.nn.ModuleList, torch.nn.Sequential)):
        return SEQUENTIAL  # a CellList cannot be called in graph mode, whatever construct it has
    return "nn.Cell" if all(name.isidentifier() for name in module._modules) else "nn.CellDict"


def rules_of(path: str, module: torch.nn.Module, made: Construct) -> list[Rule]:
    """Rules for a layer's tensors where ``dsb.checkpoint`` has none for this pair of classes."""
    here = f"{path}." if path else ""
    held = {*dict(module.named_parameters(recurse=False)), *dict(module.named_buffers(recurse=False))}
    found = [Rule((here + name,), (here + target,) if target else ()) for name, target in made.weights.items() if name in held]
    return found + [Rule((), (here + name,)) for name in made.kept]
