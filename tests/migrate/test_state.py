"""Training goes on midway: the state of each torch optimizer, through the checkpoint's table, in the emitted one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import beside
import mindspore as ms
import numpy as np
import pytest
import torch
from beside import SHAPES, Case
from torch import optim

from dsbridge.checkpoint.ops import Permute, Split
from dsbridge.errors import Unsupported
from dsbridge.frameworks.mindspore_tensors import tensor_type
from dsbridge.migrate.optimizer import TARGETS, optimizer_source
from dsbridge.migrate.state import optimizer_state, state_source

CASES = {
    "SGD": Case(lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True), begin=9),
    "SGD, dampening": Case(lambda p: optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.3), begin=9),
    "Adam": Case(lambda p: optim.Adam(p, lr=0.01, eps=1e-3), begin=9),
    "Adam, decay, amsgrad": Case(lambda p: optim.Adam(p, lr=0.01, weight_decay=0.1, amsgrad=True), begin=9),
    "AdamW": Case(lambda p: optim.AdamW(p, lr=0.01, amsgrad=True), begin=9),
    "RMSprop": Case(lambda p: optim.RMSprop(p, lr=0.01, momentum=0.9, centered=True), begin=9),
    "Adagrad": Case(lambda p: optim.Adagrad(p, lr=0.1, lr_decay=0.1), begin=9),
    "Adadelta": Case(lambda p: optim.Adadelta(p, lr=1.0, eps=1e-3), begin=9),
    "NAdam": Case(lambda p: optim.NAdam(p, lr=0.01), begin=9),
    "RAdam": Case(lambda p: optim.RAdam(p, lr=0.01), begin=9),
    "Adamax": Case(lambda p: optim.Adamax(p, lr=0.01), begin=9),
    "Rprop": Case(lambda p: optim.Rprop(p, lr=0.01), begin=9),
    "ASGD": Case(lambda p: optim.ASGD(p, lr=0.1, lambd=0.01, t0=5.0), begin=9),
}
EMPTY = ("if held is None or", "continue\n        if held is None or")
"""Nothing is loaded: that must be seen."""


@pytest.fixture(scope="module", autouse=True)
def warm_mindspore() -> None:
    tensor_type()  # on numpy 2 the first operation of a process fails


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("mode", ["PyNative", "graph"])
def test_every_optimizer_goes_on_where_torch_stopped(mode: str, tmp_path: Path) -> None:
    """21 steps after 9 of torch's; without the state each of them is another training."""
    without = {f"without: {name}": Case(case.make, begin=9, mutate=EMPTY) for name, case in CASES.items()}
    assert set(beside.wrong(beside.errors({**CASES, **without}, tmp_path, mode))) == set(without)


def trained(make: beside.Make, steps: int = 3) -> beside.Torch:
    return beside.Torch(Case(make), torch.float32).run(0, steps)


@pytest.mark.parametrize("name", CASES)
def test_state_arrives_bit_for_bit(name: str) -> None:
    side = trained(CASES[name].make)
    state = optimizer_state(side.optimizer, side.names)
    optimizer, load = emitted(side)
    load(optimizer, state)
    for key, array in state.items():
        attribute, _, path = key.partition(".")
        held = getattr(optimizer, attribute)
        held = held[[p.name for p in optimizer.parameters].index(path)] if path else held
        assert np.array_equal(held.asnumpy(), array), key
        assert optimizer.gathered[held.name] is held  # and so it is saved
    assert optimizer.gathered["learning_rate_group_0"] is optimizer.param_groups[0]["lr"]
    arrays = [value for entry in side.optimizer.state.values() for value in entry.values() if value is not None]
    moments = [array for key, array in state.items() if "." in key and not key.startswith("stat.")]
    steps = sum("step" in entry for entry in side.optimizer.state.values())
    assert len(moments) == len(arrays) - steps  # nothing is left out


def test_every_optimizer_is_tried() -> None:
    assert {type(trained(case.make).optimizer).__name__ for case in CASES.values()} == set(TARGETS)


def emitted(side: beside.Torch, shapes: dict[str, tuple[int, ...]] = SHAPES) -> tuple[Any, Any]:
    """The optimizer that the source makes, and its ``load_optimizer``."""
    parameters = [ms.Parameter(ms.Tensor(np.ones(shape, np.float32)), name=name) for name, shape in shapes.items()]
    space: dict[str, Any] = {}
    exec(beside.joined([optimizer_source(side.optimizer, side.names), state_source(saved=True)]), space)
    optimizer = space["make_optimizer"](SimpleNamespace(trainable_params=lambda: parameters))
    optimizer.gathered = space["gathered"](optimizer)
    return optimizer, space["load_optimizer"]


def test_there_is_no_state_before_the_first_step() -> None:
    assert optimizer_state(trained(CASES["Adam"].make, 0).optimizer, {}) == {}


def test_moments_are_laid_out_as_their_weights_are() -> None:
    """A weight that the cell has transposed; a state that does not fit the cell is refused."""
    side = trained(lambda p: optim.Adam(p, lr=0.01))
    operations = {"deep.weight": (Permute((1, 0)),)}
    state = optimizer_state(side.optimizer, side.names, operations)
    moments = side.optimizer.state[side.parameters["deep.weight"]]
    assert np.array_equal(state["exp_avg.deep.weight"], moments["exp_avg"].numpy().T)
    optimizer, load = emitted(side)
    with pytest.raises(ValueError, match=r"exp_avg.deep.weight has the shape \(3, 4\), the optimizer's has \(4, 3\)"):
        load(optimizer, state)
    assert not optimizer.exp_avg[1].asnumpy().any()  # nothing was written
    optimizer, load = emitted(side, {**SHAPES, "deep.weight": (3, 4)})
    load(optimizer, state)
    with pytest.raises(Unsupported, match="exp_avg of deep.weight: its weight becomes 2 in the cell"):
        optimizer_state(side.optimizer, side.names, {"deep.weight": (Split(0, (1, 3)),)})
    wide = {key: (name, 4 if name == "head.conv.weight" else ndim) for key, (name, ndim) in side.names.items()}
    with pytest.raises(Unsupported, match="exp_avg of head.conv.weight: torch has 3 axes, the cell 4.*operations"):
        optimizer_state(side.optimizer, wide)


def test_what_the_optimizer_has_no_place_for_is_an_error() -> None:
    side = trained(lambda p: optim.Adam(p, lr=0.01))
    optimizer, load = emitted(side)
    state = optimizer_state(side.optimizer, side.names)
    for key, message in (("exp_avg.other", "no exp_avg of other"), ("speed", "no speed of all parameters")):
        with pytest.raises(ValueError, match=message):
            load(optimizer, {**state, key: np.ones(2, np.float32)})


def test_the_state_is_a_copy() -> None:
    side = trained(lambda p: optim.Adam(p, lr=0.01))
    state = optimizer_state(side.optimizer, side.names)
    before = {key: array.copy() for key, array in state.items()}
    side.run(3, 6)
    assert all(np.array_equal(state[key], array) for key, array in before.items())


def test_different_numbers_of_steps_are_refused_where_mindspore_counts_once() -> None:
    def uneven(cls: Any) -> beside.Torch:
        side = trained(lambda p: cls(p, lr=0.01), 2)
        side.parameters["deep.bias"].grad = None
        side.optimizer.step()
        return side

    side = uneven(optim.AdamW)
    with pytest.raises(Unsupported, match="step: deep.bias has done 2 steps, .* 3; experimental.AdamW counts for all"):
        optimizer_state(side.optimizer, side.names)
    side = uneven(optim.RMSprop)
    assert optimizer_state(side.optimizer, side.names)


def test_other_optimizers_are_refused() -> None:
    with pytest.raises(Unsupported, match="LBFGS: MindSpore has no equal"):
        optimizer_state(optim.LBFGS([torch.nn.Parameter(torch.ones(1))]), {})
