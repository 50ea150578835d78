"""The table of functions: torch name -> MindSpore expression."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from functools import cache

from dsbridge.model.code import Code
from dsbridge.model.construct import Refused
from dsbridge.model.nodes import Node

Express = Callable[..., Code]
MODULES = (
    "activations",
    "arithmetic",
    "attention",
    "creation",
    "einsum",
    "indexing",
    "layers",
    "linalg",
    "losses",
    "margin_losses",
    "random",
    "reductions",
    "shapes",
    "types",
)

FUNCTIONS: dict[str, Express] = {}
_REFLECTED = {
    "__radd__": "add", "__rmul__": "mul", "__rsub__": "sub", "__rtruediv__": "div", "__rdiv__": "div", "__rpow__": "pow",
    "__rmatmul__": "matmul", "__rfloordiv__": "floor_divide", "__rmod__": "remainder",
}  # fmt: skip
_OPERATORS = {
    "__add__": "add", "__iadd__": "add", "__sub__": "sub", "__isub__": "sub", "__mul__": "mul", "__imul__": "mul",
    "__truediv__": "div", "__itruediv__": "div", "__div__": "div", "__idiv__": "div", "__pow__": "pow", "__ipow__": "pow",
    "__matmul__": "matmul", "__floordiv__": "floor_divide", "__mod__": "remainder", "__neg__": "neg",
    "__invert__": "logical_not",
    "__eq__": "eq", "__ne__": "ne", "__lt__": "lt", "__le__": "le", "__gt__": "gt", "__ge__": "ge", "__and__": "logical_and",
    "__or__": "logical_or", "__getitem__": "getitem", "__abs__": "abs", "multiply": "mul", "subtract": "sub", "divide": "div",
    "true_divide": "div", "concat": "cat", "concatenate": "cat", "negative": "neg", "absolute": "abs", "greater": "gt",
    "less": "lt", "greater_equal": "ge", "less_equal": "le", "not_equal": "ne", "swapaxes": "transpose",
    "swapdims": "transpose",
    "moveaxis": "movedim", "clip": "clamp", "arctan": "atan",
}  # fmt: skip
_SPREAD = {"size", "shape", "dim", "dims", "repeats"}


def function(*names: str) -> Callable[[Express], Express]:
    """Register the expression for torch functions and methods of these names."""

    def add(express: Express) -> Express:
        for name in names:
            FUNCTIONS[name] = express
        return express

    return add


@cache
def load_all() -> None:
    """Import the modules with the entries."""
    for name in MODULES:
        importlib.import_module(f"dsbridge.model.functions.{name}")


def entry(name: str) -> str:
    """The name in the table of a function, method or operator; writing in place is no difference.

    >>> entry("__radd__"), entry("relu_"), entry("true_divide")
    ('add', 'relu', 'div')
    """
    load_all()
    name = _OPERATORS.get(name) or _REFLECTED.get(name) or name
    return name[:-1] if name not in FUNCTIONS and name.endswith("_") and not name.startswith("__") else name


def express(node: Node) -> Code | Node:
    """The expression of a recorded call. Raises ``Refused`` for what has none.

    >>> x = Node("input", "x", shape=(2, 3))
    >>> str(express(Node("call", "flatten", (x, 1))))
    'ops.flatten(_x, start_dim=1)'
    """
    name, args, kwargs = node.target, node.args, dict(node.kwargs)
    for first in ("input", "self"):
        if first in kwargs:
            args = (kwargs.pop(first), *args)
    if name in _REFLECTED:
        args = (args[1], args[0])
    name = entry(name)
    if name not in FUNCTIONS:
        raise Refused("there is no entry for it")
    if kwargs.pop("out", None) is not None:
        raise Refused("out= writes into a tensor")
    if any(one.kind is one.VAR_POSITIONAL for one in inspect.signature(FUNCTIONS[name]).parameters.values()):
        args += tuple(kwargs.pop(one) for one in _SPREAD & kwargs.keys())  # x.expand(2, 3), x.expand(size=(2, 3))
    try:
        return FUNCTIONS[name](*args, **kwargs)
    except TypeError as exc:
        raise Refused(f"called with arguments that its entry does not take: {exc}") from exc
