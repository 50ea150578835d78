"""Matching by the order in which modules run, where names and definition order say nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from mindspore import nn

import dsbridge as dsb
from dsbridge.checkpoint.execution import execution
from dsbridge.errors import CheckpointError

X = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)


class Model(torch.nn.Module):
    """Defines its layers in another order than it runs them."""

    def __init__(self) -> None:
        super().__init__()
        self.last, self.first = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)
        self.drop = torch.nn.Dropout(0.5)

    def forward(self, x: Any) -> Any:
        return self.last(self.drop(torch.relu(self.first(x))))


class Network(nn.Cell):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Dense(4, 4), nn.Dense(4, 4)
        self.act = nn.ReLU()

    def construct(self, x: Any) -> Any:
        return self.two(self.act(self.one(x)))


@pytest.fixture
def saved(tmp_path) -> tuple[Model, Network, str]:
    torch.manual_seed(0)
    model = Model()
    torch.save(model.state_dict(), tmp_path / "model.pth")
    return model, Network(), str(tmp_path / "model.pth")


def test_execution_order_proposes_what_definition_order_gets_wrong(saved, tmp_path) -> None:
    model, network, path = saved
    by_definition = dsb.checkpoint.plan(path, model=model, network=network)
    assert by_definition.pairs["last.weight"] == "one.weight"  # shapes fit, and it is wrong

    plan = dsb.checkpoint.plan(path, model=model, network=network, inputs=X)
    assert plan.pairs == {f"{a}.{b}": f"{c}.{b}" for a, c in (("first", "one"), ("last", "two")) for b in ("weight", "bias")}
    assert set(plan.counts) == {"guessed"} and not plan.ok
    assert [(finding.code, finding.severity) for finding in plan.findings] == [("orders-disagree", "warning")]
    assert "for 2 of 2 modules: first -> one, last -> two" in str(plan)

    target = tmp_path / "model.ckpt"
    with pytest.raises(CheckpointError, match="4 guessed"):
        dsb.checkpoint.convert(path, target, model=model, network=network, inputs=X, progress=False)
    dsb.checkpoint.convert(path, target, model=model, network=network, inputs=X, accept_guesses=True, progress=False)
    dsb.checkpoint.load(target, network)
    dsb.checkpoint.verify(model, network, X).raise_if_failed()

    back = dsb.checkpoint.plan(target, model=model, network=network, inputs=X)
    assert back.pairs["one.weight"] == "first.weight"


def test_running_leaves_no_trace(saved) -> None:
    model, network, _ = saved
    model.train()
    model.first.eval()
    network.set_train(True)
    state = torch.get_rng_state()
    order = execution(model, network, (X,))
    assert order == (("", "first", "drop", "last"), ("", "one", "act", "two"))
    assert (model.training, model.first.training, model.last.training) == (True, False, True)
    assert network.training and network.two.training
    assert bool((torch.get_rng_state() == state).all())
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert not any(cell._forward_pre_hook for _, cell in network.cells_and_names())


def test_modules_that_do_not_run_are_named(saved) -> None:
    model, network, path = saved
    model.unused, network.spare = torch.nn.Linear(4, 2), nn.Dense(4, 2)
    torch.save(model.state_dict(), path)
    plan = dsb.checkpoint.plan(path, model=model, network=network, inputs={"x": X})
    said = {finding.where: finding.message for finding in plan.findings if finding.code == "not-run"}
    assert "1 modules did not run on these inputs and come last: unused" in said["model"] and "spare" in said["network"]
    assert plan.pairs["unused.weight"] == "spare.weight"


def test_inputs_need_both_models(saved) -> None:
    model, _, path = saved
    with pytest.raises(CheckpointError, match="inputs= is for running both models"):
        dsb.checkpoint.plan(path, model=model, inputs=X)


def test_a_model_without_modules_that_run_is_refused(saved) -> None:
    network = saved[1]

    class Flat(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return x

    with pytest.raises(CheckpointError, match="no module inside the model was seen to run"):
        execution(Flat(), network, X)
