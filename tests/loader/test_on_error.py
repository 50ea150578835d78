"""on_error: what happens to a sample that fails."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from loader_data import Broken, BrokenMany, BrokenStream, numbers, seed_globals

import dsbridge as dsb

DATASETS = {"map": Broken, "many": BrokenMany, "stream": BrokenStream}
SKIPPED = {
    "map": [[0.0, 1.0, 2.0], [5.0], [6.0, 7.0, 8.0], [9.0]],
    "many": [[0.0, 1.0, 2.0], [5.0], [6.0, 7.0, 8.0], [9.0]],
    "stream": [[0.0, 1.0, 2.0], [5.0, 6.0, 7.0], [8.0, 9.0]],  # a stream fills its batches
}


def _odd(batch: list[float]) -> list[float]:
    if 4.0 in batch:
        raise KeyError("four")
    return batch


@pytest.mark.parametrize(("kind", "index"), [("map", 3), ("many", [3, 4, 5]), ("stream", 3)])
def test_raise(kind: str, index: Any) -> None:
    """The default: the exception with its type, the sample's index and the batch's position, also in the message."""
    with pytest.raises(ValueError, match="bad sample 3") as caught:
        list(dsb.DataLoader(DATASETS[kind](), batch_size=3))
    assert type(caught.value) is ValueError
    assert (caught.value.dsb_index, caught.value.dsb_position) == (index, 1)
    assert f"dataset index {index}, position 1" in str(caught.value)
    assert any(entry.name == "__getitem__" for entry in caught.traceback)


def test_raise_in_collate() -> None:
    """A collate that fails names all indices of its batch."""
    with pytest.raises(KeyError, match="four") as caught:
        list(dsb.DataLoader(Broken(bad=()), batch_size=2, collate_fn=_odd))
    assert (caught.value.dsb_index, caught.value.dsb_position) == ([4, 5], 2)


def test_raise_in_collate_of_a_stream() -> None:
    """In a stream the indices are the positions."""
    with pytest.raises(KeyError, match="four") as caught:
        list(dsb.DataLoader(BrokenStream(bad=()), batch_size=2, collate_fn=_odd))
    assert (caught.value.dsb_index, caught.value.dsb_position) == ([4, 5], 2)


@pytest.mark.parametrize("rng", ["torch", "sample"])
@pytest.mark.parametrize("kind", DATASETS)
def test_skip(kind: str, rng: str, caplog: pytest.LogCaptureFixture) -> None:
    """Bad samples are left out, counted and logged; the rest is as it was."""
    loader = dsb.DataLoader(DATASETS[kind](), batch_size=3, on_error="skip", rng=rng, seed=1)
    with caplog.at_level(logging.WARNING, "dsbridge"):
        assert numbers(loader) == SKIPPED[kind]
    stats = loader.stats()
    assert (stats.skipped_samples, stats.skipped_batches, stats.samples) == (2, 0, 8)
    assert "bad sample 3" in caplog.text
    assert "bad sample 4" in caplog.text


@pytest.mark.parametrize("kind", ["map", "many"])
def test_skip_a_whole_batch(kind: str) -> None:
    """A batch all of whose samples are bad is left out."""
    loader = dsb.DataLoader(DATASETS[kind](), batch_size=2, on_error="skip", sampler=[0, 1, 3, 4, 5])
    assert numbers(loader) == [[0.0, 1.0], [5.0]]
    assert loader.stats().skipped_batches == 1


def test_skip_without_batches() -> None:
    """batch_size=None: the sample is left out."""
    loader = dsb.DataLoader(Broken(), batch_size=None, on_error="skip")
    assert list(loader) == [0.0, 1.0, 2.0, 5.0, 6.0, 7.0, 8.0, 9.0]


def test_skip_a_failing_collate() -> None:
    """A batch whose collate fails is left out, counted and logged."""
    loader = dsb.DataLoader(Broken(bad=()), batch_size=2, collate_fn=_odd, on_error="skip")
    assert list(loader) == [[0.0, 1.0], [2.0, 3.0], [6.0, 7.0], [8.0, 9.0]]
    assert loader.stats().skipped_batches == 1


@pytest.mark.parametrize("kind", DATASETS)
def test_replace(kind: str) -> None:
    """A callable is given index and exception, and what it returns stands in."""
    seen = []

    def replacement(index: int, exc: Exception) -> float:
        seen.append((index, type(exc), exc.dsb_index))  # type: ignore[attr-defined]
        return -float(index)

    loader = dsb.DataLoader(DATASETS[kind](), batch_size=5, on_error=replacement)
    assert numbers(loader) == [[0.0, 1.0, 2.0, -3.0, -4.0], [5.0, 6.0, 7.0, 8.0, 9.0]]
    assert seen == [(3, ValueError, 3), (4, ValueError, 4)]
    assert loader.stats().replaced_samples == 2


def test_replacement_that_fails() -> None:
    """An exception of the callable surfaces with the sample's index."""

    def replacement(index: int, exc: Exception) -> float:
        raise LookupError("none left") from exc

    with pytest.raises(LookupError, match="none left") as caught:
        list(dsb.DataLoader(Broken(), on_error=replacement))
    assert caught.value.dsb_index == 3
    assert isinstance(caught.value.__cause__, ValueError)


def test_stream_that_fails_for_ever() -> None:
    """A stream whose iterator only raises is an error, not an endless loop."""
    stream = BrokenStream(size=5000, bad=tuple(range(5000)))
    with pytest.raises(dsb.SampleError, match="in a row"):
        list(dsb.DataLoader(stream, on_error="skip"))


def test_keyboard_interrupt_is_not_skipped() -> None:
    """What is no Exception is never swallowed."""

    class Stopped(Broken):
        def __getitem__(self, index: int) -> float:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(dsb.DataLoader(Stopped(), on_error="skip"))


def test_replay_of_a_failure() -> None:
    """replay(exc.dsb_index) raises the same exception in this process."""
    loader = dsb.DataLoader(Broken(), batch_size=3)
    seed_globals(1)
    with pytest.raises(ValueError, match="bad sample 3") as caught:
        list(loader)
    with pytest.raises(ValueError, match="bad sample 3"):
        loader.replay(caught.value.dsb_index)


def test_getitems_that_returns_nothing_is_torchs_error() -> None:
    """A batch without samples is not skipped silently: collate sees it, as in torch."""

    class Empty(Broken):
        def __getitems__(self, indices: list[int]) -> list[float]:
            return []

    with pytest.raises(IndexError):
        list(dsb.DataLoader(Empty(), batch_size=2))
    assert list(dsb.DataLoader(Empty(), batch_size=5, collate_fn=len)) == [0, 0]
