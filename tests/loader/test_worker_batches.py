"""What workers deliver beyond torch's batches: ragged columns, Arrow data, findings, stats, resume out of order."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import tqdm

import dsbridge as dsb

pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]


def _as_is(samples: list[Any]) -> list[Any]:
    return samples


@pytest.mark.parametrize("output", ["numpy", "torch", "mindspore"])
def test_ragged_columns_lie_in_one_block(output: str) -> None:
    """A list of vectors comes as views of one block of values, in any output, with nothing pickled."""
    data = [torch.arange(n % 7) if output == "torch" else np.arange(n % 7) for n in range(24)]
    loader = dsb.DataLoader(data, batch_size=12, num_workers=2, collate_fn=_as_is, output=output)
    for position, batch in enumerate(loader):
        values = [vector.asnumpy().tolist() if output == "mindspore" else vector.tolist() for vector in batch]
        assert values == [list(range(n % 7)) for n in range(12 * position, 12 * position + 12)]
        if output == "numpy":
            bases = {id(_base(vector)) for vector in batch if vector.size}
            assert len(bases) == 1
    assert loader.stats().pickled_columns == 0


def _base(array: Any) -> Any:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _to_arrow(samples: list[Any]) -> Any:
    return pa.table({"n": pa.array(np.arange(4000) + samples[0]), "text": [f"sample {s}" for s in range(4000)]})


def test_arrow_tables_keep_their_buffers_in_the_slot() -> None:
    """A collate may return pyarrow data: its buffers travel out of band and are counted."""
    loader = dsb.DataLoader(range(8), batch_size=4, num_workers=2, collate_fn=_to_arrow)
    tables = list(loader)
    assert [table["n"][0].as_py() for table in tables] == [0, 4]
    assert tables[1]["text"][3999].as_py() == "sample 3999"
    assert loader.stats().pickled_columns > 0
    assert loader.stats().bytes == 0 or loader.stats().bytes > 32000


class Numbers(torch.utils.data.IterableDataset):
    """0 to 7, sharded or not."""

    def __init__(self, sharded: bool) -> None:
        self.sharded = sharded

    def __iter__(self) -> Iterator[int]:
        info = torch.utils.data.get_worker_info()
        return iter(range(info.id, 8, info.num_workers) if self.sharded else range(8))


def test_a_stream_that_is_read_twice_is_a_finding() -> None:
    """Each worker reads all of an unsharded stream, as in torch; the report says so. A sharded one is fine."""
    for sharded in (True, False):
        loader = dsb.DataLoader(Numbers(sharded), batch_size=2, num_workers=2, output="numpy")
        assert sorted(int(n) for batch in loader for n in batch) == sorted(list(range(8)) * (1 if sharded else 2))
        assert ("stream-not-sharded" in loader.report) != sharded


def test_stats_add_up() -> None:
    """Times, bytes and slots are counted; the verdict says what to do."""
    loader = dsb.DataLoader([np.zeros(1000)] * 64, batch_size=4, num_workers=2, output="numpy")
    for _ in range(2):
        for _ in loader:
            pass
    stats = loader.stats()
    assert (stats.batches, stats.samples, stats.bytes) == (32, 128, 2 * 64 * 8000)
    assert 0 < stats.slots <= 6
    assert min(stats.produce_s, stats.queue_s, stats.wait_s, stats.hold_s) > 0
    assert "add workers" in stats.verdict or "trainer-bound" in stats.verdict
    held = dsb.LoaderStats(batches=10, spilled_batches=8, wait_s=1.0)
    assert held.verdict.startswith("slots held by you")


@pytest.mark.parametrize("rng", ["torch", "sample"])
def test_resume_out_of_order(rng: str) -> None:
    """in_order=False: what was delivered before the state was saved is not delivered again, and nothing is left out."""
    kind = {"batch_size": 2, "num_workers": 3, "in_order": False, "output": "numpy", "rng": rng}
    seed = {"seed": 3} if rng == "sample" else {}
    loader = dsb.DataLoader(range(60), **kind, **seed)
    iterator = iter(loader)
    seen = [int(n) for _ in range(11) for n in next(iterator)]
    state = json.loads(json.dumps(loader.state_dict()))
    del iterator
    other = dsb.DataLoader(range(60), **kind, **seed)
    other.load_state_dict(state)
    seen += [int(n) for batch in other for n in batch]
    assert sorted(seen) == list(range(60))


def test_resume_of_workers_that_live_on() -> None:
    """persistent_workers: in a later epoch, in its middle and between two, a fresh loader goes on with the same numbers."""

    class Noisy(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return 12

        def __getitem__(self, index: int) -> Any:
            return torch.rand(2), np.random.rand(), index

    def make() -> dsb.DataLoader:
        return dsb.DataLoader(Noisy(), batch_size=2, shuffle=True, num_workers=2, persistent_workers=True, output="numpy")

    def plain(batch: Any) -> Any:
        return [part.tolist() for part in batch]

    torch.manual_seed(5)
    with make() as loader:
        expected = [[plain(batch) for batch in loader] for _ in range(4)]
    for position in (0, 3):
        torch.manual_seed(5)
        with make() as loader:
            for _ in range(2):
                list(loader)
            if position:
                iterator = iter(loader)
                begun = [plain(next(iterator)) for _ in range(position)]
            else:
                begun = []
            state = json.loads(json.dumps(loader.state_dict()))
        torch.manual_seed(77)
        with make() as loader:
            loader.load_state_dict(state)
            rest = [plain(batch) for batch in loader]
            assert begun + rest == expected[2], position
            assert [plain(batch) for batch in loader] == expected[3]


def test_bars_of_nested_loops(capsys: pytest.CaptureFixture[str]) -> None:
    """A bar inside a bar, with workers: each epoch of the inner loop has its own, all count to their end."""
    outer = dsb.DataLoader(list(range(3)), num_workers=1, progress=True, output="numpy")
    inner = dsb.DataLoader(list(range(8)), batch_size=4, num_workers=1, progress=True, output="numpy")
    assert [(int(a[0]), b.tolist()) for a in outer for b in inner][-1] == (2, [4, 5, 6, 7])
    bars = capsys.readouterr().err
    assert bars.count("0/3 [") == 1
    assert bars.count("0/2 [") == 3
    assert not tqdm.tqdm._instances


class _Odd:
    """Something that only pickle can send, with an array in it."""

    def __init__(self, array: Any) -> None:
        self.array = array


@pytest.mark.parametrize("output", ["numpy", "mindspore"])
def test_leaves_are_the_same_beside_what_is_pickled(output: str) -> None:
    """One object in a batch that must be pickled changes nothing for the tensors beside it, nor the bytes counted."""
    plain = [{"x": torch.arange(4) + n, "y": [np.ones(2, "f4"), n, "text"]} for n in range(4)]
    odd = [{**sample, "odd": _Odd(np.zeros(3))} for sample in plain]
    with (
        dsb.DataLoader(plain, batch_size=None, num_workers=1, output=output) as first,
        dsb.DataLoader(odd, batch_size=None, num_workers=1, output=output) as second,
    ):
        for a, b in zip(first, second, strict=True):
            assert type(a["x"]) is type(b["x"])
            assert type(a["y"][0]) is type(b["y"][0])
            assert np.asarray(a["x"]).tolist() == np.asarray(b["x"]).tolist()
            assert a["y"][1:] == b["y"][1:]
            assert type(b["odd"]) is _Odd
        assert first.stats().bytes == second.stats().bytes > 0
        assert (first.stats().pickled_columns, second.stats().pickled_columns) == (0, 4)


def test_a_leaf_that_mindspore_cannot_hold_is_named() -> None:
    """fp8 in a column, from a worker: the error says which one."""
    samples = [{"x": torch.ones(2), "bad": torch.ones(2).to(torch.float8_e4m3fn)}] * 2
    with pytest.raises(dsb.SampleError, match="bad"), dsb.DataLoader(samples, num_workers=1) as loader:
        list(loader)
