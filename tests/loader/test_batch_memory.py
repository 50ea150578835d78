"""Who owns a batch's memory: whoever holds the batch, and nobody else."""

from __future__ import annotations

import gc
import logging
import random
import threading
import weakref
from collections import namedtuple
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from loader_data import plain
from torch.utils import data as tud

import dsbridge as dsb
from dsbridge.loader.wire import Extra, encode

SHAPE = (300, 300)  # eight of them in float32 are beyond the size from which memory is recycled
OUTPUTS = ("mindspore", "numpy", "torch")


class Frames(tud.Dataset):
    """Big samples with the index in every element."""

    def __init__(self, size: int = 480) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.full(SHAPE, float(index)), index


def _holds(batch: Any, first: int) -> bool:
    """Whether a batch of eight still has the values of the samples from ``first`` on."""
    frames, index = (np.asarray(part) if isinstance(part, torch.Tensor) else part for part in batch)
    frames = frames if isinstance(frames, np.ndarray) else frames.asnumpy()
    wanted = np.arange(first, first + 8, dtype=np.float32)
    return bool((frames == wanted[:, None, None]).all()) and index.tolist() == wanted.tolist()


@pytest.mark.parametrize("output", OUTPUTS)
def test_kept_batches_stay(output: str) -> None:
    """Batches that are kept are as they were after fifty more."""
    kept = []
    for number, batch in enumerate(dsb.DataLoader(Frames(), batch_size=8, output=output)):
        if number in (0, 1, 5, 9):
            kept.append((batch, number * 8))
    assert number == 59
    assert all(_holds(batch, first) for batch, first in kept)


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_part_keeps_its_batch(output: str) -> None:
    """A slice of a batch is enough to keep it."""
    iterator = iter(dsb.DataLoader(Frames(200), batch_size=8, output=output))
    frames, _ = next(iterator)
    part = frames[3] if output != "mindspore" else frames.asnumpy()[3]
    del frames
    for _ in iterator:
        pass
    assert (np.asarray(part) == 3).all()


@pytest.mark.parametrize("output", OUTPUTS)
def test_dropped_batches_are_recycled(output: str) -> None:
    """Fifty batches, each dropped, take the memory of two."""
    loader = dsb.DataLoader(Frames(), batch_size=8, output=output)
    for batch in loader:  # noqa: B007 - it is held until the next one is made
        pass
    assert loader._pool.allocated <= 2
    del batch
    gc.collect()
    assert loader._pool.leased == 0


def test_dropped_in_any_order() -> None:
    """Batches dropped in a random order free theirs alone."""
    rng, kept = random.Random(1), {}
    for number, batch in enumerate(dsb.DataLoader(Frames(), batch_size=8)):
        kept[number * 8] = batch
        if len(kept) > 4:
            del kept[rng.choice(list(kept))]
    assert all(_holds(batch, first) for first, batch in kept.items())


def test_dropped_by_another_thread() -> None:
    """Batches that another thread consumes are whole."""
    queue: list[Any] = []
    done, wrong = threading.Event(), []

    def consume() -> None:
        while not (done.is_set() and not queue):
            if queue:
                first, batch = queue.pop(0)
                if not _holds(batch, first):
                    wrong.append(first)
                del batch

    thread = threading.Thread(target=consume)
    thread.start()
    try:
        for number, batch in enumerate(dsb.DataLoader(Frames(), batch_size=8, output="numpy")):
            queue.append((number * 8, batch))
    finally:
        done.set()
        thread.join()
    assert not wrong


def test_valid_after_the_loader() -> None:
    """Batches outlive the loader, its iterator and close()."""
    loader = dsb.DataLoader(Frames(24), batch_size=8)
    batches = list(loader)
    loader.close()
    del loader
    gc.collect()
    assert all(_holds(batch, 8 * number) for number, batch in enumerate(batches))


def test_max_memory(caplog: pytest.LogCaptureFixture) -> None:
    """Beyond max_memory batches are whole, counted in the stats and logged once."""
    loader = dsb.DataLoader(Frames(80), batch_size=8, max_memory=3 * 8 * 300 * 300 * 4)
    with caplog.at_level(logging.WARNING, "dsbridge"):
        batches = list(loader)
    assert all(_holds(batch, 8 * number) for number, batch in enumerate(batches))
    assert loader.stats().spilled_batches > 0
    assert "spilled batches" in str(loader.stats())
    assert len([record for record in caplog.records if "max_memory" in record.message]) == 1


class Stored(tud.Dataset):
    """A dataset that hands out what it holds."""

    def __init__(self, *items: Any) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


def _overwrite(tensor: Any) -> None:
    if isinstance(tensor, np.ndarray):
        tensor[...] = 99
    else:
        tensor.asnumpy()[...] = 99  # asnumpy of a mindspore tensor shares its memory
        tensor[...] = 99


ITEMS: dict[str, Any] = {
    "tensor": lambda: torch.ones(4),
    "big tensor": lambda: torch.ones(400_000),
    "array": lambda: np.ones(4, np.float32),
    "big array": lambda: np.ones(400_000, np.float32),
    "slice": lambda: torch.ones(4, 4)[1:3],
    "bf16": lambda: torch.ones(4, dtype=torch.bfloat16),
    "scalar": lambda: torch.ones(()),
}


@pytest.mark.parametrize("output", ["mindspore", "numpy"])
@pytest.mark.parametrize("batch_size", [None, 1, 2])
@pytest.mark.parametrize("kind", ITEMS)
def test_dataset_memory_is_its_own(kind: str, batch_size: int | None, output: str) -> None:
    """Writing to a batch does not reach the dataset, nor the other way round."""
    dataset = Stored(ITEMS[kind](), ITEMS[kind]())
    before = [plain(item) if kind != "bf16" else item.tolist() for item in dataset.items]
    batch = next(iter(dsb.DataLoader(dataset, batch_size=batch_size, output=output)))
    delivered = plain(batch)
    for item in dataset.items:
        item += 1
    assert plain(batch) == delivered
    for item in dataset.items:
        item -= 1
    if kind != "bf16" or output == "numpy":
        _overwrite(batch)
    assert [plain(item) if kind != "bf16" else item.tolist() for item in dataset.items] == before


@pytest.mark.parametrize("output", ["mindspore", "numpy"])
def test_views_from_a_users_collate(output: str) -> None:
    """A collate that returns views of the dataset's memory hands out copies."""
    held = torch.arange(12.0)
    array = np.arange(12.0)

    def collate(batch: list[Any]) -> Any:
        return {"torch": held[:4], "numpy": (array[::3], array), "same": held}

    batch = next(iter(dsb.DataLoader([1, 2], collate_fn=collate, output=output)))
    delivered = plain(batch)
    held += 100
    array += 100
    assert plain(batch) == delivered
    _overwrite(batch["same"])
    _overwrite(batch["numpy"][1])
    assert held.tolist() == array.tolist() == [100.0 + i for i in range(12)]


def test_a_read_only_array_stays_so() -> None:
    """MindSpore writes through read-only memory, so it is given a copy."""
    array = np.ones(4, np.float32)
    array.setflags(write=False)
    batch = next(iter(dsb.DataLoader([0], collate_fn=lambda batch: array)))
    batch += 1
    batch[...] = 5
    assert array.tolist() == [1, 1, 1, 1]


def test_torch_output_is_torchs() -> None:
    """output="torch", batch_size=None: the dataset's own tensor, as torch's loader gives it."""
    dataset = Stored(torch.ones(2))
    assert next(iter(dsb.DataLoader(dataset, batch_size=None, output="torch"))) is dataset.items[0]


@pytest.mark.parametrize("output", ["mindspore", "numpy"])
def test_memory_format_of_channels_last(output: str) -> None:
    """torch.stack keeps channels_last, which MindSpore would read as garbage: the batch is made contiguous."""
    for size in (4, 200):
        frames = torch.arange(2 * 3 * size * size, dtype=torch.float32).reshape(2, 3, size, size)
        dataset = [frames.to(memory_format=torch.channels_last)] * 2
        batch = next(iter(dsb.DataLoader(dataset, batch_size=2, output=output)))
        assert plain(batch) == plain(torch.stack([frames, frames]))


@pytest.mark.parametrize(
    ("value", "output"),
    [
        (np.zeros(2, np.longdouble), "mindspore"),
        (torch.zeros(2, dtype=torch.float8_e5m2), "mindspore"),
        (np.zeros(2, ml_dtypes.float8_e5m2), "mindspore"),
        (torch.zeros(2).to_sparse(), "numpy"),
        (torch.zeros(2, device="meta"), "numpy"),
        (np.ma.masked_array([1, 2], [True, False]), "numpy"),
    ],
)
def test_what_an_output_cannot_hold(value: Any, output: str) -> None:
    """Leaves that an output cannot hold are a SampleError naming the column."""
    loader = dsb.DataLoader([0], collate_fn=lambda batch: {"a": {"b": value}}, output=output)
    with pytest.raises(dsb.SampleError, match=r"column 'a\.b'") as caught:
        next(iter(loader))
    assert (caught.value.dsb_index, caught.value.dsb_position) == ([0], 0)


def test_strict_namedtuple_without_batches() -> None:
    """A sample's type is rebuilt from its own values alone, so that one that checks them is fine."""

    class Strict(namedtuple("Pair", ["a", "b"])):
        def __new__(cls, a: Any, b: Any) -> Any:
            assert a is not None
            return super().__new__(cls, a, b)

    batch = next(iter(dsb.DataLoader([Strict(1, "x")], batch_size=None)))
    assert type(batch) is Strict


def test_packed_sequences_pass_through_torch() -> None:
    """What cannot be rebuilt with other leaves is delivered as it is with output="torch"."""
    packed = torch.nn.utils.rnn.pack_sequence([torch.ones(3), torch.ones(2)])
    batch = next(iter(dsb.DataLoader([packed], batch_size=None, output="torch")))
    assert torch.equal(batch.data, packed.data)


def test_a_batch_that_was_sent_is_let_go_at_once() -> None:
    """Not only when the garbage collector comes by: it counts objects, and a few hundred batches may be gigabytes."""

    class Memory:
        """What a worker writes into."""

        used = 0

        def reserve(self, nbytes: int) -> np.ndarray:
            self.used += nbytes
            return np.empty(nbytes, np.uint8)

        def offset_of(self, array: np.ndarray) -> int:
            return -1

    batch = [torch.ones(8, 8), {"tokens": torch.arange(4)}]
    gone = [weakref.ref(batch[0]), weakref.ref(batch[1]["tokens"])]
    gc.collect()
    gc.disable()
    try:
        assert encode(batch, set(), Memory(), Extra())
        del batch
        assert [one() for one in gone] == [None, None]
    finally:
        gc.enable()
