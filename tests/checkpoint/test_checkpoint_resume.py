"""A real training: 100 torch steps, convert, 100 more in MindSpore; the losses are those of uninterrupted torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mindspore as ms
import numpy as np
import pytest
import torch
from mindspore import nn
from mindspore.experimental import optim as experimental

from dsbridge.checkpoint.optimizer import convert_optimizer
from dsbridge.checkpoint.param_groups import grouped
from dsbridge.checkpoint.scheduler import convert_scheduler
from dsbridge.frameworks.mindspore_tensors import tensor_type

EPOCH = 10  # steps
PAIRS = {
    "conv.weight": "conv.weight",
    "conv.bias": "conv.bias",
    "bn.weight": "bn.gamma",
    "bn.bias": "bn.beta",
    "ln.weight": "ln.gamma",
    "ln.bias": "ln.beta",
    "fc.weight": "fc.weight",
    "fc.bias": "fc.bias",
}
BUFFERS = {"bn.running_mean": "bn.moving_mean", "bn.running_var": "bn.moving_variance"}


@dataclass(frozen=True)
class Pairs:
    pairs: dict[str, str]


class TorchNet(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 3, padding=1)
        self.bn = torch.nn.BatchNorm2d(8)
        self.ln = torch.nn.LayerNorm(8)
        self.fc = torch.nn.Linear(8, 5)

    def forward(self, x: Any) -> Any:
        return self.fc(self.ln(torch.relu(self.bn(self.conv(x))).mean((2, 3))))


class MsNet(nn.Cell):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, pad_mode="pad", padding=1, has_bias=True)
        self.bn = nn.BatchNorm2d(8)
        self.ln = nn.LayerNorm((8,), epsilon=1e-5)
        self.fc = nn.Dense(8, 5)

    def construct(self, x: Any) -> Any:
        return self.fc(self.ln(ms.ops.relu(self.bn(self.conv(x))).mean((2, 3))))


def batches(count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [
        (rng.standard_normal((16, 3, 6, 6)).astype(np.float32), rng.integers(0, 5, 16).astype(np.int32)) for _ in range(count)
    ]


def train_torch(model: Any, optimizer: Any, scheduler: Any, data: list[Any]) -> list[float]:
    losses = []
    for step, (x, y) in enumerate(data):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(torch.from_numpy(x)), torch.from_numpy(y).long())
        loss.backward()
        optimizer.step()
        if step % EPOCH == EPOCH - 1:
            scheduler.step()
        losses.append(float(loss.detach()))
    return losses


def train_ms(network: Any, optimizer: Any, scheduler: Any, data: list[Any]) -> list[float]:
    def loss_of(x: Any, y: Any) -> Any:
        return ms.ops.cross_entropy(network(x), y)

    @ms.jit  # ten times as fast as running it operation by operation
    def update(x: Any, y: Any) -> Any:
        loss, grads = ms.value_and_grad(loss_of, None, optimizer.parameters)(x, y)
        optimizer(grads)
        return loss

    losses = []
    for step, (x, y) in enumerate(data):
        loss = update(ms.Tensor(x), ms.Tensor(y))
        if scheduler is not None and step % EPOCH == EPOCH - 1:
            scheduler.step()
        losses.append(float(loss.asnumpy()))
    return losses


def moved(model: Any) -> Any:
    """The weights, by hand: the conversion of weights has tests of its own."""
    network = MsNet()
    network.set_train()
    held = {parameter.name: parameter for parameter in network.get_parameters()}
    for name, value in model.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            held[{**PAIRS, **BUFFERS}[name]].set_data(ms.Tensor(value.numpy().copy()))
    return network


def nn_sgd(network: Any, schedule: Any) -> tuple[Any, Any]:
    return nn.SGD(grouped(network.trainable_params(), 1e-3), schedule.per_step(200), momentum=0.9), None


def experimental_sgd(network: Any, schedule: Any) -> tuple[Any, Any]:
    optimizer = experimental.SGD(network.trainable_params(), lr=0.1, momentum=0.9, weight_decay=1e-3)
    return optimizer, schedule.attach(optimizer)


def experimental_adamw(network: Any, schedule: Any) -> tuple[Any, Any]:
    optimizer = experimental.AdamW(network.trainable_params(), lr=3e-3, weight_decay=0.05)
    return optimizer, schedule.attach(optimizer)


def sgd(model: Any) -> tuple[Any, Any]:
    optimizer = torch.optim.SGD(model.named_parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)
    return optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 4, 0.5)


def adamw(model: Any) -> tuple[Any, Any]:
    optimizer = torch.optim.AdamW(model.named_parameters(), lr=3e-3, weight_decay=0.05)
    return optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20)


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("make", "build"),
    [
        pytest.param(sgd, nn_sgd, marks=pytest.mark.slow),
        pytest.param(sgd, experimental_sgd, marks=pytest.mark.slow),
        (adamw, experimental_adamw),
    ],
)
def test_hundred_and_hundred_steps(make: Callable[..., Any], build: Callable[..., Any]) -> None:
    """Without the optimizer's state the losses would be off by far more."""
    tensor_type()
    torch.manual_seed(0)
    model, data = TorchNet(), batches(200)
    optimizer, scheduler = make(model)
    train_torch(model, optimizer, scheduler, data[:100])
    schedule = convert_scheduler(scheduler, EPOCH)
    network, without = moved(model), moved(model)
    ms_optimizer, ms_scheduler = build(network, schedule)
    report = convert_optimizer(optimizer, ms_optimizer, Pairs(PAIRS), step=100, scheduler=schedule, ms_scheduler=ms_scheduler)
    assert report.report.ok and "rates-differ" not in report.report, report
    other, other_scheduler = build(without, convert_scheduler(make(TorchNet())[1], EPOCH))
    want = np.array(train_torch(model, optimizer, scheduler, data[100:]))
    got = np.array(train_ms(network, ms_optimizer, ms_scheduler, data[100:]))
    lost = np.array(train_ms(without, other, other_scheduler, data[100:130]))
    assert np.abs(want - got).max() < 1e-5
    assert np.abs(want[:30] - lost).max() > 1e-3
