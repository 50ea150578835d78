"""Proves many small modules at once: one process for each mode, as starting MindSpore takes seconds."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from dsbridge.errors import Unsupported
from dsbridge.model import oracle
from dsbridge.model.convert import draft, load_source
from dsbridge.model.jobs import GRAPH, PYNATIVE, Job, run_jobs
from dsbridge.model.judge import relative
from dsbridge.model.weights import Weights, state_of

MODES = [pytest.param(PYNATIVE, id="PyNative"), pytest.param(GRAPH, id="graph", marks=pytest.mark.slow)]


@dataclass
class Case:
    """A module and the inputs it is run on; ``training``: in which mode. Floating-point inputs get gradients, too."""

    name: str
    module: torch.nn.Module
    inputs: tuple[torch.Tensor, ...]
    training: bool = True


class Scaled(torch.nn.Module):
    """Floating-point inputs go through a parameter, so that the gradient of what is tried shows in parameters."""

    def __init__(self, inner: torch.nn.Module, inputs: Sequence[torch.Tensor]) -> None:
        super().__init__()
        self.inner = inner
        for number, one in enumerate(inputs):
            if one.dtype.is_floating_point:
                self.register_parameter(f"scale{number}", torch.nn.Parameter(torch.ones(one.shape)))
        self.count = len(inputs)

    def forward(self, *inputs: Any) -> Any:
        scaled = [one * getattr(self, f"scale{n}") if hasattr(self, f"scale{n}") else one for n, one in enumerate(inputs)]
        return self.inner(*scaled)


class Calls(torch.nn.Module):
    """A function as a module."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self._function = function

    def forward(self, *inputs: Any) -> Any:
        return self._function(*inputs)


def failures(cases: Sequence[Case], modes: Sequence[int] = (PYNATIVE, GRAPH)) -> dict[str, str]:
    """What is wrong, by the case's name; cases that are fine are not in it."""
    found: dict[str, str] = {}
    ready = []
    for case in cases:
        torch.manual_seed(1)
        try:
            ready.append((case, *_prepared(case)))
        except Unsupported as exc:
            found[case.name] = f"Unsupported: {exc}"
        except Exception as exc:
            found[case.name] = f"{type(exc).__name__}: {exc}"
    for mode in modes:
        results = run_jobs([_job(case, prepared) for case, *prepared in ready], mode)
        for (case, *prepared), got in zip(ready, results, strict=True):
            wrong = _wrong(prepared, got)
            if wrong:
                word = "graph" if mode == GRAPH else "PyNative"
                found[case.name] = f"{found.get(case.name, '')} {word}: {wrong}".strip()
    return found


def _prepared(case: Case) -> Any:
    model = Scaled(case.module, case.inputs)
    model = oracle.perturbed(model, case.inputs, {})
    made = draft(model, case.inputs, {})
    network = load_source(made.source, made.root)
    weights = Weights(model, network, made.unused, made.rules)
    arrays = weights.arrays(state_of(model, made.unused))
    with torch.random.fork_rng(devices=[]):
        needs = [o.requires_grad for o in oracle.leaves(copy.deepcopy(model)(*case.inputs)) if isinstance(o, torch.Tensor)]
    exact, single = (
        oracle.run(model, case.inputs, {}, training=case.training, dtype=dtype, backward=all(needs))
        for dtype in (torch.float64, torch.float32)
    )
    return made, arrays, exact, single, *(weights.by_path(side.gradients, torch.float64) for side in (exact, single))


def _job(case: Case, prepared: Any) -> Job:
    made, arrays, exact, *_ = prepared
    return Job(made.source, made.root, arrays, case.inputs, case.training, exact.along)


def _wrong(prepared: Any, got: Any) -> str:
    _, _, exact, single, gradients, yardsticks = prepared
    if isinstance(got, str):
        return got
    for number, (a, b) in enumerate(zip(exact.outputs, single.outputs, strict=True)):
        c = got[f"out:{number}"]
        if a.shape != c.shape:
            return f"output {number}: shape {list(c.shape)}, expected {list(a.shape)}"
        if not _off(a, c) <= 10 * _off(a, b) + 1e-5:
            return f"output {number}: off by {_off(a, c):.2g} (torch's float32: {_off(a, b):.2g})"
    for path, gradient in gradients.items():
        if f"grad:{path}" in got:
            error, own = _off(gradient, got[f"grad:{path}"]), _off(gradient, yardsticks[path])
            if not error <= 10 * own + 1e-5:
                return f"gradient of {path}: off by {error:.2g} (torch's float32: {own:.2g})"
    return ""


def _off(reference: Any, got: Any) -> float:
    """How far off; what is infinite or no number in both is equal."""
    same = np.isnan(reference) & np.isnan(got) | np.isinf(reference) & (reference == got)
    return relative(np.where(same, 0.0, reference), np.where(same, 0.0, got))
