"""100 training steps in torch, 100 more in MindSpore: weights, optimizer and schedule go along, and so does the loss.

Run it: python examples/06_resume_training.py
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import mindspore as ms
import torch
from matplotlib.figure import Figure
from mindspore import nn
from mindspore.experimental import optim
from sklearn.datasets import load_digits

import dsbridge as dsb


def torch_step(model: torch.nn.Module, optimizer: Any, images: torch.Tensor, labels: torch.Tensor) -> float:
    optimizer.zero_grad()
    loss = torch.nn.functional.cross_entropy(model(images), labels)
    loss.backward()
    optimizer.step()
    return loss.item()


def mindspore_step(network: nn.Cell, optimizer: Any) -> Any:
    def loss_of(images: Any, labels: Any) -> Any:
        return ms.ops.cross_entropy(network(images), labels)

    @ms.jit
    def update(images: Any, labels: Any) -> Any:
        loss, gradients = ms.value_and_grad(loss_of, None, optimizer.parameters)(images, labels)
        optimizer(gradients)
        return loss

    return lambda x, y: float(update(ms.Tensor(x.numpy()), ms.Tensor(y.int().numpy())).asnumpy())


def train(step: Any, scheduler: Any, batches: Any) -> list[float]:
    return [(step(*batch), scheduler.step())[0] for batch in batches]


def main(folder: Path) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)  # a small model: more threads would only wait for each other
    images, labels = (torch.tensor(array) for array in load_digits(return_X_y=True))
    batches = [(images[rows].float() / 16, labels[rows]) for rows in torch.randint(len(images), (200, 32))]
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.BatchNorm1d(64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.05)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=200)
    train(partial(torch_step, model, optimizer), scheduler, batches[:100])
    torch.save(model.state_dict(), folder / "model.pth")

    # The weights: planned, converted, read back, loaded strictly.
    network = nn.SequentialCell(nn.Dense(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dense(64, 10))
    plan = dsb.checkpoint.plan(folder / "model.pth", model=model, network=network)
    dsb.checkpoint.convert(folder / "model.pth", folder / "model.ckpt", model=model, network=network, progress=False)
    dsb.checkpoint.load(folder / "model.ckpt", network.set_train())

    # The schedule and the optimizer's state; the report has the next learning rates of both sides.
    schedule = dsb.checkpoint.convert_scheduler(scheduler, steps_per_epoch=1)
    ours = optim.AdamW(network.trainable_params(), lr=3e-3, weight_decay=0.05)
    attached = {"scheduler": schedule, "ms_scheduler": schedule.attach(ours)}
    print(dsb.checkpoint.convert_optimizer(optimizer, ours, plan, model=model, **attached))
    resumed = train(mindspore_step(network, ours), attached["ms_scheduler"], batches[100:])
    uninterrupted = train(partial(torch_step, model, optimizer), scheduler, batches[100:])
    largest = max(abs(a - b) for a, b in zip(resumed, uninterrupted, strict=True))
    print(f"loss at steps 101 and 200: {resumed[0]:.4f}, {resumed[-1]:.4f}; at most {largest:.1e} from uninterrupted torch")
    (figure := Figure()).subplots().plot(range(101, 201), uninterrupted, "-", range(101, 201), resumed, ":")
    figure.savefig(folder / "resumed.png")


if __name__ == "__main__":
    main(Path(tempfile.mkdtemp()))
