"""Weights to compare with: perturbed, and such that torch's own gradient stays where it is under rounding.

A ReLU whose input is within rounding of zero, or a maximum of two such, is passed by one framework and not by the other, which
says nothing about either.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from dsbridge.model import oracle
from dsbridge.model.judge import norm, relative
from dsbridge.model.weights import Arrays, Weights

SEEDS = 6  # weights tried
SHAKES = 3  # of each: a tie gives way to one side only
ROUNDING = 3e-7  # their size, relative to the weights
MOST = 100.0  # times that, where float32 moves outputs further
STEADY = 1e-5  # a gradient that moves by less is steady


@dataclass(frozen=True, slots=True)
class Example:
    """What a model is run on, and in which mode."""

    inputs: Sequence[Any]
    kwargs: Mapping[str, Any]
    training: bool

    def run(self, model: torch.nn.Module, dtype: torch.dtype, **more: Any) -> oracle.Side:
        """torch's run of a model in a dtype."""
        return oracle.run(model, self.inputs, self.kwargs, training=self.training, dtype=dtype, **more)


@dataclass(slots=True)
class Steady:
    """Weights to compare with: the model, its float64 run and its float32 run (without gradients).

    ``expected``: the gradient by the cell's parameters. ``yardsticks``: how far that of float32, and those at weights a
    rounding away, are off, by the cell's parameters. ``moved``: how far rounding moves it, relative.
    """

    model: torch.nn.Module
    exact: oracle.Side
    single: oracle.Side
    expected: Arrays
    yardsticks: list[dict[str, float]]
    moved: float = np.inf

    @property
    def near_ties(self) -> bool:
        """Whether no weights were found around which the gradient is steady."""
        return self.moved >= STEADY


def steady(model: torch.nn.Module, example: Example, weights: Weights, seed: int) -> Steady:
    """The first of ``SEEDS`` perturbed weights around which torch's gradient is steady.

    Where none are (deep networks, small batches), the ones at which it moves least, and how far it does is part of the
    yardstick.
    """
    best = None
    for number in range(seed, seed + SEEDS):
        least = np.inf if best is None else best.moved
        tried = _tried(oracle.perturbed(model, example.inputs, example.kwargs, number), example, weights, least)
        if best is None or tried.moved < least:
            best = tried
        if not best.near_ties:
            break
    assert best is not None
    return best


def _tried(model: torch.nn.Module, example: Example, weights: Weights, least: float) -> Steady:
    """Weights, and how far rounding moves their gradient; unfinished once that is no less than ``least``."""
    exact, single = (example.run(model, dtype, backward=True) for dtype in (torch.float64, torch.float32))
    found = Steady(model, exact, single, weights.by_path(exact.gradients, torch.float64), [])
    whole, moved = norm(found.expected.values()) or 1.0, 0.0
    for gradients, judges in _rounded(found, example):
        by_path = weights.by_path(gradients, torch.float64).items()
        off = {path: float(np.linalg.norm(array - found.expected[path])) for path, array in by_path}
        if judges:
            found.yardsticks.append(off)
        moved = max(moved, float(np.linalg.norm(list(off.values()))) / whole)
        if moved >= least:
            break
    single.gradients.clear()  # another copy of the model
    found.moved = moved
    return found


def _rounded(found: Steady, example: Example) -> Iterator[tuple[Mapping[str, Any], bool]]:
    """torch's own gradients a rounding away, one set at a time, and whether they are yardsticks.

    Shakes larger than a rounding of the weights are none: they would make the proof blunt.
    """
    yield found.single.gradients, True
    furthest = 0.0
    for number in range(SHAKES):
        side = example.run(oracle.shaken(found.model, ROUNDING, number), torch.float64, backward=True)
        furthest = max(furthest, _apart(found.exact, side))
        yield side.gradients, True
    size = shake_size(_apart(found.exact, found.single), furthest)
    for number in range(SHAKES, 2 * SHAKES) if size > ROUNDING else ():
        yield example.run(oracle.shaken(found.model, size, number), torch.float64, backward=True).gradients, False


def shake_size(error: float, moved: float) -> float:
    """How far to shake weights so that outputs move as far as float32's ``error``, when ``ROUNDING`` has ``moved`` them.

    Both relative. Never less than ``ROUNDING``, nor more than ``MOST`` times that.

    >>> [f"{shake_size(error, 1e-6):.0e}" for error in (1e-7, 1e-5, 1e-3)]
    ['3e-07', '3e-06', '3e-05']
    """
    return ROUNDING * float(np.clip(error / moved if moved else 1.0, 1.0, MOST))


def _apart(exact: oracle.Side, side: oracle.Side) -> float:
    return float(np.linalg.norm([relative(a, b) for a, b in zip(exact.outputs, side.outputs, strict=True)]))
