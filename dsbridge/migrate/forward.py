"""From a batch to its loss, as a module: the script's own lines, in the script's order, ready for ``dsb.model``."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, reduce
from itertools import groupby
from types import CodeType, FunctionType
from typing import Any

import torch

from dsbridge.model.nodes import TracedFloat, TracedInt


@dataclass(frozen=True, slots=True)
class Ref:
    """A value of a program: "input" (a number), "tensor" or "made" (names, numbers), and where in it.

    >>> Ref("made", 3, (0,)).kind
    'made'
    """

    kind: str
    key: Any
    path: tuple[Any, ...] = ()


class Field(str):
    """In a path: the name of a dataclass's field.

    >>> at(Ref("input", 0), (Field("kind"),))
    'input'
    """


class Size(int):
    """A size that knows its tensor and axis, ``origin``; computing with it keeps both sides.

    >>> rows = Size(32, ("x", 0)); (rows * 2).origin[0], rows + 1
    ('*', 33)
    """

    origin: Any

    def __new__(cls, value: int, origin: Any) -> Size:
        """``origin``: (tensor, axis), or (symbol, left, right)."""
        made = super().__new__(cls, value)
        made.origin = origin
        return made

    def __reduce__(self) -> Any:
        return int, (int(self),)


_ARITHMETIC: dict[str, Callable[..., Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "//": operator.floordiv, "%": operator.mod,
}  # fmt: skip


def _method(symbol: str, reflected: bool) -> Callable[..., Any]:
    def method(self: Size, other: Any) -> Any:
        if not isinstance(other, int) or isinstance(other, bool):
            return NotImplemented
        left, right = (other, self) if reflected else (self, other)
        return Size(_ARITHMETIC[symbol](int(left), int(right)), (symbol, left, right))

    return method


for _name, _symbol in (("add", "+"), ("sub", "-"), ("mul", "*"), ("floordiv", "//"), ("mod", "%")):
    setattr(Size, f"__{_name}__", _method(_symbol, False))
    setattr(Size, f"__r{_name}__", _method(_symbol, True))


@dataclass(frozen=True, slots=True)
class SizeOf:
    """A size among the arguments of an operation: of a value, along an axis; or computed from others."""

    origin: Any


@dataclass(slots=True)
class Operation:
    """One line's call: a torch function by its full name, or a module by its path. Values among arguments are ``Ref``."""

    name: str
    module: str
    args: Any
    kwargs: Any
    file: str
    line: int

    @property
    def what(self) -> str:
        """For messages."""
        return f"call of {self.module}" if self.module else self.name.rpartition(".")[2]


@dataclass(slots=True)
class Program:
    """A training step's forward.

    ``inputs``: names of arguments; ``paths``: where in a batch each lies (None: made by the script);
    ``loss``: what ``backward`` was called on; ``file``, ``line``: where the batch was fetched.
    """

    inputs: list[str] = field(default_factory=list)
    paths: list[tuple[Any, ...] | None] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)
    loss: Ref = Ref("made", 0)
    file: str = ""
    line: int = 1

    def taken(self, batch: Any) -> list[torch.Tensor]:
        """The inputs out of a batch."""
        return [at(batch, path) for path in self.paths if path is not None]


def at(value: Any, path: Sequence[Any]) -> Any:
    """The part of a nested value that a path leads to.

    >>> at({"x": (1, 2)}, ("x", 1))
    2
    """
    return reduce(lambda held, part: getattr(held, part) if type(part) is Field else held[part], path, value)


class TrainStep(torch.nn.Module):  # type: ignore[misc]
    """The forward of a training step; made by ``train_step``. Takes a batch's tensors, returns the loss."""

    program: Program


def train_step(program: Program, modules: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> TrainStep:
    """The module of a program. ``modules``: those that it calls, by name; ``tensors``: parameters and constants of its own."""
    code = compile(f"def forward(self, {', '.join(program.inputs)}):\n    return run(self, ({', '.join(program.inputs)},))",
                   program.file or "<step>", "exec")  # fmt: skip
    moved = _at_line(code.co_consts[0], program.line)
    forward = FunctionType(moved, {"run": _run}, "forward")
    cls = type("TrainStep", (TrainStep,), {"forward": forward, "__module__": __name__, "program": program})
    made: TrainStep = cls()
    for name, module in modules.items():
        made.add_module(name, module)
    for name, tensor in tensors.items():
        if isinstance(tensor, torch.nn.Parameter):
            made.register_parameter(name, tensor)
        else:
            made.register_buffer(name, tensor)
    return made


def _run(step: TrainStep, inputs: Sequence[Any]) -> Any:
    program = step.program
    made: dict[int, Any] = {}

    def value(noted: Any) -> Any:
        if isinstance(noted, Ref):
            if noted.kind == "made":
                return at(made[noted.key], noted.path)
            return inputs[noted.key] if noted.kind == "input" else at_path(step, noted.key)
        if isinstance(noted, SizeOf):
            return _size(noted.origin, value)
        if isinstance(noted, dict):
            return {key: value(one) for key, one in noted.items()}
        if isinstance(noted, slice):
            return slice(value(noted.start), value(noted.stop), value(noted.step))
        if type(noted) in (tuple, list):
            return type(noted)(map(value, noted))
        return noted

    numbered = enumerate(program.operations)
    for file, group in groupby(numbered, key=lambda one: one[1].file):
        operations = list(group)
        calls = [_call(step, number, operation, value, made) for number, operation in operations]
        _segment(file, tuple(operation.line for _, operation in operations))(calls)
    return value(program.loss)


def _call(step: Any, number: int, operation: Operation, value: Any, made: dict[int, Any]) -> Callable[[], Any]:
    function = at_path(step, operation.module) if operation.module else function_named(operation.name)

    def call() -> None:
        args = value(operation.args)
        result = function(*args, **value(operation.kwargs))
        made[number] = args[0] if operation.name.endswith("__setitem__") else result

    return call


def at_path(step: Any, path: str) -> Any:
    """A module or a tensor below a module."""
    return reduce(lambda found, name: getattr(found, name), path.split("."), step)


def _size(origin: Any, value: Any) -> Any:
    if len(origin) == 3:
        symbol, left, right = origin
        return _ARITHMETIC[symbol](value(left), value(right))
    tensor, axis = origin
    return value(tensor).shape[axis]


@lru_cache(maxsize=256)
def _segment(file: str, lines: tuple[int, ...]) -> Callable[[list[Any]], None]:
    """A function that stands, for whoever looks at frames, on these lines of the script, one call after the other."""
    source = "def segment(calls):\n" + "\n".join(f"    calls[{n}]()" for n in range(len(lines)))
    import ast

    tree = ast.parse(source)
    body = tree.body[0]
    assert isinstance(body, ast.FunctionDef)
    for statement, line in zip(body.body, lines, strict=True):
        for node in ast.walk(statement):
            if hasattr(node, "lineno"):
                node.lineno = node.end_lineno = max(line, 1)  # type: ignore[attr-defined]
    body.lineno = 1
    names: dict[str, Any] = {}
    exec(compile(tree, file or "<step>", "exec"), names)
    segment: Callable[[list[Any]], None] = names["segment"]
    return segment


def _at_line(code: CodeType, line: int) -> CodeType:
    return code.replace(co_firstlineno=max(line - 1, 1))


@lru_cache(maxsize=1024)
def function_named(name: str) -> Any:
    """A torch function by its full name, as ``torch.overrides.resolve_name`` says it.

    >>> function_named("torch.nn.functional.relu")
    <function relu at ...>
    """
    first, *parts = name.split(".")
    assert first == "torch", name
    return reduce(getattr, parts, torch)


def unsized(value: Any) -> Any:
    """Sizes that remember, in nested arguments, as ``SizeOf``; numbers of other tracings as plain ones."""
    if isinstance(value, Size):
        return SizeOf(tuple(unsized(one) for one in value.origin))
    if isinstance(value, (TracedInt, TracedFloat)):
        return int(value) if isinstance(value, int) else float(value)
    if isinstance(value, dict):
        return {key: unsized(one) for key, one in value.items()}
    if isinstance(value, slice):
        return slice(unsized(value.start), unsized(value.stop), unsized(value.step))
    if isinstance(value, (tuple, list)) and not hasattr(value, "_fields"):
        return (list if isinstance(value, list) else tuple)(map(unsized, value))
    return value
