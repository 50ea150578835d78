"""What makes a cell: a class and its arguments, which are plain values, other cells, or parameters of the class around it."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dsbridge.model.code import Code, lift

MANY = 3  # equal cells in a row, from which on they are written once


class Refused(Exception):
    """This layer or operation, with these settings, has no equivalent; the text says why."""


@dataclass(eq=False, slots=True)
class Parameter:
    """An argument of the class around; its name is settled when all of them are known."""

    name: str = ""


@dataclass(slots=True)
class Construct:
    """``callee(*args, **args)``: all arguments are kept by name, so that constructs of one callee can be compared.

    The first ``positional`` ones are written without their names; those equal to ``defaults`` are not written.
    ``weights``: torch's tensors by their names in the cell, None for what the cell has no place for, where
    ``dsb.checkpoint`` has no rule of its own for this pair; ``kept``: what the cell has beside.
    """

    callee: str
    args: dict[str, Any] = field(default_factory=dict)
    positional: int = 0
    defaults: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, str | None] = field(default_factory=dict)
    kept: tuple[str, ...] = ()

    def code(self) -> Code:
        """The call as source.

        >>> str(Construct("nn.Dense", {"in_channels": 3, "out_channels": 4, "has_bias": True}, 2, {"has_bias": True}).code())
        'nn.Dense(3, 4)'
        """
        args = _simplified(self.callee, self.args)
        first = list(args)[: self.positional]
        keywords = {
            name: value
            for name, value in args.items()
            if name not in first and not (name in self.defaults and equal(value, self.defaults[name]))
        }
        tree = ast.Call(
            ast.parse(self.callee, mode="eval").body,
            [written(args[name]) for name in first],
            [ast.keyword(name, written(value)) for name, value in keywords.items()],
        )
        return Code(tree)


@dataclass(slots=True)
class Cells:
    """``nn.SequentialCell``, ``nn.CellList`` or ``nn.CellDict`` of constructs, by name; ``named``: names are no numbers."""

    callee: str
    cells: dict[str, Any]

    @property
    def named(self) -> bool:
        """Whether names must be written."""
        return list(self.cells) != [str(number) for number in range(len(self.cells))]

    def code(self, function_name: str = "") -> Code:
        """The call as source; ``function_name``: what is called, if not the class."""
        values = [written(one) for one in self.cells.values()]
        function = ast.parse(function_name or self.callee, mode="eval").body
        if not self.named:
            values = _repeated(values)
            if self.callee != "nn.CellList":
                return Code(ast.Call(function, values, []))
            only = values[0].value if len(values) == 1 and isinstance(values[0], ast.Starred) else ast.List(values, ast.Load())
            return Code(ast.Call(function, [only], []))
        named = zip(self.cells, values, strict=True)
        pairs: list[ast.expr] = [ast.Tuple([lift(name), value], ast.Load()) for name, value in named]
        ordered = ast.Call(ast.Name("OrderedDict", ast.Load()), [ast.List(pairs, ast.Load())], [])
        return Code(ast.Call(function, [ordered], []))


def _repeated(values: list[ast.expr]) -> list[ast.expr]:
    """Three and more of the same in a row as ``*[... for _ in range(3)]``."""
    made: list[ast.expr] = []
    for _, group in itertools.groupby(values, ast.unparse):
        same = list(group)
        if len(same) < MANY:
            made += same
            continue
        count = ast.parse(f"range({len(same)})", mode="eval").body
        each = ast.comprehension(ast.Name("_", ast.Store()), count, [], 0)
        made.append(ast.Starred(ast.ListComp(same[0], [each]), ast.Load()))
    return made


def _simplified(callee: str, args: Mapping[str, Any]) -> Mapping[str, Any]:
    """No padding is written as people write it."""
    if callee.startswith("nn.Conv") and equal(args.get("padding"), 0) and args.get("pad_mode") == "pad":
        return {name: "valid" if name == "pad_mode" else value for name, value in args.items() if name != "padding"}
    return args


def equal(one: Any, other: Any) -> bool:
    """Whether both are the same value of the same type: 1, 1.0 and True are three.

    >>> equal(1, 1), equal(1, True)
    (True, False)
    """
    return type(one) is type(other) and bool(one == other)


def written(value: Any) -> ast.expr:
    """A value, a cell or a parameter as an expression."""
    if isinstance(value, Parameter):
        return ast.Name(value.name, ast.Load())
    if isinstance(value, (Construct, Cells)):
        return value.code().tree
    if isinstance(value, tuple):
        return ast.Tuple([written(one) for one in value], ast.Load())
    return lift(value)
