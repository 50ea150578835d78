"""Optimizer state moves both ways: ten torch steps, convert, ten more on both sides with the same gradients."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import mindspore as ms
import numpy as np
import pytest
import torch
from mindspore import nn
from mindspore.experimental import optim as experimental

from dsbridge.checkpoint import ops
from dsbridge.checkpoint.optimizer import convert_optimizer
from dsbridge.checkpoint.optimizer_back import optimizer_to_torch
from dsbridge.checkpoint.optimizer_table import REFUSED, TABLE, infer_class, recipe
from dsbridge.checkpoint.param_groups import grouped, read_torch
from dsbridge.checkpoint.scheduler import convert_scheduler
from dsbridge.errors import CheckpointError
from dsbridge.frameworks.mindspore_tensors import tensor_type

SHAPES = {"fc.weight": (5, 4), "norm.weight": (4,)}
NAMES = {"fc.weight": "fc.weight", "norm.weight": "norm.gamma"}  # the name that MindSpore exempts from weight decay


@dataclass(frozen=True)
class Pairs:
    pairs: dict[str, str]
    operations: dict[str, tuple[Any, ...]] = field(default_factory=dict)


PLAN = Pairs(NAMES)


@pytest.fixture(scope="module", autouse=True)
def warm_mindspore() -> None:
    tensor_type()  # on numpy 2 the first operation of a process fails


def gradients(steps: int, seed: int = 0) -> list[list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [[rng.standard_normal(shape).astype(np.float32) for shape in SHAPES.values()] for _ in range(steps)]


def torch_side(make: Any, seed: int = 1) -> tuple[dict[str, torch.nn.Parameter], Any]:
    rng = np.random.default_rng(seed)
    tensors = {
        name: torch.nn.Parameter(torch.from_numpy(rng.standard_normal(shape).astype(np.float32)))
        for name, shape in SHAPES.items()
    }
    return tensors, make(list(tensors.items()))


def ms_side(tensors: dict[str, torch.nn.Parameter], names: dict[str, str] = NAMES) -> list[ms.Parameter]:
    return [ms.Parameter(ms.Tensor(tensor.detach().numpy().copy()), name=names[name]) for name, tensor in tensors.items()]


def torch_steps(tensors: dict[str, torch.nn.Parameter], optimizer: Any, some: list[list[np.ndarray]]) -> None:
    for grads in some:
        for tensor, grad in zip(tensors.values(), grads, strict=True):
            tensor.grad = torch.from_numpy(grad.copy())
        optimizer.step()


def ms_steps(optimizer: Any, some: list[list[np.ndarray]]) -> None:
    for grads in some:
        optimizer(tuple(ms.Tensor(grad.copy()) for grad in grads))


def difference(tensors: dict[str, torch.nn.Parameter], parameters: list[ms.Parameter]) -> float:
    return max(float(np.abs(t.detach().numpy() - p.asnumpy()).max()) for t, p in zip(tensors.values(), parameters, strict=True))


@dataclass(frozen=True)
class Case:
    """One row of the reference; ``apart``: how far off it would be without the state (so that the test can fail)."""

    torch: str
    target: str
    options: dict[str, Any]
    ms_options: dict[str, Any]
    tolerance: float
    apart: float = 1e-3
    decay: float = 0.0

    def __str__(self) -> str:
        return f"{self.torch}-{self.target}-{'-'.join(f'{k}={v}' for k, v in self.options.items())}"

    def make_torch(self, named: Any) -> Any:
        return (
            getattr(torch.optim, self.torch)(named, weight_decay=self.decay, **self.options)
            if self.torch != "Rprop"
            else (torch.optim.Rprop(named, **self.options))
        )

    def make_ms(self, parameters: list[ms.Parameter]) -> Any:
        kind, name = self.target.split(".")
        if kind == "nn":
            return getattr(nn, name)(grouped(parameters, self.decay), **self.ms_options)
        decay = {} if self.torch == "Rprop" else {"weight_decay": self.decay}
        return getattr(experimental, name)(parameters, **decay, **self.ms_options)


def same(torch_class: str, target: str, tolerance: float, apart: float = 1e-3, decay: float = 0.0, **options: Any) -> Case:
    return Case(torch_class, target, options, options, tolerance, apart, decay)


def other(
    torch_class: str, target: str, tolerance: float, options: dict[str, Any], ms_options: dict[str, Any], decay: float = 0.0
) -> Case:
    return Case(torch_class, target, options, ms_options, tolerance, decay=decay)


CASES = [
    other("SGD", "nn.SGD", 1e-6, {"lr": 0.1, "momentum": 0.9}, {"learning_rate": 0.1, "momentum": 0.9}, 0.01),
    other(
        "SGD",
        "nn.SGD",
        1e-6,
        {"lr": 0.1, "momentum": 0.9, "nesterov": True},
        {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True},
        0.01,
    ),
    other(
        "SGD",
        "nn.SGD",
        1e-6,
        {"lr": 0.1, "momentum": 0.9, "dampening": 0.3},
        {"learning_rate": 0.1, "momentum": 0.9, "dampening": 0.3},
    ),
    same("SGD", "experimental.SGD", 1e-6, lr=0.1, momentum=0.9, nesterov=True, decay=0.01),
    same("SGD", "experimental.SGD", 1e-6, lr=0.1, momentum=0.9, dampening=0.3),
    other("SGD", "nn.Momentum", 1e-6, {"lr": 0.1, "momentum": 0.9}, {"learning_rate": 0.1, "momentum": 0.9}, 0.01),
    other("Adam", "nn.Adam", 1e-6, {"lr": 0.01}, {"learning_rate": 0.01}, 0.01),
    other("Adam", "nn.Adam", 2e-6, {"lr": 0.01, "amsgrad": True}, {"learning_rate": 0.01, "use_amsgrad": True}),
    same("Adam", "experimental.Adam", 4e-6, lr=0.01, decay=0.01),
    same("Adam", "experimental.AdamW", 4e-6, lr=0.01, amsgrad=True, eps=1e-3),
    same("AdamW", "experimental.AdamW", 4e-6, lr=0.01, decay=0.1),
    same("AdamW", "experimental.AdamW", 4e-6, lr=0.01, amsgrad=True, eps=1e-3, decay=0.1),
    other("RMSprop", "nn.RMSProp", 1e-6, {"lr": 0.01, "alpha": 0.9}, {"learning_rate": 0.01, "decay": 0.9, "epsilon": 1e-8}),
    other(
        "RMSprop",
        "nn.RMSProp",
        5e-6,
        {"lr": 0.01, "alpha": 0.9, "momentum": 0.9, "centered": True},
        {"learning_rate": 0.01, "decay": 0.9, "epsilon": 1e-8, "momentum": 0.9, "centered": True},
        0.01,
    ),
    same("RMSprop", "experimental.RMSprop", 2e-6, lr=0.01, momentum=0.9, centered=True, decay=0.01),
    same("RMSprop", "experimental.RMSprop", 1e-6, lr=0.01),
    other("Adagrad", "nn.Adagrad", 1e-6, {"lr": 0.1}, {"learning_rate": 0.1}),
    same("Adagrad", "experimental.Adagrad", 1e-6, lr=0.1, lr_decay=0.1),
    other("Adadelta", "nn.Adadelta", 1e-6, {"lr": 1.0}, {"learning_rate": 1.0}),
    same("Adadelta", "experimental.Adadelta", 1e-6, lr=1.0),
    other("Adamax", "nn.AdaMax", 1e-6, {"lr": 0.01}, {"learning_rate": 0.01}),
    same("Adamax", "experimental.Adamax", 1e-6, lr=0.01, decay=0.01),
    same("NAdam", "experimental.NAdam", 2e-6, lr=0.01),
    same("RAdam", "experimental.RAdam", 2e-6, lr=0.01, decay=0.01),
    other("Rprop", "nn.Rprop", 0.0, {"lr": 0.01}, {"learning_rate": 0.01}),
    same("Rprop", "experimental.Rprop", 0.0, lr=0.01),
    other("ASGD", "nn.ASGD", 1e-6, {"lr": 0.05, "lambd": 0.1, "t0": 5.0}, {"learning_rate": 0.05, "lambd": 0.1, "t0": 5.0}),
    same("ASGD", "experimental.ASGD", 1e-6, lr=0.05, lambd=0.1, t0=5.0),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_ten_and_ten_steps(case: Case) -> None:
    """The converted optimizer goes where torch goes; one without its state does not."""
    first, then = gradients(10), gradients(10, seed=7)
    tensors, optimizer = torch_side(case.make_torch)
    torch_steps(tensors, optimizer, first)
    parameters, fresh = ms_side(tensors), ms_side(tensors)
    converted, without = case.make_ms(parameters), case.make_ms(fresh)
    report = convert_optimizer(optimizer, converted, PLAN)
    assert report.report.ok and report.verdict == recipe(case.torch, case.target).verdict
    torch_steps(tensors, optimizer, then)
    ms_steps(converted, then)
    ms_steps(without, then)
    assert difference(tensors, parameters) <= case.tolerance
    assert difference(tensors, fresh) > case.apart


@pytest.mark.parametrize("case", CASES, ids=str)
def test_there_and_back(case: Case) -> None:
    """torch -> MindSpore -> torch: the same state bit for bit (nn.RMSProp's momentum: to rounding)."""
    tensors, optimizer = torch_side(case.make_torch)
    torch_steps(tensors, optimizer, gradients(10))
    target = case.make_ms(ms_side(tensors))
    convert_optimizer(optimizer, target, PLAN)
    again = case.make_torch(list(tensors.items()))
    counted = any(counter.attribute for counter in recipe(case.torch, case.target).counters)
    optimizer_to_torch(target, again, PLAN, step=None if counted else 10)
    want, got = optimizer.state_dict(), again.state_dict()
    assert got["param_groups"] == want["param_groups"]
    for index, state in want["state"].items():
        assert set(got["state"][index]) == set(state)
        for key, value in state.items():
            if case.target == "nn.RMSProp" and key == "momentum_buffer":
                torch.testing.assert_close(got["state"][index][key], value, rtol=3e-7, atol=0)
            else:
                assert got["state"][index][key].shape == value.shape
                assert torch.equal(got["state"][index][key], value), key


def test_the_table_is_tested() -> None:
    tried = {(case.torch, case.target) for case in CASES}
    assert {(row.torch, row.target) for row in TABLE} - tried == {("Adam", "mint.Adam"), ("AdamW", "mint.AdamW")}


def adamw(named: Any) -> Any:
    return torch.optim.AdamW(named, lr=0.01)


def trained(make: Any = adamw, steps: int = 3) -> tuple[dict[str, torch.nn.Parameter], Any]:
    tensors, optimizer = torch_side(make)
    torch_steps(tensors, optimizer, gradients(steps))
    return tensors, optimizer


def parameters_of(shapes: dict[str, tuple[int, ...]] | None = None) -> list[ms.Parameter]:
    shapes = shapes or {NAMES[name]: shape for name, shape in SHAPES.items()}
    return [ms.Parameter(ms.Tensor(np.zeros(shape, np.float32)), name=name) for name, shape in shapes.items()]


def test_weight_decay_is_not_lost_on_gamma_and_beta() -> None:
    """An un-grouped nn optimizer exempts names with beta or gamma in them; refused, and the hint's group is torch's decay."""
    _, optimizer = trained(lambda named: torch.optim.SGD(named, lr=0.1, weight_decay=0.1))
    with pytest.raises(CheckpointError, match="weight-decay-exempt.*norm.gamma.*exempts it(.|\n)*grouped") as error:
        convert_optimizer(optimizer, nn.SGD(parameters_of(), 0.1, weight_decay=0.1), PLAN)
    assert "fc.weight" not in str(error.value)
    with pytest.raises(CheckpointError, match="weight-decay-differs"):
        convert_optimizer(optimizer, nn.SGD(grouped(parameters_of(), 0.2), 0.1), PLAN)
    convert_optimizer(optimizer, nn.SGD(grouped(parameters_of(), 0.1), 0.1), PLAN)
    _, plain = trained(lambda named: torch.optim.SGD(named, lr=0.1))
    convert_optimizer(plain, nn.SGD(parameters_of(), 0.1), PLAN)  # nothing to exempt from


def test_loss_scale_does_not_change_the_decay() -> None:
    _, optimizer = trained(lambda named: torch.optim.SGD(named, lr=0.1, weight_decay=0.1))
    convert_optimizer(optimizer, nn.SGD(grouped(parameters_of(), 0.1), 0.1, loss_scale=1024.0), PLAN)


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = torch.nn.Linear(4, 5, bias=False)
        self.norm = torch.nn.BatchNorm1d(4)
        self.norm.bias = None


def test_an_optimizer_without_names() -> None:
    model = Net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    torch_steps(dict(model.named_parameters()), optimizer, gradients(2))
    with pytest.raises(CheckpointError, match="keyed by position.*Hint: pass model="):
        convert_optimizer(optimizer, experimental.AdamW(parameters_of(), lr=0.01), PLAN)
    targets = [experimental.AdamW(parameters_of(), lr=0.01) for _ in range(2)]
    convert_optimizer(optimizer, targets[0], PLAN, model=model)
    convert_optimizer(optimizer.state_dict(), targets[1], PLAN, model=model)
    for target in targets:
        assert np.array_equal(target.exp_avg[0].asnumpy(), optimizer.state[model.fc.weight]["exp_avg"].numpy())
    backwards = torch.optim.AdamW(list(model.parameters())[::-1], lr=0.01)
    torch_steps(dict(reversed(list(model.named_parameters()))), backwards, [grads[::-1] for grads in gradients(1)])
    assert list(read_torch(backwards, model).group_of) == ["norm.weight", "fc.weight"]
    with pytest.raises(CheckpointError, match="built in another order"):
        read_torch(backwards.state_dict(), model)
    with pytest.raises(CheckpointError, match="2 of the 2 parameters of the optimizer are not in the model"):
        read_torch(optimizer, Net())
    apart = torch.optim.AdamW([{"params": [parameter]} for parameter in model.parameters()])
    with pytest.raises(CheckpointError, match="in 2 groups cannot be told apart"):
        read_torch(apart.state_dict(), model)


def test_what_is_no_optimizer_state() -> None:
    with pytest.raises(CheckpointError, match=r"not an optimizer state.*got \['fc.weight'.*not the model's"):
        read_torch(Net().state_dict())
    with pytest.raises(CheckpointError, match="not a MindSpore optimizer: Net"):
        convert_optimizer(trained()[1], Net(), PLAN)


def test_old_adam_state_does_not_say_its_class() -> None:
    """Before torch 2.7 Adam and AdamW wrote the same options; a guess would be wrong half of the time."""
    state = trained()[1].state_dict()
    for group in state["param_groups"]:
        del group["decoupled_weight_decay"]
    with pytest.raises(CheckpointError, match="could be Adam or AdamW.*torch_class='AdamW'"):
        convert_optimizer(state, experimental.AdamW(parameters_of(), lr=0.01), PLAN)
    report = convert_optimizer(state, experimental.AdamW(parameters_of(), lr=0.01), PLAN, torch_class="AdamW")
    assert report.torch_class == "AdamW" and report.step == 3


@pytest.mark.parametrize("case", CASES, ids=str)
def test_classes_are_told_by_their_state(case: Case) -> None:
    state = trained(case.make_torch)[1].state_dict()
    assert infer_class(state["param_groups"][0], state["state"][0]) == case.torch


def test_refused_pairs_say_why() -> None:
    _, optimizer = trained()
    with pytest.raises(CheckpointError, match="no bias correction.*experimental.AdamW"):
        convert_optimizer(optimizer, nn.AdamWeightDecay(parameters_of()), PLAN)
    with pytest.raises(CheckpointError, match="formulas differ.*AdamW goes on as experimental.AdamW"):
        convert_optimizer(optimizer, nn.Adam(parameters_of()), PLAN)
    for (torch_class, target), reason in REFUSED.items():
        with pytest.raises(CheckpointError) as error:
            recipe(torch_class.replace("*", "Adam"), target.replace("*", "nn.Adam"))
        assert reason in str(error.value)


REFUSED_OPTIONS = [
    (torch.optim.SGD, {"momentum": 0.9, "nesterov": True}, nn.Momentum, {"momentum": 0.9}, "nesterov is another formula"),
    (torch.optim.SGD, {"momentum": 0.9, "dampening": 0.1}, nn.Momentum, {"momentum": 0.9}, "no dampening"),
    (torch.optim.SGD, {"momentum": 0.9}, nn.Momentum, {"momentum": 0.9, "use_nesterov": True}, "use_nesterov=True"),
    (torch.optim.SGD, {"momentum": 0.9}, nn.SGD, {"momentum": 0.8}, r"momentum is \[0.9\] in torch, \[0.8"),
    (torch.optim.SGD, {"maximize": True}, nn.SGD, {}, "negate the loss"),
    (torch.optim.Adam, {"amsgrad": True}, experimental.Adam, {"amsgrad": True}, "amsgrad=True is ignored"),
    (torch.optim.Adam, {"amsgrad": True}, nn.Adam, {}, "use_amsgrad"),
    (torch.optim.Adam, {"betas": (0.9, 0.99)}, nn.Adam, {}, r"betas is \[0.9, 0.99\] in torch, \[0.89\d+, 0.99\d+\]"),
    (torch.optim.Adam, {"weight_decay": 0.1}, experimental.AdamW, {"weight_decay": 0.1}, "takes the decay from the weights"),
    (torch.optim.Adam, {}, nn.Adam, {"use_nesterov": True}, "torch has no use_nesterov"),
    (torch.optim.NAdam, {"decoupled_weight_decay": True}, experimental.NAdam, {}, "decoupled_weight_decay=True"),
    (torch.optim.RMSprop, {"alpha": 0.9}, nn.RMSProp, {}, r"eps is \[1e-08\] in torch, \[1e-10\]"),
    (torch.optim.Adagrad, {"lr_decay": 0.1}, nn.Adagrad, {}, "no lr_decay"),
]


@pytest.mark.parametrize(("make", "options", "target", "ms_options", "message"), REFUSED_OPTIONS)
def test_refused_options_say_why(
    make: Any, options: dict[str, Any], target: Any, ms_options: dict[str, Any], message: str
) -> None:
    _, optimizer = trained(lambda named: make(named, lr=0.01, **options))
    lr = {"lr": 0.01} if target.__module__.startswith("mindspore.experimental") else {"learning_rate": 0.01}
    built = target(parameters_of(), **lr, **ms_options)
    before = [parameter.asnumpy().copy() for parameter in built.get_parameters()]
    with pytest.raises(CheckpointError, match=message):
        convert_optimizer(optimizer, built, PLAN)
    after = [parameter.asnumpy() for parameter in built.get_parameters()]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))  # nothing was written


EPS = [
    (torch.optim.Adam, nn.Adam, {"eps": 1e-3}, {"eps": 1e-3}),
    (torch.optim.Adam, experimental.Adam, {"eps": 1e-3}, {"eps": 1e-3}),
    (torch.optim.RMSprop, nn.RMSProp, {"eps": 1e-3, "alpha": 0.9}, {"epsilon": 1e-3, "decay": 0.9}),
    (torch.optim.Adagrad, nn.Adagrad, {"eps": 1e-3}, {}),
    (torch.optim.Adamax, nn.AdaMax, {"eps": 1e-3}, {"eps": 1e-3}),
]


@pytest.mark.parametrize(("make", "target", "options", "ms_options"), EPS)
def test_a_large_eps_is_only_approximate(make: Any, target: Any, options: dict[str, Any], ms_options: dict[str, Any]) -> None:
    """The warning is there, and the weights do differ: by more than rounding."""
    small = [[grad * 1e-3 for grad in grads] for grads in gradients(10, seed=3)]
    tensors, optimizer = torch_side(lambda named: make(named, lr=0.01, **options))
    torch_steps(tensors, optimizer, small)
    parameters = ms_side(tensors)
    lr = {"lr": 0.01} if target.__module__.startswith("mindspore.experimental") else {"learning_rate": 0.01}
    built = target(parameters, **lr, **ms_options)
    report = convert_optimizer(optimizer, built, PLAN)
    assert "approximate" in report.report and report.verdict == "approximate"
    torch_steps(tensors, optimizer, small)
    ms_steps(built, small)
    assert difference(tensors, parameters) > 2e-6


def test_groups_with_rates_and_decays_of_their_own() -> None:
    def make(named: Any) -> Any:
        (first, second) = named
        groups = [{"params": [first], "lr": 0.1, "weight_decay": 0.01}, {"params": [second], "lr": 0.02, "weight_decay": 0.0}]
        return torch.optim.SGD(groups, lr=0.5, momentum=0.9)

    tensors, optimizer = torch_side(make)
    torch_steps(tensors, optimizer, gradients(10))
    optimizer.param_groups[1]["lr"] = 0.03  # as a scheduler would
    with pytest.raises(CheckpointError, match=r"groups-differ.*\[0.03, 0.1\]"):
        convert_optimizer(optimizer, nn.SGD(parameters_of(), 0.1, momentum=0.9), PLAN)
    for build in (nn.SGD, experimental.SGD):
        copies = {name: torch.nn.Parameter(tensor.detach().clone()) for name, tensor in tensors.items()}
        again = make(list(copies.items()))
        again.load_state_dict(optimizer.state_dict())
        first, second = ms_side(copies)
        groups = [{"params": [first], "lr": 0.1, "weight_decay": 0.01}, {"params": [second], "lr": 0.02, "weight_decay": 0.0}]
        built = build(groups, 0.5, momentum=0.9)
        report = convert_optimizer(again, built, PLAN)
        assert np.allclose([ours[0] for _, ours in report.rates], [0.1, 0.03])
        torch_steps(copies, again, gradients(10, seed=5))
        ms_steps(built, gradients(10, seed=5))
        assert difference(copies, [first, second]) < 1e-6


def test_frozen_parameters_and_empty_state() -> None:
    tensors, optimizer = torch_side(adamw)
    tensors["norm.weight"].requires_grad = False
    for grads in gradients(2):
        tensors["fc.weight"].grad = torch.from_numpy(grads[0])
        optimizer.step()
    only = parameters_of({"fc.weight": (5, 4)})
    report = convert_optimizer(optimizer, experimental.AdamW(only, lr=0.01), PLAN)
    assert [finding.code for finding in report.report] == ["frozen"]
    report = convert_optimizer(optimizer, experimental.AdamW(parameters_of(), lr=0.01), PLAN)
    assert "no-state" in report.report


def test_a_fresh_optimizer_makes_a_used_one_fresh() -> None:
    """RMSProp starts from ones in MindSpore, from zeros in torch: 1.0 would stay in the average for long."""
    tensors, optimizer = torch_side(lambda named: torch.optim.RMSprop(named, lr=0.01, alpha=0.9))
    parameters = ms_side(tensors)
    built = nn.RMSProp(parameters, 0.01, decay=0.9, epsilon=1e-8)
    ms_steps(built, gradients(3))
    for parameter, tensor in zip(parameters, tensors.values(), strict=True):
        ms.ops.assign(parameter, ms.Tensor(tensor.detach().numpy().copy()))
    assert convert_optimizer(optimizer, built, PLAN).step == 0
    torch_steps(tensors, optimizer, gradients(5))
    ms_steps(built, gradients(5))
    assert difference(tensors, parameters) < 1e-5


def test_parameters_that_only_one_side_trains() -> None:
    _, optimizer = trained()
    with pytest.raises(CheckpointError, match="head: the MindSpore optimizer|head.*MindSpore optimizer trains it") as error:
        convert_optimizer(
            optimizer, experimental.AdamW(parameters_of({"fc.weight": (5, 4), "norm.gamma": (4,), "head": (2,)}), lr=0.01), PLAN
        )
    assert error.value.missing == ["head"]
    with pytest.raises(CheckpointError, match="not-trained"):
        convert_optimizer(optimizer, experimental.AdamW(parameters_of({"fc.weight": (5, 4)}), lr=0.01), PLAN)
    with pytest.raises(CheckpointError) as error:
        convert_optimizer(optimizer, experimental.AdamW(parameters_of({"fc.weight": (5, 4)}), lr=0.01))
    with pytest.raises(CheckpointError) as error:
        convert_optimizer(
            optimizer, experimental.AdamW(parameters_of({"fc.weight": (5, 4)}), lr=0.01), Pairs({"fc.weight": "fc.weight"})
        )
    assert error.value.unmatched == ["norm.weight"]


def test_parameters_at_different_steps() -> None:
    tensors, optimizer = trained()
    tensors["fc.weight"].grad = None
    tensors["norm.weight"].grad = torch.ones(4)
    optimizer.step()
    with pytest.raises(CheckpointError, match="'fc.weight' is at step 3, 'norm.weight' at 4; .* one count for all"):
        convert_optimizer(optimizer, experimental.AdamW(parameters_of(), lr=0.01), PLAN)


def test_shapes_are_checked_before_anything_is_written() -> None:
    _, optimizer = trained()
    built = experimental.AdamW(parameters_of({"fc.weight": (4, 5), "norm.gamma": (4,)}), lr=0.01)
    with pytest.raises(CheckpointError, match=r"torch has \[5, 4\], MindSpore \[4, 5\]"):
        convert_optimizer(optimizer, built, PLAN)
    assert not built.exp_avg[1].asnumpy().any() and built.state_step.asnumpy() == 0


def test_moments_follow_the_weight_through_its_operations() -> None:
    """A transposed weight (square, so that shapes do not tell), a split one; back again bit for bit."""
    weight = torch.nn.Parameter(torch.zeros(4, 4))
    qkv = torch.nn.Parameter(torch.zeros(6, 2))
    optimizer = torch.optim.Adam([("c_proj", weight), ("qkv", qkv)], lr=0.1)
    weight.grad, qkv.grad = torch.arange(16.0).reshape(4, 4), torch.arange(12.0).reshape(6, 2)
    optimizer.step()

    @dataclass(frozen=True)
    class Rows:
        rows: tuple[Any, ...]
        pairs: dict[str, str] = field(default_factory=dict)

    from dsbridge.checkpoint.rows import Row

    rows = Rows(
        (
            Row(("c_proj",), ("c_proj",), (ops.Permute((1, 0)),), ((4, 4),), ("float32",), "transformed"),
            Row(("qkv",), ("q", "k", "v"), (ops.Split(0, 3),), ((2, 2),) * 3, ("float32",) * 3, "transformed"),
        )
    )
    built = experimental.Adam(parameters_of({"c_proj": (4, 4), "q": (2, 2), "k": (2, 2), "v": (2, 2)}), lr=0.1)
    convert_optimizer(optimizer, built, rows)
    want = optimizer.state[weight]["exp_avg"].numpy()
    assert np.array_equal(built.exp_avg[0].asnumpy(), want.T) and not np.array_equal(want, want.T)
    assert np.array_equal(np.concatenate([p.asnumpy() for p in built.exp_avg[1:]]), optimizer.state[qkv]["exp_avg"].numpy())
    again = torch.optim.Adam([("c_proj", weight), ("qkv", qkv)], lr=0.1)
    optimizer_to_torch(built, again, rows)
    for index, state in optimizer.state_dict()["state"].items():
        assert all(torch.equal(again.state_dict()["state"][index][key], value) for key, value in state.items())


def test_moments_cannot_follow_a_folded_weight() -> None:
    g, v = torch.nn.Parameter(torch.ones(3, 1)), torch.nn.Parameter(torch.ones(3, 2))
    optimizer = torch.optim.Adam([("g", g), ("v", v)], lr=0.1)
    g.grad, v.grad = torch.ones(3, 1), torch.ones(3, 2)
    optimizer.step()

    @dataclass(frozen=True)
    class Negate:
        moves_bytes = True

        def shapes(self, shapes: Any) -> Any:
            return shapes

        def apply(self, arrays: Any) -> Any:
            return tuple(-array for array in arrays)

        def inverse(self, shapes: Any) -> Any:
            return self

    plan = Pairs({"g": "g", "v": "v"}, {"v": (Negate(),)})
    with pytest.raises(CheckpointError, match="cannot follow .*Negate.*more than move elements"):
        convert_optimizer(optimizer, experimental.Adam(parameters_of({"g": (3, 1), "v": (3, 2)}), lr=0.1), plan)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_scalar_parameters(dtype: str) -> None:
    """0-d state stays 0-d; bfloat16 state keeps its bits."""
    if dtype == "bfloat16" and np.lib.NumpyVersion(np.__version__) >= "2.0.0b1":
        pytest.skip("on numpy 2 MindSpore itself cannot build a bfloat16 Parameter from a Tensor")
    scale = torch.nn.Parameter(torch.tensor(1.5, dtype=getattr(torch, dtype)))
    optimizer = torch.optim.AdamW([("scale", scale)], lr=0.01)
    scale.grad = torch.tensor(0.3, dtype=scale.dtype)
    optimizer.step()
    held = ms.Parameter(ms.Tensor(1.5, getattr(ms, dtype)), name="scale")
    built = experimental.AdamW([held], lr=0.01)
    report = convert_optimizer(optimizer, built)
    assert built.exp_avg[0].shape == () and len(report.report) == 0
    assert float(built.exp_avg[0].astype(ms.float32).asnumpy()) == float(optimizer.state[scale]["exp_avg"])


def test_the_next_three_rates_of_both_sides() -> None:
    """A nn optimizer reads its list by global_step, so the conversion sets it; SGD's state does not hold the step."""

    def start() -> tuple[Any, Any, Any]:
        tensors, optimizer = torch_side(lambda named: torch.optim.SGD(named, lr=0.1, momentum=0.9))
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
        for _ in range(5):  # epochs of two steps
            torch_steps(tensors, optimizer, gradients(2))
            scheduler.step()
        return tensors, optimizer, scheduler

    tensors, optimizer, scheduler = start()
    schedule = convert_scheduler(scheduler, 2)
    parameters = ms_side(tensors)
    with pytest.raises(CheckpointError, match="step-unknown.*pass step="):
        convert_optimizer(optimizer, nn.SGD(parameters, schedule.per_step(40), momentum=0.9), PLAN)
    built = nn.SGD(parameters, schedule.per_step(40), momentum=0.9)
    report = convert_optimizer(optimizer, built, PLAN, step=10, scheduler=schedule)
    assert built.global_step.asnumpy().tolist() == [10]
    theirs, ours = report.rates[0]
    assert theirs == (0.025, 0.025, 0.0125) and np.allclose(ours, theirs) and report.report.ok
    assert "next learning rates, torch    : 0.025, 0.025, 0.0125" in str(report)
    for _ in range(5):
        torch_steps(tensors, optimizer, gradients(2, seed=9))
        scheduler.step()
        ms_steps(built, gradients(2, seed=9))
    assert difference(tensors, parameters) < 1e-6
    report = convert_optimizer(optimizer, nn.SGD(parameters_of(), 0.3, momentum=0.9), PLAN, step=10, scheduler=schedule)
    assert "rates-differ" in report.report
    with pytest.raises(CheckpointError, match="for 12 steps, not for step 12"):
        convert_optimizer(start()[1], nn.SGD(parameters_of(), schedule.per_step(12), momentum=0.9), PLAN, step=10)


def test_mint_adamw_counts_from_minus_one() -> None:
    """Read from MindSpore's source; mint.optim cannot run on a CPU, and the report says so."""
    _, optimizer = trained()
    built = ms.mint.optim.AdamW(parameters_of(), lr=0.01)
    report = convert_optimizer(optimizer, built, PLAN)
    assert built.state_step.asnumpy().tolist() == [2.0] and "unproven" in report.report
    _, optimizer = trained(lambda named: torch.optim.Adam(named, lr=0.01, amsgrad=True))
    built = ms.mint.optim.Adam(parameters_of(), lr=0.01, amsgrad=True)
    convert_optimizer(optimizer, built, PLAN)
    assert built.state_step.asnumpy().tolist() == [3.0]
    assert built.param_groups[0]["max_exp_avg_sq"][0].asnumpy().any()


def test_trained_in_mindspore_and_back() -> None:
    """A training that began in MindSpore goes on in torch; SGD without a step has no buffer there."""
    for build, make in ((nn.SGD, torch.optim.SGD), (experimental.SGD, torch.optim.SGD)):
        tensors, optimizer = torch_side(lambda named, make=make: make(named, lr=0.1, momentum=0.9, dampening=0.5))
        parameters = ms_side(tensors)
        built = build(parameters, 0.1, momentum=0.9, dampening=0.5)
        optimizer_to_torch(built, optimizer, PLAN)
        assert optimizer.state_dict()["state"] == {}
        ms_steps(built, gradients(4))
        torch_steps(tensors, optimizer, gradients(4))
        assert difference(tensors, parameters) < 1e-6
        again = make(list(tensors.items()), lr=0.1, momentum=0.9, dampening=0.5)
        optimizer_to_torch(built, again, PLAN)
        torch_steps(tensors, again, gradients(4, seed=2))
        ms_steps(built, gradients(4, seed=2))
        assert difference(tensors, parameters) < 1e-6


def test_two_parameters_of_one_name() -> None:
    twice = [ms.Parameter(ms.Tensor(np.zeros(2, np.float32)), name="w") for _ in range(2)]
    _, optimizer = trained()
    with pytest.raises((CheckpointError, ValueError), match="called 'w'|name 'w' already exists"):
        convert_optimizer(optimizer, experimental.AdamW(twice, lr=0.01), PLAN)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_optimizer_that_is_compiled_already(case: Case) -> None:
    """Parameter.set_data would cut a compiled optimizer off its parameters, and training would stop in silence."""
    tensors, optimizer = torch_side(case.make_torch)
    torch_steps(tensors, optimizer, gradients(3))
    parameters = ms_side(tensors)
    used = case.make_ms(parameters)
    ms_steps(used, gradients(2, seed=4))
    for parameter, tensor in zip(parameters, tensors.values(), strict=True):
        ms.ops.assign(parameter, ms.Tensor(tensor.detach().numpy().copy()))
    convert_optimizer(optimizer, used, PLAN)
    torch_steps(tensors, optimizer, gradients(3, seed=7))
    ms_steps(used, gradients(3, seed=7))
    assert difference(tensors, parameters) <= case.tolerance
