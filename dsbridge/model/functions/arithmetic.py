"""Arithmetic, comparison and linear algebra."""

from __future__ import annotations

import math
from typing import Any

import torch

from dsbridge.model.code import Code, call, code
from dsbridge.model.construct import Refused
from dsbridge.model.functions.registry import function
from dsbridge.model.nodes import Node, plain


def _operator(name: str, symbol: str) -> None:
    @function(name)
    def express(x: Any, other: Any) -> Code:
        return code(f"x {symbol} y", x=x, y=other)


for _name, _symbol in (
    ("mul", "*"), ("matmul", "@"), ("eq", "=="), ("ne", "!="), ("lt", "<"), ("le", "<="), ("gt", ">"), ("ge", ">="),
    ("remainder", "%"),
):  # fmt: skip
    _operator(_name, _symbol)


def _unary(name: str, expression: str) -> None:
    @function(name)
    def express(x: Any) -> Code:
        return code(expression, x=x)


for _name in (
    *(
        "abs",
        "exp",
        "log",
        "sqrt",
        "rsqrt",
        "sin",
        "cos",
        "tan",
        "atan",
        "erf",
        "floor",
        "ceil",
        "sign",
        "log1p",
        "expm1",
        "log2",
    ),
    *("square", "reciprocal", "isnan", "isinf", "isfinite", "round", "sinh", "cosh", "asin", "acos", "asinh", "acosh", "atanh"),
    *("trunc", "erfc", "log10"),
):
    _unary(_name, f"ops.{_name}(x)")
_unary("sgn", "ops.sign(x)")
_unary("neg", "-x")
_unary("exp2", "2.0 ** x")
_unary("frac", "x - ops.trunc(x)")
_unary("positive", "x")


@function("add")
def add(x: Any, other: Any, *, alpha: Any = 1) -> Code:
    """x + alpha * other."""
    return code("x + y", x=x, y=other) if plain(alpha) == 1 else code("x + a * y", x=x, a=alpha, y=other)


@function("sub")
def sub(x: Any, other: Any, *, alpha: Any = 1) -> Code:
    """x - alpha * other."""
    return code("x - y", x=x, y=other) if plain(alpha) == 1 else code("x - a * y", x=x, a=alpha, y=other)


@function("rsub")
def rsub(x: Any, other: Any, *, alpha: Any = 1) -> Code:
    """other - alpha * x."""
    return sub(other, x, alpha=alpha)


@function("div")
def div(x: Any, other: Any, *, rounding_mode: str | None = None) -> Code:
    """True division; of whole numbers too."""
    if rounding_mode == "floor":
        return code("x // y", x=x, y=other)
    if rounding_mode is not None:
        return call("ops.div", x, other, rounding_mode=rounding_mode)
    return code("x / y", x=x, y=other)


@function("floor_divide")
def floor_divide(x: Any, other: Any) -> Code:
    """Towards minus infinity."""
    return code("x // y", x=x, y=other)


@function("pow")
def pow_(x: Any, exponent: Any) -> Code:
    """x ** exponent."""
    return code("x ** y", x=x, y=exponent)


@function("maximum")
def maximum(x: Any, other: Any) -> Code:
    """Of two tensors."""
    return call("ops.maximum", x, other)


@function("minimum")
def minimum(x: Any, other: Any) -> Code:
    """Of two tensors."""
    return call("ops.minimum", x, other)


@function("clamp")
def clamp(x: Any, min: Any = None, max: Any = None) -> Code:
    """Between numbers or tensors."""
    return call("ops.clamp", x, min=min, max=max)


@function("clamp_max")
def clamp_max(x: Any, max: Any) -> Code:
    """From above."""
    return call("ops.clamp", x, max=max)


@function("clamp_min")
def clamp_min(x: Any, min: Any) -> Code:
    """From below."""
    return call("ops.clamp", x, min=min)


@function("where")
def where(condition: Any, x: Any = None, other: Any = None) -> Code:
    """Three arguments; one alone depends on the values."""
    if x is None:
        raise Refused("with one argument its shape depends on the values")
    return call("ops.where", condition, x, other)


def _logical(name: str, boolean: str, bits: str) -> None:
    @function(name)
    def express(x: Any, other: Any) -> Code:
        _booleans(x, other, name=bits)
        return call(boolean, x, other)


_logical("logical_and", "ops.logical_and", "&")
_logical("logical_or", "ops.logical_or", "|")
_logical("logical_xor", "ops.logical_xor", "^")


@function("logical_not")
def logical_not(x: Any) -> Code:
    """Of booleans."""
    _booleans(x, name="~")
    return call("ops.logical_not", x)


def _booleans(*values: Any, name: str) -> None:
    for value in values:
        if isinstance(value, Node) and str(value.dtype) != "torch.bool":
            raise Refused(f"{name} of {value.dtype}: booleans only")


@function("masked_fill")
def masked_fill(x: Any, mask: Any, value: Any) -> Code:
    """A number, or a tensor of one."""
    return code("x.masked_fill(m, v)", x=x, m=mask, v=value)


@function("bmm")
def bmm(x: Any, mat2: Any) -> Code:
    """Batched."""
    return call("ops.bmm", x, mat2)


@function("mm")
def mm(x: Any, mat2: Any) -> Code:
    """Two matrices."""
    return code("x @ y", x=x, y=mat2)


@function("addmm")
def addmm(x: Any, mat1: Any, mat2: Any, *, beta: Any = 1, alpha: Any = 1) -> Code:
    """x + mat1 @ mat2."""
    if plain(beta) != 1 or plain(alpha) != 1:
        return code("b * x + a * (m @ n)", b=beta, x=x, a=alpha, m=mat1, n=mat2)
    return code("x + m @ n", x=x, m=mat1, n=mat2)


@function("baddbmm")
def baddbmm(x: Any, batch1: Any, batch2: Any, *, beta: Any = 1, alpha: Any = 1) -> Code:
    """b * x + a * batch1 @ batch2."""
    product = code("a * ops.bmm(m, n)" if plain(alpha) != 1 else "ops.bmm(m, n)", a=alpha, m=batch1, n=batch2)
    if plain(beta) == 0:
        return product
    return code("b * x + p" if plain(beta) != 1 else "x + p", b=beta, x=x, p=product)


@function("mv", "dot")
def mv(x: Any, vec: Any) -> Code:
    """A matrix or a vector times a vector."""
    return code("(x * v).sum(-1)", x=x, v=vec)


@function("atan2")
def atan2(x: Any, other: Any) -> Code:
    """With the signs of both."""
    return call("ops.atan2", x, other)


@function("addcdiv")
def addcdiv(x: Any, tensor1: Any, tensor2: Any, *, value: Any = 1) -> Code:
    """x + value * tensor1 / tensor2."""
    return code("x + v * a / b" if plain(value) != 1 else "x + a / b", x=x, v=value, a=tensor1, b=tensor2)


@function("outer")
def outer(x: Any, vec2: Any) -> Code:
    """Of two vectors."""
    return call("ops.outer", x, vec2)


@function("lerp")
def lerp(x: Any, end: Any, weight: Any) -> Code:
    """x + weight * (end - x)."""
    return code("x + w * (e - x)", x=x, w=weight, e=end)


@function("addcmul")
def addcmul(x: Any, tensor1: Any, tensor2: Any, *, value: Any = 1) -> Code:
    """x + value * tensor1 * tensor2."""
    return code("x + v * a * b" if plain(value) != 1 else "x + a * b", x=x, v=value, a=tensor1, b=tensor2)


@function("nan_to_num")
def nan_to_num(x: Any, nan: Any = None, posinf: Any = None, neginf: Any = None) -> Code:
    """Numbers in the place of what is none; the largest there are in the place of infinities. Without gradient there."""
    limits = torch.finfo(x.dtype)
    finite = [limits.max if posinf is None else posinf, limits.min if neginf is None else neginf]
    filled = code("x.masked_fill(ops.isnan(x), v)", x=x, v=0.0 if nan is None else nan)
    for infinity, value in zip((math.inf, -math.inf), finite, strict=True):
        filled = code("f.masked_fill(x == i, v)", f=filled, x=x, i=infinity, v=value)
    return filled


@function("xlogy", "special_xlogy")
def xlogy(x: Any, other: Any) -> Code:
    """x log(other), 0 where x is 0; that of ops.xlogy is nan there."""
    return code("x * ops.log(y.masked_fill(ops.logical_and(x == 0, y <= 0), 1.0))", x=x, y=other)


@function("logit")
def logit(x: Any, eps: Any = None) -> Code:
    """log(x / (1 - x))."""
    return call("ops.logit", x, eps=eps)


def _of_two(name: str) -> None:
    @function(name)
    def express(x: Any, other: Any) -> Code:
        return call(f"ops.{name}", x, other)


for _name in ("logaddexp", "hypot", "fmod"):
    _of_two(_name)
