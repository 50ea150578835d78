"""Train a MindSpore CNN on a torch Dataset: handwritten digits, random_split, a shuffling DataLoader.

Run: python examples/01_wrap_dataset.py
"""

from __future__ import annotations

import time

import mindspore as ms
import torch
from mindspore import nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Dataset, random_split

import dsbridge as dsb

EPOCHS = 10


class Digits(Dataset):
    """The 1,797 real images of handwritten digits (8 x 8) that scikit-learn ships. A plain torch Dataset."""

    def __init__(self) -> None:
        digits = load_digits()
        self.images = torch.tensor(digits.images[:, None] / 16, dtype=torch.float32)
        self.labels = digits.target

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.images[index], int(self.labels[index])


def network() -> nn.Cell:
    return nn.SequentialCell(
        nn.Conv2d(1, 16, 3, has_bias=True),
        nn.ReLU(),
        nn.MaxPool2d(2, 2),
        nn.Conv2d(16, 16, 3, has_bias=True),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dense(16 * 4 * 4, 10),
    )


def main() -> None:
    start = time.perf_counter()
    torch.manual_seed(0)
    ms.set_seed(0)
    ms.set_context(mode=ms.GRAPH_MODE)

    # Everything up to here and the next three lines are torch; nothing of it changes.
    train, test = random_split(Digits(), [1347, 450])
    train_loader = DataLoader(train, batch_size=32, shuffle=True)
    test_loader = DataLoader(test, batch_size=90)

    # The bridge: the loaders' own batches, labels as int32 because MindSpore's losses want it.
    train_data = dsb.to_mindspore(train_loader, dtypes="mindspore")
    test_data = dsb.to_mindspore(test_loader, dtypes="mindspore")
    print(train_data.row_schema)
    print(train_data.report)

    net = network()
    optimizer = nn.Momentum(net.trainable_params(), learning_rate=0.05, momentum=0.9)
    model = ms.Model(net, nn.CrossEntropyLoss(), optimizer, metrics={"accuracy"})
    print(f"training {EPOCHS} epochs of {train_data.get_dataset_size()} batches")
    model.train(EPOCHS, train_data, callbacks=[ms.LossMonitor(train_data.get_dataset_size() * 2)], dataset_sink_mode=False)

    accuracy = model.eval(test_data, dataset_sink_mode=False)["accuracy"]
    seconds = time.perf_counter() - start
    print(f"test accuracy {accuracy:.4f} ({len(test)} samples, {seconds:.1f} s)")


if __name__ == "__main__":
    main()
