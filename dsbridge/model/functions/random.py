"""Random numbers in forward: of the same distribution. A proof puts constants in their place, and compares spreads after."""

from __future__ import annotations

from typing import Any

import torch

from dsbridge.model.code import Code, call, code
from dsbridge.model.construct import Refused
from dsbridge.model.functions.creation import dtype_of, shape_of
from dsbridge.model.functions.registry import function


@function("rand")
def rand(*size: Any, dtype: Any = None, **more: Any) -> Code:
    """Uniform in [0, 1)."""
    return _drawn("ops.rand", size or (more.pop("size"),), dtype, more)


@function("randn")
def randn(*size: Any, dtype: Any = None, **more: Any) -> Code:
    """Normal."""
    return _drawn("ops.randn", size or (more.pop("size"),), dtype, more)


@function("rand_like")
def rand_like(x: Any, *, dtype: Any = None, **more: Any) -> Code:
    """Uniform in [0, 1)."""
    return call("ops.rand_like", x, dtype=dtype and dtype_of(dtype, more))


@function("randn_like")
def randn_like(x: Any, *, dtype: Any = None, **more: Any) -> Code:
    """Normal."""
    return call("ops.randn_like", x, dtype=dtype and dtype_of(dtype, more))


@function("bernoulli")
def bernoulli(x: Any, *, generator: Any = None) -> Code:
    """One with the probability that x says."""
    return code("(ops.rand_like(x) < x).astype(d)", x=x, d=x.dtype)


@function("bernoulli_")
def bernoulli_(x: Any, p: Any = 0.5, *, generator: Any = None) -> Code:
    """Of x only the shape counts."""
    return code("(ops.rand_like(x) < p).astype(d)", x=x, p=p, d=x.dtype)


@function("multinomial", "normal", "normal_", "uniform_", "randint", "randint_like", "randperm")
def random(*args: Any, **kwargs: Any) -> Code:
    """What a proof has no constant for."""
    raise Refused("random numbers other than dropout, stochastic depth, rand, randn and bernoulli")


def _drawn(name: str, size: tuple[Any, ...], dtype: Any, more: dict[str, Any]) -> Code:
    if more.pop("generator", None) is not None:
        raise Refused("a generator of its own")
    sizes, kind = shape_of(size), dtype_of(dtype, more)
    return call(name, *sizes, dtype=None if kind == torch.float32 else kind)
