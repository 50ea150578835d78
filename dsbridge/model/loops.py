"""Calls of all cells of a list, one after the other, as a loop again."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

LEAST = 2


def folded(lines: Sequence[ast.stmt], lengths: Mapping[str, int], names: set[str]) -> list[ast.stmt]:
    """Statements with runs of ``x = self.layers[0](x, ...)``, ``x = self.layers[1](x, ...)`` as one loop over the list.

    ``lengths``: of each list, as it is spelled. Only whole lists are folded.

    >>> lines = ast.parse("x = self.h[0](y, m); x = self.h[1](x, m); return x").body
    >>> print(ast.unparse(ast.Module(folded(lines, {"self.h": 2}, set()), [])))
    x = y
    for layer in self.h:
        x = layer(x, m)
    return x
    """
    made: list[ast.stmt] = []
    at = 0
    while at < len(lines):
        loop = _loop(lines[at:], lengths, names)
        if loop is None:
            made.append(lines[at])
            at += 1
        else:
            count, statements = loop
            made += statements
            at += count
    return made


def _loop(lines: Sequence[ast.stmt], lengths: Mapping[str, int], names: set[str]) -> tuple[int, list[ast.stmt]] | None:
    first = _step(lines[0])
    if first is None or first[2] != 0 or lengths.get(first[1], 0) < LEAST:
        return None
    target, cells, _, call = first
    count = lengths[cells]
    steps = [_step(line) for line in lines[:count]]
    if len(steps) < count:
        return None
    rest = [ast.unparse(one) for one in (*call.args[1:], *call.keywords)]
    for number, step in enumerate(steps):
        if step is None or step[:3] != (target, cells, number):
            return None
        args = step[3].args
        if [ast.unparse(one) for one in (*args[1:], *step[3].keywords)] != rest or (number and ast.unparse(args[0]) != target):
            return None
    if any(isinstance(node, ast.Name) and node.id == target for one in call.args[1:] for node in ast.walk(one)):
        return None  # what else is passed changes, too
    layer = next(name for name in ("layer", "block", "cell", "each_layer") if name not in names and name != target)
    begin = call.args[0]
    made: list[ast.stmt] = []
    if ast.unparse(begin) != target:
        made.append(ast.Assign([ast.Name(target, ast.Store())], begin, lineno=0))
    inner = ast.Call(ast.Name(layer, ast.Load()), [ast.Name(target, ast.Load()), *call.args[1:]], call.keywords)
    body: list[ast.stmt] = [ast.Assign([ast.Name(target, ast.Store())], inner, lineno=0)]
    assert isinstance(call.func, ast.Subscript)
    made.append(ast.For(ast.Name(layer, ast.Store()), call.func.value, body, [], lineno=0))
    return count, made


def _step(line: ast.stmt) -> tuple[str, str, int, ast.Call] | None:
    """(target, list, number, call) of ``target = list[number](...)``."""
    if not isinstance(line, ast.Assign) or len(line.targets) != 1 or not isinstance(line.targets[0], ast.Name):
        return None
    call = line.value
    if not isinstance(call, ast.Call) or not call.args or not isinstance(call.func, ast.Subscript):
        return None
    if not isinstance(call.func.slice, ast.Constant) or not isinstance(call.func.slice.value, int):
        return None
    return line.targets[0].id, ast.unparse(call.func.value), call.func.slice.value, call
