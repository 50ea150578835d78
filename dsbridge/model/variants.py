"""Instances of one class that do different things, because a child is there or not, or a flag is set or not, as one class."""

from __future__ import annotations

import ast
import copy
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Any

from dsbridge.model.trees import Instance


def join(first: list[Instance], second: list[Instance]) -> list[Instance] | None:
    """Both groups with one body, where an optional child or a flag tells them apart; None where nothing does.

    ``first`` and ``second`` each share a body (numbers aside). Bodies that differ by mode are left alone.
    """
    a, b = first[0].train, second[0].train
    if a is None or b is None or a.arguments != b.arguments:
        return None
    if any(one.evaluated is not None or one.base != "nn.Cell" for one in (first[0], second[0])):
        return None
    for more, less in ((first, second), (second, first)):
        optional = set(more[0].children) - set(less[0].children)
        if len(optional) == 1 and set(less[0].children) < set(more[0].children):
            return _with_optional(more, less, optional.pop())
    if list(first[0].children) == list(second[0].children):
        return _with_flag(first, second)
    return None


def _lines(one: Instance) -> list[ast.stmt]:
    assert one.train is not None
    return one.train.statements


def blank(lines: Sequence[ast.stmt]) -> str:
    """Statements as text, numbers blanked."""

    class Blank(ast.NodeTransformer):
        def visit_Constant(self, node: ast.Constant) -> ast.expr:
            return ast.Constant(0) if isinstance(node.value, (int, float)) and not isinstance(node.value, bool) else node

    return "\n".join(ast.unparse(Blank().visit(copy.deepcopy(line))) for line in lines)


def _with_optional(more: list[Instance], less: list[Instance], child: str) -> list[Instance] | None:
    """Without the child its argument is passed on: ``identity = x if self.downsample is None else self.downsample(x)``."""
    for one in more:
        if blank(_without(_lines(one), child)) != blank(_lines(less[0])):
            return None
    lines = [_Optional(child).visit(copy.deepcopy(line)) for line in _lines(more[0])]
    if len({ast.unparse(ast.Module(_lines(one), [])) for one in more}) > 1:
        return None  # numbers of their own would be lost
    for one in (*more, *less):
        _lines(one)[:] = copy.deepcopy(lines)
    order = list(more[0].children)
    for one in less:
        one.children = {name: one.children.get(name) for name in order}
    return [*more, *less]


def _is_call(node: ast.AST, child: str) -> bool:
    return (
        isinstance(node, ast.Call) and len(node.args) == 1 and not node.keywords and ast.unparse(node.func) == f"self.{child}"
    )


class _Optional(ast.NodeTransformer):
    def __init__(self, child: str) -> None:
        self.child = child

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        if not _is_call(node, self.child):
            return node
        test = ast.parse(f"self.{self.child} is None", mode="eval").body
        return ast.IfExp(test, node.args[0], node)


def _without(lines: Sequence[ast.stmt], child: str) -> list[ast.stmt]:
    """The statements with ``self.child(x)`` replaced by ``x``, and names that only stand for another one replaced by it."""
    stands_for: dict[str, ast.expr] = {}

    class Shorten(ast.NodeTransformer):
        def visit_Call(self, node: ast.Call) -> ast.expr:
            self.generic_visit(node)
            return node.args[0] if _is_call(node, child) else node

        def visit_Name(self, node: ast.Name) -> ast.expr:
            return copy.deepcopy(stands_for.get(node.id, node)) if isinstance(node.ctx, ast.Load) else node

    made: list[ast.stmt] = []
    for line in lines:
        short: Any = Shorten().visit(copy.deepcopy(line))
        if isinstance(short, ast.Assign) and len(short.targets) == 1 and isinstance(short.targets[0], ast.Name):
            name = short.targets[0].id
            stands_for = {k: v for k, v in stands_for.items() if k != name and name not in _names(v)}
            if isinstance(short.value, ast.Name):
                if short.value.id != name:
                    stands_for[name] = short.value
                continue
        made.append(short)
    return made


def _names(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def _with_flag(first: list[Instance], second: list[Instance]) -> list[Instance] | None:
    """One attribute of the original modules that is true for one group and false for the other decides."""
    texts = [{ast.unparse(ast.Module(_lines(one), [])) for one in group} for group in (first, second)]
    if any(len(text) > 1 for text in texts):
        return None
    for name, value in vars(first[0].module).items():
        if not isinstance(value, bool) or name.startswith("_") or name == "training":
            continue
        held = [[vars(one.module).get(name) for one in group] for group in (first, second)]
        if held == [[value] * len(first), [not value] * len(second)]:
            yes, no = (first, second) if value else (second, first)
            test = ast.parse(f"self.{name}", mode="eval").body
            lines = branched(_lines(yes[0]), _lines(no[0]), test)
            for one in (*first, *second):
                _lines(one)[:] = copy.deepcopy(lines)
                one.numbers[name] = vars(one.module)[name]
            return [*first, *second]
    return None


def branched(yes: Sequence[ast.stmt], no: Sequence[ast.stmt], test: ast.expr) -> list[ast.stmt]:
    """Two bodies as one: what they share once, in order, the rest under ``if test`` (or ``if not test``)."""
    a, b = [ast.unparse(line) for line in yes], [ast.unparse(line) for line in no]
    made: list[ast.stmt] = []
    for kind, start, end, other, last in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if kind == "equal":
            made += yes[start:end]
        elif start < end and isinstance(yes[end - 1], ast.Return):
            made += [ast.If(test, list(yes[start:end]), []), *no[other:last]]
        elif start < end:
            made.append(ast.If(test, list(yes[start:end]), list(no[other:last])))
        else:
            made.append(ast.If(ast.UnaryOp(ast.Not(), test), list(no[other:last]), []))
    return made
