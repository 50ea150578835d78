"""The workloads: what samples, rows and batches are."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from dsbridge.bench.datasets import Rows, pad_rows, stack_rows
from dsbridge.bench.workloads import WORKLOADS

BATCHES = {
    "f32": ([(64, 3, 224, 224)], [torch.float32]),
    "u8": ([(64, 3, 224, 224)], [torch.uint8]),
    "tiny": ([(256, 1, 28, 28), (256,)], [torch.float32, torch.int64]),
    "jpeg": ([(64, 3, 224, 224)], [torch.float32]),
    "ragged": ([(256, None)], [torch.int64]),
    "stragglers": ([(8, 1)], [torch.float32]),
}


@pytest.mark.parametrize("name", WORKLOADS)
def test_batches_are_what_the_title_says(name: str) -> None:
    """torch's loader makes batches of the promised shapes and dtypes, and as many as asked for."""
    workload = WORKLOADS[name].sized(batches=1, distinct=3)
    loader = torch.utils.data.DataLoader(
        workload.make_dataset(), batch_size=workload.batch_size, collate_fn=workload.collate_fn()
    )
    (batch,) = list(loader)
    batch = batch if isinstance(batch, (list, tuple)) else [batch]
    shapes, dtypes = BATCHES[name]
    assert [tensor.dtype for tensor in batch] == dtypes
    for tensor, shape in zip(batch, shapes, strict=True):
        assert len(tensor.shape) == len(shape)
        assert all(want in (None, got) for want, got in zip(shape, tensor.shape, strict=True))


@pytest.mark.parametrize("name", ["f32", "u8", "tiny", "ragged", "stragglers"])
def test_rows_hold_the_same_samples(name: str) -> None:
    """Rows are the samples as numpy arrays, one for each column name."""
    workload = WORKLOADS[name].sized(batches=1, distinct=3)
    dataset = workload.make_dataset()
    row, sample = Rows(dataset)[2], dataset[2]
    assert len(row) == len(workload.columns)
    leaves = sample if isinstance(sample, tuple) else (sample,)
    for array, leaf in zip(row, leaves, strict=True):
        np.testing.assert_array_equal(array, np.asarray(leaf))


@pytest.mark.parametrize("name", WORKLOADS)
def test_datasets_can_be_pickled(name: str) -> None:
    """Every start method gets the dataset over."""
    dataset = WORKLOADS[name].sized(batches=1, distinct=2).make_dataset()
    assert len(pickle.loads(pickle.dumps(dataset))) == len(dataset)


def test_distinct_is_the_number_of_different_samples() -> None:
    """Index i is sample i % distinct."""
    dataset = WORKLOADS["tiny"].sized(batches=1, distinct=2).make_dataset()
    assert torch.equal(dataset[0][0], dataset[2][0])
    assert not torch.equal(dataset[0][0], dataset[1][0])


def test_numpy_collate_equals_torch_collate() -> None:
    """What spdl and grain collate equals what torch collates."""
    dataset = WORKLOADS["ragged"].sized(batches=1, distinct=4).make_dataset()
    padded = WORKLOADS["ragged"].collate_fn()([dataset[i] for i in range(4)])
    np.testing.assert_array_equal(pad_rows([dataset.row(i) for i in range(4)])[0], padded.numpy())
    rows = Rows(WORKLOADS["tiny"].sized(batches=1, distinct=4).make_dataset())
    assert [array.shape for array in stack_rows([rows[0], rows[1]])] == [(2, 1, 28, 28), (2,)]


def test_ideal_time_of_the_stragglers() -> None:
    """All sleep, divided by the workers; other workloads have none."""
    assert WORKLOADS["stragglers"].ideal_s(40, workers=2) == pytest.approx(0.68)
    assert WORKLOADS["f32"].ideal_s(40, workers=2) is None
