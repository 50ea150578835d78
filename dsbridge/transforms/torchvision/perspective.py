"""torchvision's RandomPerspective."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType, MethodType, SimpleNamespace
from typing import Any

from dsbridge.transforms.foreign import pin_coin, pin_params, pinned
from dsbridge.transforms.ops.perspective import RandomPerspective
from dsbridge.transforms.torchvision.names import both
from dsbridge.transforms.torchvision.pad import fill_of
from dsbridge.transforms.torchvision.rotate import filter_of


def _perspective(original: Any) -> RandomPerspective:
    return RandomPerspective(
        distortion_scale=original.distortion_scale,
        p=float(original.p),
        interpolation=filter_of(original),
        fill=fill_of(original),
    )


def _pin(original: Any, params: Any) -> Callable[[Any], Any]:
    """v2 draws the coefficients; v1 draws corners and solves for them inside, so there the solver's answer is replaced."""
    if params is None:
        return pin_coin(original, params)
    found = list(params[0])
    if hasattr(original, "make_params"):
        return pin_params(original, v1=None, v2={"coefficients": found})
    forward = type(original).forward
    functional = forward.__globals__["F"]
    solved = _rebound(functional.perspective, _get_perspective_coeffs=lambda startpoints, endpoints: found)
    changed = _rebound(forward, F=SimpleNamespace(**{**vars(functional), "perspective": solved}))
    clone = pinned(original, p=1.0)
    return pinned(clone, forward=MethodType(changed, clone))  # type: ignore[no-any-return]


def _rebound(function: Any, **names: Any) -> FunctionType:
    """The same function, to which these global names mean something else."""
    return FunctionType(function.__code__, {**function.__globals__, **names}, function.__name__, function.__defaults__)


FOREIGN = both("RandomPerspective", "_geometry", _perspective, _pin)
