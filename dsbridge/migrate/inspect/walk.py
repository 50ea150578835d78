"""The children of a node of syntax. libcst's own visitors rebuild every node they pass, which takes five times as long."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import cache

import libcst as cst

_LAYOUT = (  # what holds whitespace, brackets and signs, in parts of its field's name
    "white", "lpar", "rpar", "lbrac", "rbrac", "comma", "semicolon", "equal", "colon", "dot", "line", "header", "footer",
    "indent", "asynchronous", "operator", "star", "separator", "posonly_ind", "relative", "parts_",
)  # fmt: skip
_NAMED = ("star_arg", "star_kwarg")  # parameters, not signs


@cache
def _fields(kind: type[cst.CSTNode]) -> tuple[str, ...]:
    names = [one.name for one in dataclasses.fields(kind)]
    return tuple(name for name in names if name in _NAMED or not any(part in name for part in _LAYOUT))


def below(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    """The nodes directly below, without whitespace, brackets and operators.

    >>> [type(one).__name__ for one in below(cst.parse_expression("f(x) + 1"))]
    ['Call', 'Integer']
    """
    for name in _fields(type(node)):
        value = getattr(node, name)
        if isinstance(value, cst.CSTNode):
            yield value
        elif isinstance(value, (tuple, list)):
            yield from (one for one in value if isinstance(one, cst.CSTNode))


def within(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    """The node and all nodes below it; not what functions defined in it contain.

    >>> [one.value for one in within(cst.parse_expression("f(x) + 1")) if isinstance(one, cst.Name)]
    ['f', 'x']
    """
    yield node
    for one in below(node):
        if not isinstance(one, (cst.FunctionDef, cst.Lambda, cst.ClassDef)):
            yield from within(one)


def dotted(node: cst.CSTNode | None) -> str:
    """A name with dots as text, "" for anything else.

    >>> dotted(cst.parse_expression("torch.nn.Linear")), dotted(cst.parse_expression("f().x"))
    ('torch.nn.Linear', '')
    """
    if isinstance(node, cst.Name):
        return node.value
    if isinstance(node, cst.Attribute):
        base = dotted(node.value)
        return f"{base}.{node.attr.value}" if base else ""
    return ""


def text_of(node: cst.CSTNode | None) -> str | None:
    """What stands between the quotes of a plain string, None for anything else. Escapes stay: nobody is warned of bad ones.

    >>> text_of(cst.parse_expression("'cuda:0'")), text_of(cst.parse_expression("f'{x}'"))
    ('cuda:0', None)
    """
    return node.raw_value if isinstance(node, cst.SimpleString) else None
