"""A function's body from one expression: parts that come again get the name that the script has for them."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator, Mapping


def body_of(expression: ast.expr, names: Mapping[str, str], taken: str) -> str:
    """Assignments and a return statement. ``names``: of parts, by their text; ``taken``: the parameter's.

    >>> made = ast.parse("(s + 1) / 2 if s + 1 < 3 else (s + 1) ** 2", mode="eval").body
    >>> print(body_of(made, {"s + 1": "epoch"}, "s"))
    epoch = s + 1
    return epoch / 2 if epoch < 3 else epoch ** 2
    """
    lines: list[str] = []
    used = {taken, *vars(builtins), *(node.id for node in ast.walk(expression) if isinstance(node, ast.Name))}
    expression = ast.parse(ast.unparse(expression), mode="eval").body  # its own: it is changed
    for text in sorted(names, key=len, reverse=True):
        name = names[text]
        found = [node for node in ast.walk(expression) if isinstance(node, ast.expr) and ast.unparse(node) == text]
        if len(found) < 2 or name in used or not any(ast.unparse(node) == text for node in _always(expression)):
            continue
        used.add(name)
        expression = _Named(text, name).visit(expression)  # type: ignore[assignment]
        lines.append(f"{name} = {text}")
    return "\n".join([*reversed(lines), f"return {ast.unparse(expression)}"])


def _always(node: ast.expr) -> Iterator[ast.expr]:
    """The parts that are computed whatever conditions say."""
    yield node
    inner: list[ast.AST] = list(ast.iter_child_nodes(node))
    if isinstance(node, ast.IfExp):
        inner = [node.test]
    elif isinstance(node, ast.BoolOp):
        inner = node.values[:1]  # type: ignore[assignment]
    for one in inner:
        if isinstance(one, ast.expr):
            yield from _always(one)


class _Named(ast.NodeTransformer):
    def __init__(self, text: str, name: str) -> None:
        self._text, self._name = text, name

    def visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.expr) and ast.unparse(node) == self._text:
            return ast.Name(self._name, ast.Load())
        return self.generic_visit(node)
