"""Instances become classes: one for each class of the model, with arguments for what differs."""

from __future__ import annotations

import ast
import inspect
import keyword
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any

from dsbridge.model.bodies import Body
from dsbridge.model.construct import Cells, Construct, Parameter, equal
from dsbridge.model.source import defined
from dsbridge.model.trees import Instance, instances_in
from dsbridge.model.unify import Different, Slot, Slots, unified, unified_code
from dsbridge.model.variants import blank, join


@dataclass(slots=True)
class CellClass:
    """A class of the emitted file."""

    name: str
    origin: str
    instances: list[Instance]
    children: dict[str, Any]
    own: dict[str, Any]
    numbers: dict[str, Any]
    arguments: list[str]
    train: list[ast.stmt] | None
    evaluated: list[ast.stmt] | None
    parameters: list[str] = field(default_factory=list)
    base: str = "nn.Cell"
    defaults: dict[str, Any] = field(default_factory=dict)
    ties: list[tuple[ast.expr, ast.expr]] = field(default_factory=list)
    frozen: list[ast.stmt] = field(default_factory=list)


def classes(instances: Sequence[Instance], taken: set[str]) -> list[CellClass]:
    """The classes of all instances, those that others need first; sets each instance's ``construct``."""
    made: list[CellClass] = []
    for ours in _order(instances):
        groups: dict[str, list[Instance]] = {}
        for one in ours:
            groups.setdefault(_skeleton(one), []).append(one)
        for group in _joined(list(groups.values())):
            made += _grouped(group, taken)
    return made


def _order(instances: Sequence[Instance]) -> list[list[Instance]]:
    """Instances of one class together, after those of classes they hold; classes that hold their own kind level by level."""
    held: dict[Any, set[Any]] = {}
    for one in instances:
        held.setdefault(type(one.module), set()).update(type(below.module) for below in instances_in(one.children))
    try:
        kinds = list(TopologicalSorter(held).static_order())
    except CycleError:
        keys = sorted({(one.depth, type(one.module).__qualname__) for one in instances})
        return [[one for one in instances if (one.depth, type(one.module).__qualname__) == key] for key in keys]
    return [[one for one in instances if type(one.module) is kind] for kind in kinds]


def _joined(groups: list[list[Instance]]) -> list[list[Instance]]:
    """Groups that an optional child or a flag tells apart are joined."""
    if len(groups) == 2:
        joined = join(*groups)
        if joined is not None:
            order = {id(one): number for group in groups for number, one in enumerate(group)}
            return [sorted(joined, key=lambda one: order[id(one)])]
    return groups


def _skeleton(one: Instance) -> str:
    """What instances must share to be one class: children's names, parameters, arguments, statements with numbers blanked."""
    owned = [f"{name}: {len(own.shape)} {own.dtype} {own.trainable}" for name, own in one.own.items()]
    texts = ["|".join(one.children), "|".join(owned)]
    texts += [
        "" if written is None else f"{written.arguments} {blank(written.statements)}" for written in (one.train, one.evaluated)
    ]
    return "\n".join(texts)


def _grouped(group: list[Instance], taken: set[str]) -> list[CellClass]:
    """One class for a group; one for each instance where that cannot be."""
    try:
        return [_made(group, taken)]
    except Different:
        return [_made([one], taken) for one in group]


def _made(group: list[Instance], taken: set[str]) -> CellClass:
    slots, first = Slots(), group[0]
    children = {name: _child([one.children[name] for one in group], name, slots) for name in first.children}
    own = {
        name: unified([Construct("own", _plain(one.own[name])) for one in group], [name], slots) for name in first.own
    }  # fmt: skip
    numbers = {name: unified([one.numbers.get(name) for one in group], [name], slots) for name in first.numbers}
    constants: list[Parameter] = []

    def attribute(values: list[Any]) -> ast.expr:
        parameter = slots.at(values, ["value"])
        constants.append(parameter)
        return _Later(parameter)

    train, evaluated = (_code([one.train for one in group], attribute), _code([one.evaluated for one in group], attribute))
    names = _named(slots.slots, group)
    defaults = _defaults(slots.slots, group)
    for parameter in constants:
        numbers.setdefault(parameter.name, parameter)
    cls = type(first.module)
    made = CellClass(
        _class_name(cls.__name__, taken), defined(cls), group, children, own, numbers,
        list(first.train.arguments) if first.train else [], _settled(train), _settled(evaluated), names, first.base,
    )  # fmt: skip
    ordered = sorted(slots.slots, key=lambda slot: slot.parameter.name in defaults)
    made.parameters = [slot.parameter.name for slot in ordered]
    made.defaults = defaults
    for number, one in enumerate(group):
        args = {slot.parameter.name: slot.values[number] for slot in ordered}
        one.construct = Construct(made.name, args, positional=len(args) - len(defaults), defaults=defaults)
    return made


def _defaults(slots: list[Slot], group: list[Instance]) -> dict[str, Any]:
    """Arguments that can be left out: None for a child that some have, else the original constructor's default."""
    if len(group) < 2:
        return {}
    original = _signature(group)
    found: dict[str, Any] = {}
    for slot in slots:
        name = slot.parameter.name
        default = original[name].default if name in original else None
        if any(value is None for value in slot.values):
            found[name] = None
        elif isinstance(default, (bool, int, float, str)) and any(equal(value, default) for value in slot.values):
            found[name] = default
    return found


def _child(values: list[Any], name: str, slots: Slots) -> Any:
    return unified([_resolved(value) for value in values], [name], slots)


def _resolved(value: Any) -> Any:
    """Instances replaced by the calls of their classes, which are known by now."""
    if isinstance(value, Instance):
        assert value.construct is not None, value.path
        return value.construct
    if isinstance(value, Cells):
        return Cells(value.callee, {key: _resolved(one) for key, one in value.cells.items()})
    return value


def _plain(own: Any) -> dict[str, Any]:
    return {**{f"size{n}": size for n, size in enumerate(own.shape)}, "dtype": own.dtype, "trainable": own.trainable}


def _code(bodies: list[Body | None], attribute: Any) -> list[ast.stmt] | None:
    if any(one is None for one in bodies):
        if any(one is not None for one in bodies):
            raise Different
        return None
    lines = [one.statements for one in bodies if one is not None]
    if len({len(one) for one in lines}) > 1:
        raise Different
    return [unified_code(parts, attribute) for parts in zip(*lines, strict=True)]


class _Later(ast.Name):
    """An attribute whose name is settled later."""

    def __init__(self, parameter: Parameter) -> None:
        super().__init__(id="_", ctx=ast.Load())
        self.parameter = parameter


def _settled(lines: list[ast.stmt] | None) -> list[ast.stmt] | None:
    class Settle(ast.NodeTransformer):
        def visit__Later(self, node: _Later) -> ast.expr:
            return ast.Attribute(ast.Name("self", ast.Load()), node.parameter.name, ast.Load())

    return None if lines is None else [Settle().visit(line) for line in lines]


def _named(slots: list[Slot], group: list[Instance]) -> list[str]:
    """Give each slot a name: the argument or attribute of the original class that has these values, else its place's."""
    names: list[str] = []
    for slot in slots:
        wanted = [*_original(slot, group), *(one for one in slot.names if one.isidentifier())] or [_kind(slot)]
        name = next((one for one in wanted if one not in names and not keyword.iskeyword(one)), "")
        number = 2
        while not name or name in names:
            name, number = f"{wanted[-1]}_{number}", number + 1
        slot.parameter.name = name
        names.append(name)
    return names


def _kind(slot: Slot) -> str:
    return "layer" if any(isinstance(value, (Construct, Cells)) for value in slot.values) else "value"


def _original(slot: Slot, group: list[Instance]) -> list[str]:
    marker = object()
    return [
        name
        for name in _signature(group)
        if name != "self"
        and [_plain_repr(getattr(one.module, name, marker)) for one in group] == list(map(_plain_repr, slot.values))
    ]


def _signature(group: list[Instance]) -> Mapping[str, inspect.Parameter]:
    """The arguments of the original class's constructor; none where Python does not say."""
    try:
        return inspect.signature(type(group[0].module).__init__).parameters
    except (TypeError, ValueError):
        return {}


def _plain_repr(value: Any) -> str:
    return repr(tuple(value) if isinstance(value, list) else value)


def _class_name(wanted: str, taken: set[str]) -> str:
    name, number = wanted, 2
    while name in taken:
        name, number = f"{wanted}{number}", number + 1
    taken.add(name)
    return name
