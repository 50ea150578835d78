"""Small pieces of MindSpore source with nodes in them: templates in, ``ast`` out."""

from __future__ import annotations

import ast
import copy
import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch

from dsbridge.model.nodes import Node

DTYPES = {
    torch.float32: "float32", torch.float64: "float64", torch.float16: "float16", torch.bfloat16: "bfloat16",
    torch.int64: "int64", torch.int32: "int32", torch.int16: "int16", torch.int8: "int8", torch.uint8: "uint8",
    torch.bool: "bool_",
}  # fmt: skip


class Hole(ast.Name):
    """Where a node's value goes; it prints as a name."""

    node: Node

    @classmethod
    def of(cls, node: Node) -> Hole:
        """A hole for a node."""
        hole = cls(id="_", ctx=ast.Load())
        hole.node = node
        return hole

    def __deepcopy__(self, memo: Any) -> Hole:
        return Hole.of(self.node)


class Code:
    """An expression of the emitted source.

    >>> str(code("ops.relu(x) + y", x=code("a if b else c"), y=-1.5))
    'ops.relu(a if b else c) + -1.5'
    """

    __slots__ = ("tree",)

    def __init__(self, tree: ast.expr) -> None:
        self.tree = tree

    def __str__(self) -> str:
        return ast.unparse(named(self.tree, lambda node: f"_{node.target}"))

    __repr__ = __str__


@lru_cache(maxsize=1024)
def _template(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def code(template: str, **values: Any) -> Code:
    """An expression in which the names given are replaced: by nodes, plain values, other code; None's keyword is left out.

    >>> str(code("ops.softmax(x, axis=dim)", x=Code(ast.Name("x")), dim=-1))
    'ops.softmax(x, axis=-1)'
    """
    return Code(_Fill(values).visit(copy.deepcopy(_template(template))))


def call(function: str, *args: Any, **kwargs: Any) -> Code:
    """A call; keywords whose value is None are left out.

    >>> str(call("nn.Conv2d", 3, 8, 3, stride=2, group=None))
    'nn.Conv2d(3, 8, 3, stride=2)'
    """
    keywords = [ast.keyword(name, lift(value)) for name, value in kwargs.items() if value is not None]
    return Code(ast.Call(_template(function), [lift(one) for one in args], keywords))


def named(tree: ast.expr, name: Callable[[Node], ast.expr | str]) -> ast.expr:
    """A copy in which holes are filled: with names, or whole expressions."""

    class Names(ast.NodeTransformer):
        def visit_Hole(self, hole: Hole) -> ast.expr:
            said = name(hole.node)
            return ast.Name(said, ast.Load()) if isinstance(said, str) else said

    made: ast.expr = Names().visit(copy.deepcopy(tree))
    return made


class _Fill(ast.NodeTransformer):
    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return lift(self.values[node.id]) if node.id in self.values else node


def lift(value: Any) -> ast.expr:
    """A value as an expression. Raises TypeError for what cannot be written.

    >>> ast.unparse(lift((1, slice(None, 3), float("inf"), torch.int64)))
    "(1, :3, float('inf'), ms.int64)"
    """
    if isinstance(value, Node):
        return Hole.of(value)
    if isinstance(value, Code):
        return value.tree
    if isinstance(value, ast.expr):
        return value
    if isinstance(value, float) and not math.isfinite(value):
        return _template(f"float({str(value)!r})")
    if value is None or value is Ellipsis or isinstance(value, (bool, int, float, str)):
        return ast.Constant(value)
    if isinstance(value, torch.dtype):
        if value not in DTYPES:
            raise TypeError(f"MindSpore has no {value}")
        return _template(f"ms.{DTYPES[value]}")
    if isinstance(value, slice):
        parts = (value.start, value.stop, value.step)
        return ast.Slice(*(None if part is None else lift(part) for part in parts))
    if isinstance(value, tuple):
        return ast.Tuple([lift(one) for one in value], ast.Load())
    if isinstance(value, list):
        return ast.List([lift(one) for one in value], ast.Load())
    if isinstance(value, dict):
        return ast.Dict([lift(key) for key in value], [lift(one) for one in value.values()])
    raise TypeError(f"a {type(value).__name__} cannot be written as source")
