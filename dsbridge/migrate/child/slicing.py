"""From the tape to the program: what the loss was computed from, backwards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from dsbridge.migrate.child.names import Variables, fitting, input_names, leaves_of
from dsbridge.migrate.child.tape import Entry, Made, Tape, has_history
from dsbridge.migrate.child.where import Place
from dsbridge.migrate.forward import Operation, Program, Ref, SizeOf, at, unsized
from dsbridge.migrate.recording import same_tensors


@dataclass(slots=True)
class Slice:
    """A program, what it needs beside inputs, and the inputs of this step. ``key``: what must be the same in each step."""

    program: Program = field(default_factory=Program)
    modules: dict[str, torch.nn.Module] = field(default_factory=dict)
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    inputs: list[torch.Tensor] = field(default_factory=list)
    places: dict[str, Place] = field(default_factory=dict)  # where its own tensors are read
    findings: list[tuple[str, Place, str]] = field(default_factory=list)

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """All that may be trained."""
        for module in self.modules.values():
            yield from module.parameters()
        yield from (one for one in self.tensors.values() if isinstance(one, torch.nn.Parameter))

    @property
    def key(self) -> list[tuple[Any, ...]]:
        """Each operation with its plain arguments."""
        rows = self.program.operations
        return [(one.name, one.module, one.file, one.line, repr(one.args), repr(one.kwargs)) for one in rows]


def path_in(step: Slice, module: torch.nn.Module) -> str:
    """Where a module is in a step; empty where it is not."""
    held = ((f"{name}.{path}".rstrip("."), one) for name, root in step.modules.items() for path, one in root.named_modules())
    return next((path for path, one in held if one is module), "")


def cut(tape: Tape, loss: torch.Tensor, batch: Any, fetched: Place, variables: Variables) -> Slice:
    """The program that made ``loss``. ``batch``: what the loader gave, at ``fetched``."""
    made = tape.made.get(id(loss))
    result = Slice()
    if made is None:
        result.findings.append(
            ("loss-of-nothing", Place("", 0), "backward was called on a tensor that nothing was seen to make")
        )
        return result
    _Cut(tape, batch, fetched, variables, result).run(made)
    return result


class _Cut:
    """The state of one cut."""

    def __init__(self, tape: Tape, batch: Any, fetched: Place, variables: Variables, result: Slice) -> None:
        self._tape, self._entries, self._variables, self._result, self._fetched = tape, tape.entries, variables, result, fetched
        self._leaves = {id(tensor): (path, tensor) for path, tensor in leaves_of(batch)}
        self._inputs: dict[Any, int] = {}
        self._paths: list[tuple[Any, ...] | None] = []
        self._numbers: dict[int, int] = {}
        self._trained: dict[int, bool] = {}
        self._modules: dict[int, str] = {}
        self._tensors: dict[int, str] = {}

    def run(self, loss: Made) -> None:
        """Fill in the result."""
        kept: set[int] = set()
        waiting = [loss.entry]
        loaded = any(
            id(tensor) in self._leaves for number in self._closure(loss.entry) for tensor in self._entries[number].reads
        )
        while waiting:
            number = waiting.pop()
            if number in kept:
                continue
            kept.add(number)
            entry = self._entries[number]
            waiting += [one.entry for one in _made_in((entry.args, entry.kwargs)) if not self._is_input(one.entry, loaded)]
        self._loaded = loaded
        program = self._result.program
        for number in sorted(kept):
            entry = self._entries[number]
            operation = Operation(
                "" if entry.module is not None else entry.name, self._module(entry), self._value(entry.args, entry),
                self._value(entry.kwargs, entry), entry.place.file, entry.place.line,
            )  # fmt: skip
            self._numbers[number] = len(program.operations)
            program.operations.append(operation)
        program.loss = Ref("made", self._numbers[loss.entry], loss.path)
        program.file, program.line = self._fetched if self._fetched.file else self._entries[loss.entry].place
        self._name_inputs()

    def _name_inputs(self) -> None:
        """Name inputs as the script does; those of a batch in its order, before others."""
        program, order = self._result.program, sorted(range(len(self._paths)), key=self._place)
        moved = {number: place for place, number in enumerate(order)}
        program.operations = [
            replace(one, args=_renumbered(one.args, moved), kwargs=_renumbered(one.kwargs, moved)) for one in program.operations
        ]
        program.loss = _renumbered(program.loss, moved)
        self._paths = [self._paths[number] for number in order]
        self._result.inputs = [self._result.inputs[number] for number in order]
        named = iter(input_names(self._fetched, [path for path in self._paths if path is not None]))
        names: list[str] = []
        for path, tensor in zip(self._paths, self._result.inputs, strict=True):
            said = next(named) if path is not None else self._variables.name(tensor) or f"x{len(names)}"
            names.append(fitting(said, [*names, *self._result.modules, *self._result.tensors]))
        program.inputs, program.paths = names, self._paths

    def _place(self, number: int) -> tuple[int, int]:
        path = self._paths[number]
        order = [one for one, _ in self._leaves.values()]
        return (0, order.index(path)) if path in order else (1, number)

    def _closure(self, first: int) -> set[int]:
        seen: set[int] = set()
        waiting = [first]
        while waiting:
            number = waiting.pop()
            if number not in seen:
                seen.add(number)
                entry = self._entries[number]
                waiting += [one.entry for one in _made_in((entry.args, entry.kwargs))]
        return seen

    def _is_input(self, number: int, loaded: bool) -> bool:
        """Whether what an operation made is taken as given: data that the script makes itself, other numbers each time."""
        if self._depends(number):
            return False
        return not loaded or self._fetches(number)

    def _fetches(self, number: int) -> bool:
        """Whether it is computed from data, none of which is of this batch, and not of constants alone."""
        closure = self._closure(number)
        reads = [tensor for one in closure for tensor in self._entries[one].reads]
        return bool(reads) and not any(id(tensor) in self._leaves for tensor in reads) and sum(t.numel() for t in reads) > 4096

    def _depends(self, number: int) -> bool:
        """Whether a value depends on anything that is trained."""
        if number not in self._trained:
            entry = self._entries[number]
            self._trained[number] = (
                entry.module is not None
                or any(tensor.requires_grad for tensor in entry.reads)
                or any(self._depends(one.entry) for one in _made_in((entry.args, entry.kwargs)))
            )
        return self._trained[number]

    def _module(self, entry: Entry) -> str:
        module = entry.module
        if module is None:
            return ""
        if id(module) not in self._modules:
            path = self._variables.owner(module)
            root, _, rest = path.partition(".")
            if not root:
                root = fitting(type(module).__name__.lower(), self._result.modules)
                self._result.modules[root] = module
            else:
                owner = self._variables.modules[root]
                held = next((name for name, one in self._result.modules.items() if one is owner), "")
                root = held or fitting(root, self._result.modules)
                self._result.modules[root] = owner
            self._modules[id(module)] = f"{root}.{rest}".rstrip(".")
        return self._modules[id(module)]

    def _value(self, value: Any, entry: Entry) -> Any:
        if isinstance(value, Made):
            if value.entry in self._numbers:
                return Ref("made", self._numbers[value.entry], value.path)
            tensor = at(self._entries[value.entry].result, value.path)
            return self._input((value.entry, value.path), None, tensor)
        if isinstance(value, torch.Tensor):
            return self._tensor(value, entry)
        value = unsized(value)
        if isinstance(value, SizeOf):
            return SizeOf(tuple(self._value(one, entry) for one in value.origin))
        if isinstance(value, dict):
            return {key: self._value(one, entry) for key, one in value.items()}
        if isinstance(value, slice):
            return slice(*(self._value(one, entry) for one in (value.start, value.stop, value.step)))
        if type(value) in (tuple, list):
            return type(value)(self._value(one, entry) for one in value)
        return value

    def _input(self, key: Any, path: tuple[Any, ...] | None, tensor: torch.Tensor) -> Ref:
        if key not in self._inputs:
            self._inputs[key] = len(self._inputs)
            self._paths.append(path)
            self._result.inputs.append(tensor)
        return Ref("input", self._inputs[key])

    def _tensor(self, tensor: torch.Tensor, entry: Entry) -> Ref:
        if id(tensor) in self._leaves:
            path, _ = self._leaves[id(tensor)]
            return self._input(("batch", path), path, tensor)
        if id(tensor) not in self._tensors:
            root, _, rest = self._variables.owner_of_tensor(tensor).partition(".")
            if root:
                owner = self._variables.modules[root]
                held = next((name for name, one in self._result.modules.items() if one is owner), "")
                root = held or fitting(root, self._result.modules)
                self._result.modules[root] = owner
                self._tensors[id(tensor)] = f"{root}.{rest}"
            elif isinstance(tensor, torch.nn.Parameter) or not self._changes(tensor):
                if self._tape.is_earlier(tensor):
                    text = "it uses a tensor of the step before, which does not come out of the loader"
                    self._result.findings.append(("state-carried", entry.place, text))
                elif has_history(tensor):
                    text = f"it uses a tensor that {type(tensor.grad_fn).__name__} made, which no call of torch was seen to do"
                    self._result.findings.append(("unseen-operation", entry.place, text))
                name = fitting(self._variables.name(tensor) or "constant", [*self._result.modules, *self._result.tensors])
                self._result.tensors[name] = tensor
                self._result.places[name] = entry.place
                self._tensors[id(tensor)] = name
            else:
                return self._input(("other", id(tensor)), None, tensor)
        return Ref("tensor", self._tensors[id(tensor)])

    def _changes(self, tensor: torch.Tensor) -> bool:
        """Data that lies outside of loaders: what is held by a variable and needs no gradient may be another each time."""
        return not self._loaded and not has_history(tensor) and not tensor.requires_grad


def _renumbered(value: Any, moved: dict[int, int]) -> Any:
    """Inputs under other numbers."""
    if isinstance(value, Ref):
        return Ref("input", moved[value.key], value.path) if value.kind == "input" else value
    if isinstance(value, SizeOf):
        return SizeOf(_renumbered(value.origin, moved))
    if isinstance(value, dict):
        return {key: _renumbered(one, moved) for key, one in value.items()}
    if isinstance(value, slice):
        return slice(*(_renumbered(one, moved) for one in (value.start, value.stop, value.step)))
    if type(value) in (tuple, list):
        return type(value)(_renumbered(one, moved) for one in value)
    return value


def _made_in(value: Any) -> Iterator[Made]:
    if isinstance(value, Made):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _made_in(one)
    elif isinstance(value, (tuple, list)):
        for one in value:
            yield from _made_in(one)
    elif isinstance(value, slice):
        yield from _made_in((value.start, value.stop, value.step))
    elif hasattr(value, "origin"):
        yield from _made_in(value.origin)


def _alike(first: torch.Tensor, tensor: torch.Tensor) -> bool:
    """Whether it is one tensor, or a constant that is made anew, ``torch.LongTensor([8, 8])``, which nobody sees being made."""
    return tensor is first or (not (has_history(tensor) or tensor.requires_grad) and same_tensors([first], [tensor]))


def differences(slices: list[Slice]) -> list[tuple[str, Place, str]]:
    """What is not the same in all steps, with what each step found."""
    found = [finding for one in slices for finding in one.findings]
    first = slices[0].key if slices else []
    for other in slices[1:]:
        for name, tensor in other.tensors.items():
            if name in slices[0].tensors and not _alike(slices[0].tensors[name], tensor):
                text = f"{name} is another tensor in each step, and does not come out of the loader"
                found.append(("state-carried", other.places[name], text))
        if other.key == first:
            continue
        pairs = zip(first, other.key, strict=False)
        differing = next((pair for pair in pairs if pair[0] != pair[1]), None)
        if differing is None:
            place = slices[0].program.operations[-1]
            found.append(("steps-differ", Place(place.file, place.line), "steps do not consist of the same operations"))
        else:
            (name, module, file, line, *args), (other_name, _, other_file, other_line, *_) = differing
            if (name, file, line) == (other_name, other_file, other_line):
                text = f"{module or name.rpartition('.')[2]} is called with other numbers from step to step: {args[0][:80]}"
                found.append(("numbers-change", Place(file, line), text))
            else:
                text = f"one step calls {module or name}, another {other_name or 'a module'} at {other_file}:{other_line}"
                found.append(("steps-differ", Place(file, line), text))
    return list(dict.fromkeys(found))
