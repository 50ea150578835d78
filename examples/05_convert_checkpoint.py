"""A small ResNet's weights, torch -> MindSpore -> torch: planned, audited, converted, verified, and back bit for bit.

Run it: python examples/05_convert_checkpoint.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import mindspore
import numpy as np
import torch
from mindspore import mint, nn

import dsbridge as dsb


class TorchBlock(torch.nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = torch.nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(channels)
        self.conv2 = torch.nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = torch.nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x + self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))))


class Block(nn.Cell):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, pad_mode="pad", padding=1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, pad_mode="pad", padding=1)
        self.bn2 = nn.BatchNorm2d(channels)

    def construct(self, x: Any) -> Any:
        return mint.nn.functional.relu(x + self.bn2(self.conv2(mint.nn.functional.relu(self.bn1(self.conv1(x))))))


def torch_net() -> torch.nn.Module:
    head = [torch.nn.Flatten(), torch.nn.Linear(8 * 16 * 16, 10)]
    return torch.nn.Sequential(torch.nn.Conv2d(3, 8, 7, 2, 3), TorchBlock(8), TorchBlock(8), *head)


def mindspore_net() -> nn.Cell:
    stem = nn.Conv2d(3, 8, 7, 2, pad_mode="pad", padding=3, has_bias=True)
    return nn.SequentialCell(stem, Block(8), Block(8), nn.Flatten(), nn.Dense(8 * 16 * 16, 10))


def main() -> None:
    torch.manual_seed(0)
    model, network = torch_net(), mindspore_net()
    for module in model.modules():  # as after training: nothing is left at its initial value
        if isinstance(module, torch.nn.BatchNorm2d):
            for values in (module.weight, module.bias, module.running_mean, module.running_var):
                torch.nn.init.uniform_(values, 0.5, 1.5)
    images = np.random.default_rng(0).normal(size=(4, 3, 32, 32)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        there, between, back = (Path(folder) / name for name in ("model.pth", "model.ckpt", "again.pth"))
        torch.save({"epoch": 7, "state_dict": model.state_dict()}, there)
        print(dsb.checkpoint.inspect(there), "\n")
        print(dsb.checkpoint.plan(there, between, model=model, network=network), "\n")
        print(dsb.checkpoint.audit(model, network))
        print(dsb.checkpoint.convert(there, between, model=model, network=network, progress=False))
        dsb.checkpoint.load(between, network)
        print(dsb.checkpoint.verify(model, network, images), "\n")
        print(dsb.checkpoint.convert(between, back, model=model, network=network, progress=False))
        again = torch.load(back, weights_only=True)
        same = [name for name, value in model.state_dict().items() if name in again and torch.equal(value, again[name])]
        print(f"back in torch: {len(same)} of {len(model.state_dict())} tensors equal bit for bit")


if __name__ == "__main__":
    mindspore.set_device("CPU")
    main()
