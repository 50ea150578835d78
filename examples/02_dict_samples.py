"""Nested dict samples with text and parts of varying length: padded by a collate_fn, or used row by row.

Run: python examples/02_dict_samples.py
"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

import dsbridge as dsb

NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


class Strokes(Dataset):
    """Digits as the positions of their dark pixels: as many as each image has."""

    def __init__(self) -> None:
        digits = load_digits()
        self.images, self.labels = digits.images, digits.target

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict:
        dark = np.argwhere(self.images[index] > 8).astype(np.float32)
        return {
            "points": torch.from_numpy(dark),
            "target": {"digit": int(self.labels[index]), "name": NAMES[self.labels[index]]},
        }


def pad(samples: list[dict]) -> dict:
    """What a torch user writes anyway: pad the points, keep the lengths, leave the text alone."""
    return {
        "points": pad_sequence([s["points"] for s in samples], batch_first=True),
        "length": torch.tensor([len(s["points"]) for s in samples]),
        "target": {
            "digit": torch.tensor([s["target"]["digit"] for s in samples]),
            "name": [s["target"]["name"] for s in samples],
        },
    }


def main() -> None:
    dataset = Strokes()

    print("rows: one named column a leaf; a dimension seen to vary is shown as ?")
    source = dsb.wrap(dataset)
    for index in range(3):
        print(f"  sample {index}: {len(source[index][0])} points")
    print(source.schema)
    print("back to the nested sample:", source.structure.unflatten(source[0])["target"])

    print("\nbatches: torch's nesting, MindSpore's tensors")
    loader = dsb.DataLoader(dataset, batch_size=4, collate_fn=pad)
    batch = next(iter(loader))
    print("  points", batch["points"].shape, batch["points"].dtype, "| names", batch["target"]["name"])

    print("\nthe same loader as a mindspore.dataset pipeline")
    pipeline = dsb.to_mindspore(DataLoader(dataset, batch_size=4, collate_fn=pad), dtypes="mindspore")
    print(pipeline.row_schema)
    for row in pipeline.create_dict_iterator(num_epochs=1, output_numpy=True):
        print("  ", {name: value.shape for name, value in row.items()}, row["target.name"])
        break

    print("\nwithout the collate_fn the error says which samples do not stack:")
    try:
        next(iter(dsb.DataLoader(dataset, batch_size=4)))
    except dsb.SampleError as error:
        print("  ", error)


if __name__ == "__main__":
    main()
