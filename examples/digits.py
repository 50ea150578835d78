"""A torch training as people have it, and its network in MindSpore: what the README's commands are tried on.

Run it: python -m examples.digits (trains in torch for a few seconds and writes digits.pth into the current folder)
"""

from __future__ import annotations

import torch
from mindspore import nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


def loader() -> DataLoader:
    """1,797 handwritten digits of 8 x 8 pixels."""
    images, labels = load_digits(return_X_y=True)
    pixels = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    return DataLoader(TensorDataset(pixels, torch.tensor(labels)), batch_size=64, shuffle=True, num_workers=2)


def model() -> torch.nn.Module:
    layers = torch.nn
    return layers.Sequential(
        layers.Conv2d(1, 16, 3, padding=1, bias=False),
        layers.BatchNorm2d(16),
        layers.ReLU(),
        layers.MaxPool2d(2),
        layers.Flatten(),
        layers.Linear(16 * 4 * 4, 10),
    )


def network() -> nn.Cell:
    return nn.SequentialCell(
        nn.Conv2d(1, 16, 3, pad_mode="pad", padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2, 2),
        nn.Flatten(),
        nn.Dense(16 * 4 * 4, 10),
    )


def main() -> None:
    torch.manual_seed(0)
    trained, batches = model(), loader()
    optimizer = torch.optim.Adam(trained.parameters(), lr=1e-3)
    for _ in range(3):
        for images, labels in batches:
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(trained(images), labels)
            loss.backward()
            optimizer.step()
    torch.save(trained.state_dict(), "digits.pth")
    print(f"digits.pth written, loss {loss.item():.2f}")


if __name__ == "__main__":
    main()
