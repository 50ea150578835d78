"""Where a function of the user's stands in its file: the syntax tree of exactly that code."""

from __future__ import annotations

import ast
import linecache
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType

from dsbridge.errors import Unsupported


@dataclass(frozen=True, slots=True)
class Found:
    """A function's node, the tree of its file, and the file.

    >>> tree = ast.parse("f = lambda x: x")
    >>> Found(tree.body[0].value, tree, "project/train.py").at(tree.body[0])
    'project/train.py:1'
    """

    node: ast.FunctionDef | ast.Lambda
    tree: ast.Module
    file: str

    def at(self, node: ast.AST) -> str:
        """Where a node of that file stands, as ``folder/file.py:123``."""
        return place(self.file, getattr(node, "lineno", self.node.lineno))


def place(file: str, line: int) -> str:
    """A line of a file, for people.

    >>> place("/home/me/project/train.py", 3)
    'project/train.py:3'
    """
    return f"{'/'.join(file.split(os.sep)[-2:])}:{line}"


def find(code: CodeType) -> Found:
    """The function whose code that is. Raises ``Unsupported`` where the file is not to be had, or says something else now.

    Several lambdas on a line are told apart by their columns.

    >>> import colorsys
    >>> find(colorsys.rgb_to_yiq.__code__).node.name
    'rgb_to_yiq'
    """
    where, name = place(code.co_filename, code.co_firstlineno), code.co_name
    linecache.checkcache(code.co_filename)
    text = "".join(linecache.getlines(code.co_filename))
    if not text:
        raise Unsupported(f"function {name}", "source", where, "there is no source for it", "define it in a file")
    tree, codes = _parsed(text, code.co_filename)
    if code not in codes:
        reason = "the file has changed since it was run"
        raise Unsupported(f"function {name}", "source", where, reason, "run it again")
    nodes = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.Lambda)) and _may_be(node, code)]
    if len(nodes) > 1 and hasattr(code, "co_positions"):
        nodes = _around(nodes, code)
    if len(nodes) != 1:
        reason = f"{len(nodes)} functions begin on that line"
        raise Unsupported(f"function {name}", "source", where, reason, "give each a line of its own")
    return Found(nodes[0], tree, code.co_filename)


@lru_cache(maxsize=16)
def _parsed(text: str, file: str) -> tuple[ast.Module, frozenset[CodeType]]:
    return ast.parse(text), frozenset(_codes(compile(text, file, "exec", dont_inherit=True)))


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _may_be(node: ast.FunctionDef | ast.Lambda, code: CodeType) -> bool:
    if isinstance(node, ast.Lambda):
        return code.co_name == "<lambda>" and node.lineno == code.co_firstlineno
    first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
    return node.name == code.co_name and first == code.co_firstlineno


def _around(nodes: list[ast.FunctionDef | ast.Lambda], code: CodeType) -> list[ast.FunctionDef | ast.Lambda]:
    """The lambda whose body the instructions come from: the smallest that holds them all."""
    places = [p for p in code.co_positions() if None not in p and p[2:] != (0, 0)]
    begin = min((p[0], p[2]) for p in places)
    end = max((p[1], p[3]) for p in places)

    def span(node: ast.AST) -> tuple[tuple[int, int], tuple[int, int]]:
        return (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]

    holding = []
    for node in nodes:
        body = span(node.body if isinstance(node, ast.Lambda) else node)
        if body[0] <= begin and end <= body[1]:
            holding.append((body[0], [-part for part in body[1]], node))
    holding.sort(key=lambda one: one[:2])
    return [holding[-1][2]] if holding else []
