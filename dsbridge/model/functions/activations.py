"""Activations as functions."""

from __future__ import annotations

from typing import Any

from dsbridge.model.code import Code, call, code
from dsbridge.model.construct import Refused
from dsbridge.model.functions.linalg import norm
from dsbridge.model.functions.registry import function
from dsbridge.model.nodes import plain


def _simple(name: str, expression: str) -> None:
    @function(name)
    def express(x: Any, inplace: bool = False) -> Code:
        return code(expression, x=x)


for _name, _expression in (
    ("relu", "ops.relu(x)"), ("relu6", "ops.relu6(x)"), ("silu", "ops.silu(x)"), ("hardswish", "ops.hardswish(x)"),
    ("hardsigmoid", "ops.hardsigmoid(x)"), ("sigmoid", "ops.sigmoid(x)"), ("tanh", "tanh(x)"), ("mish", "mish(x)"),
    ("selu", "selu(x)"), ("log_sigmoid", "log_sigmoid(x)"), ("softsign", "ops.softsign(x)"),
    ("special_expit", "ops.sigmoid(x)"),
):  # fmt: skip
    _simple(_name, _expression)


@function("gelu")
def gelu(x: Any, approximate: str = "none") -> Code:
    """Exact unless told."""
    return call("ops.gelu", x, approximate=approximate)


@function("leaky_relu")
def leaky_relu(x: Any, negative_slope: Any = 0.01, inplace: bool = False) -> Code:
    """MindSpore's default slope is 0.2."""
    return call("ops.leaky_relu", x, alpha=negative_slope)


@function("elu")
def elu(x: Any, alpha: Any = 1.0, inplace: bool = False) -> Code:
    """MindSpore's has alpha 1 only."""
    return code("ops.elu(x)", x=x) if plain(alpha) == 1.0 else call("elu", x, alpha)


@function("celu")
def celu(x: Any, alpha: Any = 1.0, inplace: bool = False) -> Code:
    """max(x, 0) + min(alpha (exp(x / alpha) - 1), 0)."""
    return code("a * ops.elu(x / a)", a=alpha, x=x) if plain(alpha) != 1.0 else code("ops.elu(x)", x=x)


@function("prelu")
def prelu(x: Any, weight: Any) -> Code:
    """A slope for all, or for each channel."""
    if plain(weight.shape) == (1,) or x.ndim < 3:
        return code("ops.where(x > 0, x, w * x)", x=x, w=weight)
    return code("ops.where(x > 0, x, w.reshape(s) * x)", x=x, w=weight, s=(-1, *(1,) * (x.ndim - 2)))


@function("threshold", "_threshold")
def threshold(x: Any, threshold: Any, value: Any, inplace: bool = False) -> Code:
    """x where it is larger."""
    return code("ops.where(x > t, x, v)", x=x, t=threshold, v=_float(value))


@function("hardshrink")
def hardshrink(x: Any, lambd: Any = 0.5) -> Code:
    """x where it is away from 0."""
    return code("ops.where(ops.abs(x) > t, x, 0.0)", x=x, t=lambd)


@function("softshrink")
def softshrink(x: Any, lambd: Any = 0.5) -> Code:
    """x, nearer to 0."""
    return code("x - ops.clamp(x, a, b)", x=x, a=-plain(lambd), b=lambd)


def _float(value: Any) -> Any:
    return float(value) if isinstance(value, int) else value


@function("softmin")
def softmin(x: Any, dim: Any = None, _stacklevel: int = 3, dtype: Any = None) -> Code:
    """Softmax of -x."""
    return softmax(code("-x", x=x), _axis(x, dim), dtype=dtype)


@function("cosine_similarity")
def cosine_similarity(x1: Any, x2: Any, dim: Any = 1, eps: Any = 1e-8) -> Code:
    """A helper."""
    return call("cosine_similarity", x1, x2, dim, eps)


@function("hardtanh")
def hardtanh(x: Any, min_val: Any = -1.0, max_val: Any = 1.0, inplace: bool = False) -> Code:
    """The same bounds."""
    return call("ops.hardtanh", x, min_val, max_val)


@function("softplus")
def softplus(x: Any, beta: Any = 1.0, threshold: Any = 20.0) -> Code:
    """A helper."""
    return call("softplus", x, beta, threshold)


@function("softmax")
def softmax(x: Any, dim: Any = None, _stacklevel: int = 3, dtype: Any = None) -> Code:
    """In ``dtype`` if given."""
    return call("ops.softmax", x if dtype is None else code("x.astype(d)", x=x, d=dtype), axis=_axis(x, dim))


@function("log_softmax")
def log_softmax(x: Any, dim: Any = None, _stacklevel: int = 3, dtype: Any = None) -> Code:
    """A helper; in ``dtype`` if given."""
    return call("log_softmax", x if dtype is None else code("x.astype(d)", x=x, d=dtype), axis=_axis(x, dim))


def _axis(x: Any, dim: Any) -> Any:
    return dim if dim is not None else (0 if x.ndim in (0, 1, 3) else 1)


@function("glu")
def glu(x: Any, dim: int = -1) -> Code:
    """The same axis."""
    return call("ops.glu", x, axis=dim)


@function("dropout")
def dropout(x: Any, p: Any = 0.5, training: Any = True, inplace: bool = False) -> Any:
    """Nothing in eval mode; where a class is emitted for both modes, its own flag decides."""
    if training is False:
        return x
    return code("ops.dropout(x, p=p, training=self.training)", x=x, p=p)


@function("dropout1d", "dropout2d", "dropout3d")
def dropout_channels(x: Any, p: Any = 0.5, training: Any = True, inplace: bool = False) -> Any:
    """Whole channels; which of the three it is, the rank says."""
    if training is False:
        return x
    if x.ndim not in (3, 4, 5):
        raise Refused(f"{x.ndim}-d: without a batch")
    return code(f"ops.dropout{x.ndim - 2}d(x, p=p, training=self.training)", x=x, p=p)


@function("normalize")
def normalize(x: Any, p: Any = 2.0, dim: Any = 1, eps: Any = 1e-12) -> Code:
    """x / max(norm, eps), which has the same gradient."""
    return code("x / ops.clamp(n, min=e)", x=x, n=norm(x, p, dim, True), e=eps)
