"""What a loader shows of itself: torch's attributes, length, outputs, progress, stats, closing."""

from __future__ import annotations

import json
import re
import time
import warnings
from typing import Any

import mindspore
import numpy as np
import pytest
import torch
from loader_data import Broken, BrokenStream, Noisy, NoisyStream, plain, seed_globals
from torch.utils import data as tud

import dsbridge as dsb

READABLE = (
    *("dataset", "batch_size", "sampler", "batch_sampler", "num_workers", "collate_fn", "pin_memory", "drop_last"),
    *("timeout", "worker_init_fn", "multiprocessing_context", "generator", "prefetch_factor", "persistent_workers"),
    *("pin_memory_device", "in_order"),
)
FIXED = ("batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers")


class Sized(NoisyStream):
    """A stream that says it has fewer samples than it has."""

    def __len__(self) -> int:
        return 2


@pytest.mark.parametrize("name", READABLE)
def test_torch_attributes(name: str) -> None:
    """Every attribute of torch's loader is readable, and those torch fixes raise torch's error when set."""
    dataset, sampler = Noisy(), tud.SequentialSampler(range(10))
    theirs = tud.DataLoader(dataset, batch_size=2, sampler=sampler)
    ours = dsb.DataLoader(dataset, batch_size=2, sampler=sampler)
    expected, got = getattr(theirs, name), getattr(ours, name)
    assert got == expected or type(got) is type(expected) is tud.BatchSampler
    if name in FIXED:
        with pytest.raises(ValueError) as theirs_raised:
            setattr(theirs, name, expected)
        with pytest.raises(ValueError, match=re.escape(str(theirs_raised.value))):
            setattr(ours, name, got)


def test_collate_fn_may_be_set() -> None:
    """What torch lets a user set counts from then on."""
    loader = dsb.DataLoader([1, 2, 3], batch_size=3)
    loader.collate_fn = sum
    assert list(loader) == [6]


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("batch_size", [None, 1, 4])
def test_length_of_a_stream(batch_size: int | None, drop_last: bool) -> None:
    """A stream with a length has torch's number of batches; one without is a TypeError."""
    arguments = {"batch_size": batch_size, "drop_last": drop_last and batch_size is not None}
    assert len(dsb.DataLoader(Sized(), **arguments)) == len(tud.DataLoader(Sized(), **arguments))
    with pytest.raises(TypeError, match="NoisyStream"):
        len(dsb.DataLoader(NoisyStream(), **arguments))


@pytest.mark.parametrize("ask", ["before", "during", "never"])
def test_length_warning(ask: str) -> None:
    """A stream longer than said warns as torch does: per batch too many, if len() was asked before the iteration."""

    def said(loader: Any) -> list[str]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            if ask == "before":
                len(loader)
            for _ in loader:
                if ask == "during":
                    len(loader)
        return [re.sub("0x[0-9a-f]+", "", str(warning.message)) for warning in caught]

    theirs = said(tud.DataLoader(Sized(4)))
    assert len(theirs) == (2 if ask == "before" else 0)
    assert said(dsb.DataLoader(Sized(4))) == theirs


@pytest.mark.parametrize("device", ["", "cuda"])
def test_pin_memory_warns_as_torch(device: str) -> None:
    """pin_memory without an accelerator warns once per iteration, in torch's words; batches are the same."""

    def said(loader: Any) -> tuple[list[str], list[Any]]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            batches = [plain(batch) for batch in loader]
        return [str(warning.message) for warning in caught], batches

    arguments: dict[str, Any] = {"pin_memory": True, "pin_memory_device": device}
    assert said(dsb.DataLoader([1, 2], output="torch", **arguments)) == said(tud.DataLoader([1, 2], **arguments))


@pytest.mark.parametrize(("output", "kind"), [("mindspore", mindspore.Tensor), ("numpy", np.ndarray), ("torch", torch.Tensor)])
def test_output(output: str, kind: type) -> None:
    """Leaves are of the framework asked for; the rest of a batch passes through."""
    loader = dsb.DataLoader([{"x": (torch.ones(2), 3), "s": "a", "b": b"b"}] * 2, batch_size=2, output=output)
    batch = next(iter(loader))
    assert loader.output == output
    assert isinstance(batch["x"][0], kind)
    assert isinstance(batch["x"][1], kind)
    assert (batch["s"], batch["b"]) == (["a", "a"], [b"b", b"b"])


def test_mindspore_tensors_compute() -> None:
    """Batches can be computed with."""
    batch = next(iter(dsb.DataLoader([torch.ones(3), torch.ones(3)], batch_size=2)))
    assert float((batch * 2).sum().asnumpy()) == 12.0


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"output": "jax"}, "output"),
        ({"rng": "numpy"}, "rng"),
        ({"seed": 1, "generator": torch.Generator()}, "seed"),
        ({"on_error": "ignore"}, "on_error"),
        ({"on_worker_death": "cry"}, "on_worker_death"),
        ({"max_restarts": -1}, "max_restarts"),
        ({"batch_timeout": 0}, "batch_timeout"),
        ({"max_memory": 0}, "max_memory"),
    ],
)
def test_wrong_keywords(arguments: dict[str, Any], match: str) -> None:
    """A wrong value of one of dsbridge's own keywords is a ValueError that names it."""
    with pytest.raises(ValueError, match=match):
        dsb.DataLoader([1], **arguments)


def test_seed_is_a_generator() -> None:
    """seed= under rng="torch" gives the batches of a generator with that seed, and leaves the global ones alone."""
    expected = list(tud.DataLoader(range(9), shuffle=True, batch_size=None, generator=torch.Generator().manual_seed(4)))
    seed_globals(0)
    before = torch.get_rng_state()
    assert list(dsb.DataLoader(range(9), shuffle=True, batch_size=None, seed=4)) == expected
    assert torch.equal(before, torch.get_rng_state())


def test_progress_bar(capsys: pytest.CaptureFixture[str]) -> None:
    """progress=True shows a bar with the number of batches on stderr, and the same batches."""
    with dsb.DataLoader([1, 2, 3], progress=True) as loader:
        assert [int(batch[0]) for batch in loader] == [1, 2, 3]
    seen = capsys.readouterr()
    assert "/3" in seen.err
    assert seen.out == ""


def test_progress_bar_without_length(capsys: pytest.CaptureFixture[str]) -> None:
    """A stream without a length has a bar that counts."""
    assert len(list(dsb.DataLoader(NoisyStream(3), progress=True))) == 3
    assert "batch" in capsys.readouterr().err


def test_stats_count() -> None:
    """Batches, samples and bytes are counted over all epochs."""
    loader = dsb.DataLoader([torch.ones(4)] * 5, batch_size=2)
    assert loader.stats().verdict == "nothing loaded yet"
    for _ in range(2):
        list(loader)
    stats = loader.stats()
    assert (stats.batches, stats.samples, stats.bytes) == (6, 10, 160)
    assert stats.ok
    assert json.loads(json.dumps(stats.to_dict()))["samples"] == 10


@pytest.mark.parametrize(("load_s", "train_s", "verdict"), [(0.02, 0, "loader-bound"), (0, 0.02, "trainer-bound")])
def test_verdict(load_s: float, train_s: float, verdict: str) -> None:
    """The verdict says whether loading or training takes the time."""

    def collate(batch: list[Any]) -> Any:
        time.sleep(load_s)
        return batch

    loader = dsb.DataLoader([1, 2, 3, 4], collate_fn=collate)
    for _ in loader:
        time.sleep(train_s)
    assert loader.stats().verdict.startswith(verdict)


def test_lost_samples_are_not_ok() -> None:
    """Skipped samples make the stats not ok, and raise_if raises."""
    loader = dsb.DataLoader(Broken(), on_error="skip")
    list(loader)
    stats = loader.stats()
    assert not stats.ok
    assert "skipped samples: 2" in str(stats)
    with pytest.raises(dsb.VerificationError, match="skipped samples"):
        stats.raise_if_failed()


def test_close_and_context_manager() -> None:
    """A closed loader can be used again, and batches stay valid."""
    with dsb.DataLoader([1.0, 2.0]) as loader:
        batches = list(loader)
    loader.close()
    loader.close()
    assert [float(batch[0]) for batch in batches] == [1.0, 2.0]
    assert len(list(loader)) == 2


def test_two_iterators_interleaved() -> None:
    """Two iterators of one loader, advanced in turn, give what torch's give."""

    def pairs(loader: Any) -> list[Any]:
        seed_globals(2)
        return [(plain(a), plain(b)) for a, b in zip(loader, loader, strict=True)]

    arguments: dict[str, Any] = {"batch_size": 3, "shuffle": True}
    assert pairs(dsb.DataLoader(Noisy(), **arguments)) == pairs(tud.DataLoader(Noisy(), **arguments))


def test_goes_on_after_a_failure() -> None:
    """The batch after one that failed comes next, as in torch."""
    for dataset in (Broken(bad=(3,)), BrokenStream(bad=(3,))):
        iterator = iter(dsb.DataLoader(dataset, batch_size=2))
        next(iterator)
        with pytest.raises(ValueError, match="bad sample 3"):
            next(iterator)
        assert next(iterator).tolist() == [4.0, 5.0]


def test_repr() -> None:
    """The repr names the dataset, batch size, length and output."""
    assert repr(dsb.DataLoader(Noisy(), batch_size=4)) == (
        "<dsbridge.DataLoader of Noisy, batch_size=4, 3 batches, output='mindspore'>"
    )
