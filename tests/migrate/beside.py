"""Emitted optimizers beside torch's on the same gradients: many settings in one process for each mode."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dsbridge.migrate.optimizer import optimizer_source
from dsbridge.migrate.schedule import schedule_source
from dsbridge.migrate.source import Source
from dsbridge.migrate.state import optimizer_state, state_source

STEPS = 30
SHAPES = {"deep.weight": (4, 3), "deep.bias": (4,), "head.conv.weight": (2, 4, 1), "head.bias": (2,)}
SCALES = dict(zip(SHAPES, (1.0, 1e-2, 1e-4, 1.0), strict=True))  # so that eps matters

Parameters = list[torch.nn.Parameter]
Make = Callable[[Parameters], torch.optim.Optimizer]

CHILD = """
import contextlib
import importlib.util, json, sys
import mindspore as ms
import numpy as np
from mindspore import nn, ops

with contextlib.suppress(SystemError):  # numpy 2: the first operation of a process
    ops.add(ms.Tensor(np.ones(2, np.float32)), 1).asnumpy()

arrays, result, graph = dict(np.load("arrays.npz")), {}, sys.argv[1] == "graph"


class Network(nn.Cell):
    def __init__(self, weights):
        super().__init__()
        for name, array in weights.items():
            setattr(self, name.replace(".", "_"), ms.Parameter(ms.Tensor(array), name=name))


for number, case in enumerate(json.load(open("cases.json"))):
    spec = importlib.util.spec_from_file_location("source", f"case{number}.py")
    module = sys.modules["source"] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        held = dict(np.load(f"case{number}.npz"))
        network = Network({name[7:]: array for name, array in held.items() if name.startswith("weight:")})
        optimizer = module.make_optimizer(network)
        scheduler = module.make_scheduler(optimizer) if hasattr(module, "make_scheduler") else None
        if case["begin"]:
            module.load_optimizer(optimizer, {key[6:]: array for key, array in held.items() if key.startswith("state:")})
        order = [p.name for p in optimizer.parameters]

        def update(*gradients):
            optimizer(gradients)
            return gradients[0].sum()

        step = ms.jit(update) if graph else update
        first = [float(group["lr"].asnumpy()) for group in optimizer.param_groups]
        for at in range(case["begin"], case["steps"]):
            if scheduler is None:
                for group, rate in zip(optimizer.param_groups, first):
                    ops.assign(group["lr"], ms.Tensor(rate * case["factors"][at], ms.float32))
            step(*[ms.Tensor(arrays[f"gradient:{at}:{name}"]) for name in order])
            if scheduler is not None:
                scheduler.step()
        result |= {f"{number}:{p.name}": p.asnumpy() for p in network.get_parameters()}
    except Exception as exc:
        result[f"{number}:error"] = np.array(f"{type(exc).__name__}: {str(exc)[:600]}")
np.savez("result.npz", **result)
"""


@dataclass(frozen=True)
class Case:
    """An optimizer, perhaps a schedule (else rates change by hand); ``begin``: the step at which MindSpore takes over.

    ``mutate``: (text, other text) to be exchanged in the source, so that it is wrong.
    """

    make: Make
    schedule: Callable[[Any], Any] | None = None
    begin: int = 0
    mutate: tuple[str, str] | None = None


def factor(step: int) -> float:
    """How rates change by hand."""
    return 1.0 if step < 10 else 0.3 if step < 20 else 0.7


def fixed() -> dict[str, np.ndarray[Any, Any]]:
    """Weights and the gradients of each step, float32."""
    rng = np.random.default_rng(0)
    made = {f"weight:{name}": rng.standard_normal(shape) * SCALES[name] for name, shape in SHAPES.items()}
    for step in range(STEPS):
        made |= {f"gradient:{step}:{name}": rng.standard_normal(shape) * SCALES[name] for name, shape in SHAPES.items()}
    return {name: array.astype(np.float32) for name, array in made.items()}


class Torch:
    """torch's side of a case."""

    def __init__(self, case: Case, dtype: torch.dtype) -> None:
        self.arrays, self.case, self.dtype = fixed(), case, dtype
        self.parameters = {
            name: torch.nn.Parameter(torch.from_numpy(self.arrays[f"weight:{name}"]).to(dtype)) for name in SHAPES
        }
        self.optimizer = case.make(list(self.parameters.values()))
        self.scheduler = case.schedule(self.optimizer) if case.schedule else None
        self.first = [float(group["lr"]) for group in self.optimizer.param_groups]

    def run(self, begin: int, end: int) -> Torch:
        """Train from one step to another."""
        for step in range(begin, end):
            if self.scheduler is None:
                for group, rate in zip(self.optimizer.param_groups, self.first, strict=True):
                    group["lr"] = rate * factor(step)
            for name, parameter in self.parameters.items():
                if parameter.requires_grad:
                    parameter.grad = torch.from_numpy(self.arrays[f"gradient:{step}:{name}"]).to(self.dtype)
            self.optimizer.step()
            if self.scheduler is not None:
                self.scheduler.step()
        if self.scheduler is None:
            for group, rate in zip(self.optimizer.param_groups, self.first, strict=True):
                group["lr"] = rate
        return self

    @property
    def names(self) -> dict[int, tuple[str, int]]:
        """What ``optimizer_source`` wants to know."""
        return {id(parameter): (name, parameter.ndim) for name, parameter in self.parameters.items()}

    @property
    def weights(self) -> dict[str, np.ndarray[Any, Any]]:
        """As they are now."""
        return {name: parameter.detach().numpy().copy() for name, parameter in self.parameters.items()}

    def sources(self) -> list[Source]:
        """Everything that a file needs to go on from here."""
        found = [optimizer_source(self.optimizer, self.names)]
        if self.scheduler is not None:
            found.append(schedule_source(self.scheduler, self.optimizer))
        return [*found, state_source()]


def joined(sources: Sequence[Source]) -> str:
    """One file of several pieces."""
    imports = dict.fromkeys(line for source in sources for line in source.imports)
    parts = ["\n".join(imports), *(source.definitions for source in sources), *("\n".join(one.lines) for one in sources)]
    return "\n\n\n".join(filter(None, parts)) + "\n"


def errors(cases: Mapping[str, Case], folder: Path, mode: str) -> dict[str, tuple[float, float] | str]:
    """Of each case: how far MindSpore and torch's float32 are from torch's float64, as parts of the way that was gone."""
    np.savez(folder / "arrays.npz", **fixed())
    told = []
    for number, case in enumerate(cases.values()):
        before = Torch(case, torch.float32).run(0, case.begin)
        text = joined(before.sources())
        if case.mutate:
            assert text.count(case.mutate[0]) == 1, text
            text = text.replace(*case.mutate)
        (folder / f"case{number}.py").write_text(text)
        held = {f"weight:{name}": array for name, array in before.weights.items()}
        held |= {f"state:{key}": array for key, array in optimizer_state(before.optimizer, before.names).items()}
        np.savez(folder / f"case{number}.npz", **held)
        told.append({"begin": case.begin, "steps": STEPS, "factors": list(map(factor, range(STEPS)))})
    (folder / "cases.json").write_text(json.dumps(told))
    (folder / "child.py").write_text(CHILD)
    done = subprocess.run(
        [sys.executable, "child.py", mode],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=900,
        env={**os.environ, "GLOG_v": "3"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(folder / "result.npz") as result:
        got = dict(result)
    return {name: _error(number, case, got) for number, (name, case) in enumerate(cases.items())}


def _error(number: int, case: Case, got: Mapping[str, np.ndarray[Any, Any]]) -> tuple[float, float] | str:
    if f"{number}:error" in got:
        return str(got[f"{number}:error"])
    exact, single = Torch(case, torch.float64).run(0, STEPS), Torch(case, torch.float32).run(0, STEPS)
    ours, theirs = [0.0], [0.0]
    for name, want in exact.weights.items():
        way = np.linalg.norm(want - exact.arrays[f"weight:{name}"])
        if not exact.parameters[name].requires_grad or way == 0:
            assert np.array_equal(got[f"{number}:{name}"], want.astype(np.float32)), f"{name} was trained"
            continue
        ours.append(float(np.linalg.norm(got[f"{number}:{name}"] - want) / way))
        theirs.append(float(np.linalg.norm(single.weights[name] - want) / way))
    return max(ours), max(theirs)


def wrong(found: Mapping[str, tuple[float, float] | str]) -> dict[str, str]:
    """The cases that are further off than ten times torch's own float32."""
    bad = {}
    for name, error in found.items():
        if isinstance(error, str):
            bad[name] = error
        elif not error[0] <= 10 * error[1] + 1e-5:
            bad[name] = f"off by {error[0]:.2g} of the way (torch's float32: {error[1]:.2g})"
    return bad
