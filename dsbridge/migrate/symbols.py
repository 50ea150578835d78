"""A value that a script computes, as an expression of constants and a counter: its statements, followed by reading."""

from __future__ import annotations

import ast
import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dsbridge.migrate.recording import Frame
from dsbridge.migrate.source import literal
from dsbridge.migrate.syntax import (
    Unclear,
    argument,
    bound_in,
    called,
    calls,
    changed,
    constant,
    default,
    function_at,
    holding,
    leaves,
    over_groups,
    parameters,
    root,
    simple,
    tree_of,
)

_CALLED = ("abs", "bool", "divmod", "float", "int", "len", "max", "min", "pow", "round", "sum")
_IMPORTED = ("math", "numpy", "bisect")
_DEEP = 20  # calls within calls

Env = dict[str, "ast.expr | Unclear"]
_OTHER = Unclear("it is bound in a way that is not followed")


@dataclass(slots=True)
class Counters:
    """What counted how, each time that the value was computed. ``word``: the counter; ``kinds``: expressions of it.

    >>> Counters("step", {"step": [0, 1], "step // 2": [0, 0]}).of([5, 6])
    'step + 5'
    """

    word: str
    kinds: Mapping[str, Sequence[int]]

    def of(self, values: Sequence[Any]) -> str | None:
        """The expression that counts like these values; None if none does."""
        if not all(type(value) is int for value in values):
            return None
        for text, counts in self.kinds.items():
            more = {value - count for value, count in zip(values, counts, strict=True)}
            if len(set(counts)) > 1 and len(more) == 1:
                (number,) = more
                return f"{text} {'+' if number > 0 else '-'} {abs(number)}" if number else text
        return None


@dataclass(slots=True)
class Level:
    """A function that the script is in: its node, and its frame each time. ``repeated``: what is read now runs in each step."""

    frames: Sequence[Frame]
    node: ast.FunctionDef | ast.Module
    repeated: bool
    env: Env = field(default_factory=dict)
    loops: set[str] = field(default_factory=set)  # names that are bound in loops around the line
    groups: set[str] = field(default_factory=set)  # names of a group of the optimizer
    numbers: set[str] = field(default_factory=set)  # names of a group's number
    reached: bool = False

    @property
    def line(self) -> int:
        """Where it stands."""
        return self.frames[0].line


class Reader:
    """Reads what is assigned to a group's option.

    ``chain``: the frames from the innermost outwards, each as it was each time; ``shared``: which of them the training step is
    called from, too; ``options``: of the group, whose number ``group`` is. ``imports``: what the expressions need; ``names``:
    what the script calls parts of them, by their text.
    """

    def __init__(
        self, chain: Sequence[Sequence[Frame]], shared: int, counters: Counters, options: Mapping[str, Any], group: int
    ) -> None:
        self._shared, self._counters, self._options, self._group, self._deep = shared, counters, options, group, 0
        self.imports: set[str] = set()
        self.names: dict[str, str] = {}
        self._levels = [
            Level(frames, function_at(frames[0].file, frames[0].name, frames[0].first), number < shared)
            for number, frames in enumerate(chain[: shared + 1])
        ]

    def read(self, key: str) -> ast.expr:
        """The expression, in the counter alone. Raises ``Unclear``."""
        for number in range(self._shared, 0, -1):
            self._arrive(number)
        statement = self._arrive(0)
        if not isinstance(statement, ast.Assign):
            raise Unclear("it is not a plain assignment")
        if not any(isinstance(one, ast.Subscript) and constant(one.slice) == key for one in statement.targets):
            raise Unclear("it is not a plain assignment")
        return self._resolve(statement.value, self._levels[0], 0)

    # ---- statements, up to a level's line

    def _arrive(self, number: int) -> ast.stmt:
        level = self._levels[number]
        level.reached = True
        return self._body(level.node.body, level, number)

    def _body(self, body: Sequence[ast.stmt], level: Level, number: int) -> ast.stmt:
        target = holding(body, level.line)
        if target is None:
            raise Unclear("its line is not found")
        for statement in body[: body.index(target)]:
            self._before(statement, level, number)
        return self._enter(target, level, number)

    def _enter(self, target: ast.stmt, level: Level, number: int) -> ast.stmt:
        """Go into a statement, to the line."""
        if isinstance(target, ast.If):
            inside = holding(target.body, level.line)
            if inside is None and holding(target.orelse, level.line) is None:
                return target  # the line is the test's
            test = target.test if inside is not None else ast.UnaryOp(ast.Not(), target.test)
            self._always(test, level, number)
            return self._body(target.body if inside is not None else target.orelse, level, number)
        if not isinstance(target, (ast.For, ast.While, ast.With, ast.Try)) or holding(target.body, level.line) is None:
            return target
        if isinstance(target, ast.For) and over_groups(target.iter):
            self._name_groups(target, level)
        elif isinstance(target, (ast.For, ast.While)):
            bound = bound_in([target])
            level.loops |= bound
            level.env = {name: value for name, value in level.env.items() if name not in bound and isinstance(value, ast.expr)}
            level.repeated = True
        return self._body(target.body, level, number)

    def _name_groups(self, loop: ast.For, level: Level) -> None:
        names = [one.id for one in ast.walk(loop.target) if isinstance(one, ast.Name)]
        counted = isinstance(loop.iter, ast.Call) and called(loop.iter) == "enumerate"
        if len(names) != 1 + counted:
            raise Unclear("how it goes over the groups is not known")
        level.groups.add(names[-1])
        level.numbers |= {names[0]} if counted else set()

    def _always(self, test: ast.expr, level: Level, number: int) -> None:
        """A condition on the way must not hang on the counter: it may be another one later."""
        if not level.repeated:
            return
        try:
            resolved = self._resolve(test, level, number)
        except Unclear as why:
            raise Unclear(f"it is set under a condition, {ast.unparse(test)}: {why}") from None
        if any(isinstance(node, ast.Name) and node.id == self._counters.word for node in ast.walk(resolved)):
            raise Unclear(f"it is set under a condition, {ast.unparse(test)}")

    def _before(self, statement: ast.stmt, level: Level, number: int) -> None:
        """Follow a statement that comes before the line."""
        if leaves(statement) and level.repeated:
            if not isinstance(statement, ast.If) or statement.orelse:
                raise Unclear(f"line {statement.lineno} may leave before")
            self._always(ast.UnaryOp(ast.Not(), statement.test), level, number)
            return
        self._assign(statement, level, number)

    def _assign(self, statement: ast.stmt, level: Level, number: int) -> None:
        """What a statement makes of the names that it binds."""
        if isinstance(statement, ast.If):
            self._choose(statement, level, number)
            return
        target, value = simple(statement)
        if isinstance(statement, ast.AugAssign) and target in level.loops and not isinstance(level.env.get(target), ast.expr):
            level.env.pop(target, None)  # what it counts to is what it held on the line
            return
        made: ast.expr | Unclear = _OTHER
        try:
            made = _OTHER if value is None else self._resolve(value, level, number)
        except Unclear as why:
            made = why
        level.env |= dict.fromkeys(bound_in([statement]), _OTHER)
        if target is not None:
            level.env[target] = made

    def _choose(self, statement: ast.If, level: Level, number: int) -> None:
        before, branches = level.env, []
        test: ast.expr | Unclear
        try:
            test = self._resolve(statement.test, level, number)
        except Unclear as why:
            test = why
        for body in (statement.body, statement.orelse):
            level.env = dict(before)
            for one in body:
                self._assign(one, level, number)
            branches.append(level.env)
        level.env = dict(before)
        for name in bound_in([statement]):
            yes, no = (one.get(name, _OTHER) for one in branches)
            unclear = next((one for one in (test, yes, no) if isinstance(one, Unclear)), None)
            level.env[name] = unclear or ast.IfExp(test, yes, no)  # type: ignore[arg-type]

    # ---- expressions

    def _resolve(self, node: ast.expr, level: Level, number: int) -> ast.expr:
        """The expression in constants and the counter."""
        if isinstance(node, ast.Constant):
            return node
        if isinstance(node, ast.Name):
            return self._name(node.id, level, number)
        if isinstance(node, (ast.Attribute, ast.Subscript)):
            return self._part(node, level, number)
        if isinstance(node, ast.Call):
            return self._call(node, level, number)
        if isinstance(node, ast.IfExp):
            test = self._resolve(node.test, level, number)
            if isinstance(test, ast.Constant):
                return self._resolve(node.body if test.value else node.orelse, level, number)
            return ast.IfExp(test, *(self._resolve(one, level, number) for one in (node.body, node.orelse)))
        if not isinstance(node, (ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.Tuple, ast.List, ast.Dict)):
            raise Unclear(f"{ast.unparse(node)} is not followed")
        made = copy.copy(node)
        for name, value in ast.iter_fields(node):
            if isinstance(value, ast.expr):
                setattr(made, name, self._resolve(value, level, number))
            elif isinstance(value, list):
                parts = [self._resolve(one, level, number) if isinstance(one, ast.expr) else one for one in value]
                setattr(made, name, parts)
        return made

    def _name(self, name: str, level: Level, number: int) -> ast.expr:
        if name in level.numbers:
            return ast.Constant(self._group)
        known = level.env.get(name)
        if isinstance(known, ast.expr):
            return self._said(name, known)
        if known is None and name in parameters(level.node) and number < self._shared:
            return self._said(name, self._given(name, level, number))
        try:
            return self._held(name, level, name in level.loops or (known is not None and level.repeated))
        except Unclear:
            if known is None or known is _OTHER:
                raise
            raise known from None

    def _said(self, name: str, value: ast.expr) -> ast.expr:
        """Remember what the script calls an expression."""
        if not isinstance(value, (ast.Constant, ast.Name)):
            self.names.setdefault(ast.unparse(value), name)
        return value

    def _given(self, name: str, level: Level, number: int) -> ast.expr:
        """What the caller gave for a parameter."""
        caller = self._levels[number + 1]
        found = [one for one in calls(caller.node, caller.line) if called(one) == level.frames[0].name]
        if len(found) != 1:
            raise Unclear(f"which call of {level.frames[0].name} it is is not known")
        value = argument(found[0], level.node, name)
        return self._held(name, level, False) if value is None else self._resolve(value, caller, number + 1)

    def _held(self, text: str, level: Level, changes: bool) -> ast.expr:
        """What a variable (or an attribute) held each time: a counter, or a constant that nothing in a loop may change."""
        if any(text not in frame.values for frame in level.frames):
            raise Unclear(f"{text} is no plain value")
        values = [frame.values[text] for frame in level.frames]
        counted = self._counters.of(values)
        if counted is not None:
            return ast.parse(counted, mode="eval").body
        if any(value != values[0] or type(value) is not type(values[0]) for value in values):
            raise Unclear(f"{text} changes, and does not count steps or epochs")
        if changes:
            raise Unclear(f"{text} may change, and did not while it was watched")
        return ast.parse(literal(values[0]), mode="eval").body

    def _part(self, node: ast.Attribute | ast.Subscript, level: Level, number: int) -> ast.expr:
        """An attribute, or an item."""
        text, owner, modules = ast.unparse(node), root(node), level.frames[0].modules
        if owner in level.groups and isinstance(node, ast.Subscript):
            return self._option(constant(node.slice))
        if isinstance(node, ast.Attribute) and owner in modules:
            return self._of_module(node, modules[owner], owner)
        if any(text in frame.values for frame in level.frames):
            return self._held(text, level, changed(tree_of(level.frames[0].file), node))
        if isinstance(node, ast.Subscript) and not isinstance(node.slice, ast.Slice):
            value, index = (self._resolve(one, level, number) for one in (node.value, node.slice))
            return ast.Subscript(value, index, ast.Load())
        raise Unclear(f"{text} is no plain value")

    def _option(self, key: Any) -> ast.expr:
        """What a group holds beside its rate."""
        if key == "lr" or key not in self._options:
            raise Unclear(f"it reads {key} of the group")
        return ast.parse(literal(self._options[key]), mode="eval").body

    def _of_module(self, node: ast.Attribute, module: str, name: str) -> ast.expr:
        if module.partition(".")[0] not in _IMPORTED:
            raise Unclear(f"{ast.unparse(node)} is not followed")
        self.imports.add(f"import {module}" if module == name else f"import {module} as {name}")
        return node

    def _call(self, node: ast.Call, level: Level, number: int) -> ast.expr:
        text, name, owner = ast.unparse(node), ast.unparse(node.func), root(node.func)
        if any(isinstance(one, ast.Starred) for one in node.args) or any(one.arg is None for one in node.keywords):
            raise Unclear(f"{text} is not followed")
        if any(text in frame.values for frame in level.frames):  # len(loader)
            return self._held(text, level, False)
        if owner in level.groups and name == f"{owner}.get" and len(node.args) == 2:
            key = constant(node.args[0])
            return self._option(key) if key in self._options else self._resolve(node.args[1], level, number)
        place = next((frame.functions[name] for frame in level.frames if name in frame.functions), None)
        if place is not None:
            return self._inlined(node, place, level, number)
        made = copy.copy(node)
        made.args = [self._resolve(one, level, number) for one in node.args]
        made.keywords = [ast.keyword(one.arg, self._resolve(one.value, level, number)) for one in node.keywords]
        if isinstance(node.func, ast.Attribute) and owner in level.frames[0].modules:
            made.func = self._of_module(node.func, level.frames[0].modules[owner], owner)
        elif not isinstance(node.func, ast.Name) or name not in _CALLED:
            raise Unclear(f"{text} is not followed")
        return made

    def _inlined(self, node: ast.Call, place: tuple[str, int], level: Level, number: int) -> ast.expr:
        """What a function of the user's returns."""
        name, method = called(node), isinstance(node.func, ast.Attribute)
        function = function_at(place[0], name, place[1])
        if not isinstance(function, ast.FunctionDef) or self._deep == _DEEP:
            raise Unclear(f"{name} is not followed")
        frames = level.frames
        if isinstance(node.func, ast.Attribute):
            frames = [_renamed(frame, ast.unparse(node.func.value), parameters(function)[0]) for frame in frames]
        inner = Level(frames, function, repeated=True)
        for parameter in parameters(function)[method:]:
            value, where = argument(node, function, parameter, method), level
            if value is None:
                value, where = default(function, parameter), inner
            if value is None:
                raise Unclear(f"{name} has no {parameter}")
            inner.env[parameter] = self._resolve(value, where, number)
        self._deep += 1
        try:
            return self._returned(function.body, inner, number)
        finally:
            self._deep -= 1

    def _returned(self, body: Sequence[ast.stmt], level: Level, number: int) -> ast.expr:
        """What statements return."""
        for place, statement in enumerate(body):
            if isinstance(statement, ast.Return) and statement.value is not None:
                return self._resolve(statement.value, level, number)
            if isinstance(statement, ast.If) and leaves(statement):
                test, rest, before, found = self._resolve(statement.test, level, number), body[place + 1 :], level.env, []
                if isinstance(test, ast.Constant):
                    return self._returned([*(statement.body if test.value else statement.orelse), *rest], level, number)
                for branch in (statement.body, statement.orelse):
                    level.env = dict(before)
                    found.append(self._returned([*branch, *rest], level, number))
                level.env = before
                return ast.IfExp(test, *found)
            if leaves(statement):
                raise Unclear(f"line {statement.lineno} may leave before")
            self._assign(statement, level, number)
        raise Unclear("a function returns nothing")


def _renamed(frame: Frame, given: str, own: str) -> Frame:
    """A frame as a method sees it that is called of an object: what the object holds is under the method's name of it."""
    values = {f"{own}{key[len(given) :]}": value for key, value in frame.values.items() if key.startswith(f"{given}.")}
    functions = {f"{own}{key[len(given) :]}": at for key, at in frame.functions.items() if key.startswith(f"{given}.")}
    return Frame(
        frame.file, frame.line, frame.name, frame.first, {**frame.values, **values}, frame.modules,
        {**frame.functions, **functions},
    )  # fmt: skip
