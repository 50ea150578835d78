"""Questions about the syntax of a script's functions."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any


class Unclear(Exception):
    """Why a value is not understood."""


@lru_cache(maxsize=16)
def tree_of(file: str) -> ast.Module:
    """The syntax of a file; empty where there is none."""
    try:
        return ast.parse("".join(linecache.getlines(file)))
    except SyntaxError:
        return ast.Module([], [])


def function_at(file: str, name: str, first: int) -> ast.FunctionDef | ast.Module:
    """The function that begins on a line, or the module. Raises ``Unclear``.

    >>> import colorsys
    >>> code = colorsys.rgb_to_yiq.__code__
    >>> function_at(code.co_filename, code.co_name, code.co_firstlineno).name
    'rgb_to_yiq'
    """
    tree = tree_of(file)
    if name == "<module>":
        return tree
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef) or node.name != name:
            continue
        if min([node.lineno, *(one.lineno for one in node.decorator_list)]) == first:
            return node
    raise Unclear(f"{name} is not found in its file")


def holding(body: Sequence[ast.stmt], line: int) -> ast.stmt | None:
    """The statement in which a line is."""
    return next((one for one in body if one.lineno <= line <= (one.end_lineno or one.lineno)), None)


def in_one_loop(node: ast.AST, line: int, other: int) -> bool:
    """Whether two lines of a function (or a module) are in one loop.

    >>> tree = ast.parse("for x in y:\\n  a()\\n  b()\\nc()")
    >>> in_one_loop(tree, 2, 3), in_one_loop(tree, 2, 4)
    (True, False)
    """
    loops = [one for one in ast.walk(node) if isinstance(one, (ast.For, ast.While))]
    return any(holding(one.body, line) is not None and holding(one.body, other) is not None for one in loops)


def bound_in(statements: Iterable[ast.AST]) -> set[str]:
    """Names that statements assign to.

    >>> sorted(bound_in(ast.parse("for i, x in y: z += 1").body))
    ['i', 'x', 'z']
    """
    nodes = [node for statement in statements for node in ast.walk(statement)]
    return {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


def simple(statement: ast.stmt) -> tuple[str | None, ast.expr | None]:
    """Name and value of an assignment to one name.

    >>> name, value = simple(ast.parse("x += 1").body[0]); name, ast.unparse(value)
    ('x', 'x + 1')
    """
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1 and isinstance(statement.targets[0], ast.Name):
        return statement.targets[0].id, statement.value
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        return statement.target.id, statement.value
    if isinstance(statement, ast.AugAssign) and isinstance(statement.target, ast.Name):
        before = ast.Name(statement.target.id, ast.Load())
        return statement.target.id, ast.BinOp(before, statement.op, statement.value)
    return None, None


def leaves(statement: ast.stmt) -> bool:
    """Whether it may return, raise, or end or skip a loop around it.

    >>> [leaves(one) for one in ast.parse("if a: raise b\\nfor c in d: continue\\nwith e: f()").body]
    [True, False, False]
    """
    if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
        return False
    if isinstance(statement, (ast.Return, ast.Raise, ast.Continue, ast.Break)):
        return True
    if isinstance(statement, (ast.For, ast.While)):
        return any(isinstance(one, (ast.Return, ast.Raise)) for one in ast.walk(statement))
    return any(leaves(one) for one in ast.iter_child_nodes(statement) if isinstance(one, ast.stmt))


def over_groups(over: ast.expr) -> bool:
    """Whether a loop goes over the groups of an optimizer."""
    return any(isinstance(one, ast.Attribute) and one.attr == "param_groups" for one in ast.walk(over))


def constant(node: ast.expr) -> Any:
    """The value of a literal; None of all else."""
    return node.value if isinstance(node, ast.Constant) else None


def root(node: ast.expr) -> str:
    """The name that attributes and items are read of; empty where it is no name.

    >>> root(ast.parse("a.b['c']", mode="eval").body)
    'a'
    """
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def calls(node: ast.AST, line: int) -> list[ast.Call]:
    """Those on a line."""
    found = [one for one in ast.walk(node) if isinstance(one, ast.Call)]
    return [one for one in found if one.lineno <= line <= (one.end_lineno or one.lineno)]


def called(node: ast.Call) -> str:
    """The last name of what is called."""
    return ast.unparse(node.func).rpartition(".")[2]


def parameters(node: ast.AST) -> list[str]:
    """Names of a function's parameters; none of a module."""
    if not isinstance(node, ast.FunctionDef):
        return []
    return [one.arg for one in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]


def argument(call: ast.Call, function: ast.AST, name: str, method: bool | None = None) -> ast.expr | None:
    """What a call gives for a parameter; None if its default. ``method``: the first one is the object (None: if called so).

    >>> call, function = ast.parse("f(1, c=3)").body[0].value, ast.parse("def f(a, b=2, c=4): pass").body[0]
    >>> [ast.unparse(found) if (found := argument(call, function, name)) else None for name in "abc"]
    ['1', None, '3']
    """
    names = parameters(function)
    bound = bool(names) and names[0] in ("self", "cls") if method is None else method
    named = next((one.value for one in call.keywords if one.arg == name), None)
    place = names.index(name) - (isinstance(call.func, ast.Attribute) and bound)
    return named if named is not None else call.args[place] if 0 <= place < len(call.args) else None


def default(function: ast.FunctionDef, name: str) -> ast.expr | None:
    """The default of a parameter; None where there is none."""
    positional = [*function.args.posonlyargs, *function.args.args]
    found = dict(zip((one.arg for one in reversed(positional)), reversed(function.args.defaults), strict=False))
    found |= {one.arg: value for one, value in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True) if value}
    return found.get(name)


def changed(tree: ast.Module, node: ast.expr) -> bool:
    """Whether the file assigns to an attribute of that name anywhere but in a constructor.

    >>> tree = ast.parse("def step(self): self.count += 1")
    >>> changed(tree, ast.parse("self.count", mode="eval").body), changed(tree, ast.parse("self.rate", mode="eval").body)
    (True, False)
    """
    if not isinstance(node, ast.Attribute):
        return False
    functions = [one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef) and one.name != "__init__"]
    stored = [one for function in functions for one in ast.walk(function) if isinstance(one, ast.Attribute)]
    return any(one.attr == node.attr and isinstance(one.ctx, ast.Store) for one in stored)
