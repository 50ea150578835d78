"""What several instances of one class have in common, and where they differ: there a class has an argument."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from dsbridge.model.construct import Cells, Construct, Parameter, equal


class Different(Exception):
    """They cannot be one class."""


@dataclass(slots=True)
class Slot:
    """A place where instances differ: the values, one an instance, and names that would say what it is, best first."""

    values: list[Any]
    names: list[str]
    parameter: Parameter


@dataclass(slots=True)
class Slots:
    """All slots; places with the same values share one."""

    slots: list[Slot] = field(default_factory=list)

    def at(self, values: Sequence[Any], names: list[str]) -> Parameter:
        """The parameter for these values."""
        cells = any(isinstance(one, (Construct, Cells)) for one in values)  # two cells are never one
        for slot in () if cells else self.slots:
            if list(map(repr, slot.values)) == list(map(repr, values)):
                slot.names += names
                return slot.parameter
        slot = Slot(list(values), names, Parameter(""))
        self.slots.append(slot)
        return slot.parameter


def unified(values: Sequence[Any], names: list[str], slots: Slots) -> Any:
    """One value for all; ``names``: of the places around, innermost first.

    >>> slots = Slots()
    >>> made = unified([Construct("nn.ReLU", {"k": 1}), Construct("nn.ReLU", {"k": 2})], ["act"], slots)
    >>> made.args["k"] is slots.slots[0].parameter, slots.slots[0].names
    (True, ['k', 'act_k'])
    """
    first = values[0]
    if all(isinstance(one, Construct) for one in values):
        if all(one.callee == first.callee and one.args.keys() == first.args.keys() for one in values):
            args = {key: unified([one.args[key] for one in values], _inside(key, names), slots) for key in first.args}
            return Construct(first.callee, args, first.positional, first.defaults)
        return slots.at(values, names)
    if all(isinstance(one, Cells) for one in values):
        if all(one.callee == first.callee and one.cells.keys() == first.cells.keys() for one in values):
            cells = {key: unified([one.cells[key] for one in values], _inside(key, names), slots) for key in first.cells}
            return Cells(first.callee, cells)
        return slots.at(values, names)
    if any(isinstance(one, (Construct, Cells)) for one in values):
        return slots.at(values, names)
    if all(equal(one, first) for one in values):
        return first
    return slots.at(values, names)


def _inside(key: str, names: list[str]) -> list[str]:
    return [key, *(f"{name}_{key}" for name in names[:1])] if key.isidentifier() else names


def unified_code(trees: Sequence[ast.AST], attribute: Callable[[list[Any]], ast.expr]) -> Any:
    """One piece of source for all; numbers that differ become what ``attribute`` gives. Raises ``Different``."""
    first = trees[0]
    if any(type(tree) is not type(first) for tree in trees):
        raise Different
    if isinstance(first, ast.Constant):
        values: list[Any] = [tree.value for tree in trees if isinstance(tree, ast.Constant)]
        if all(equal(one, first.value) for one in values):
            return first
        if any(not isinstance(one, (int, float)) for one in values):
            raise Different
        return attribute(values)
    if isinstance(first, (ast.Tuple, ast.List)):
        values = [_literal(tree) for tree in trees]
        if all(value is not None for value in values) and any(value != values[0] for value in values):
            return attribute(values)
    fields = {}
    for name, value in ast.iter_fields(first):
        others: list[Any] = [getattr(tree, name, None) for tree in trees]
        if isinstance(value, list):
            if len({len(other) for other in others}) > 1:
                raise Different
            fields[name] = [unified_code(parts, attribute) for parts in zip(*others, strict=True)]
        elif isinstance(value, ast.AST):
            fields[name] = unified_code(others, attribute)
        elif any(other != value for other in others):
            raise Different
        else:
            fields[name] = value
    made = type(first)(**fields)
    if isinstance(made, (ast.Assign, ast.For)):
        made.lineno = 0  # unparse asks for it
    return made


def _literal(tree: ast.AST) -> Any:
    """The tuple that a tuple or list of numbers is; None for others."""
    try:
        return tuple(ast.literal_eval(tree))
    except (ValueError, TypeError):
        return None
