"""state_dict and load_state_dict: the very next batch, in a fresh loader."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from loader_data import BrokenStream, LazySampler, Noisy, NoisyStream, OrderSampler, noise, numbers, plain, seed_globals
from torch.utils import data as tud

import dsbridge as dsb

SIZE = 12


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(8)


def _random(**arguments: Any) -> Callable[[], dict[str, Any]]:
    return lambda: {"sampler": tud.RandomSampler(range(SIZE), generator=_generator(), **arguments)}


KINDS: dict[str, Callable[[], dict[str, Any]]] = {
    "sequential": dict,
    "shuffle": lambda: {"shuffle": True},
    "shuffle, generator": lambda: {"shuffle": True, "generator": _generator()},
    "generator": lambda: {"generator": _generator()},
    "random": _random(),
    "replacement": _random(replacement=True, num_samples=80),
    "several permutations": _random(num_samples=3 * SIZE + 1),
    "replacement, global": lambda: {"sampler": tud.RandomSampler(range(SIZE), replacement=True, num_samples=40)},
    "subset random": lambda: {"sampler": tud.SubsetRandomSampler(range(0, SIZE, 2))},
    "subset random, generator": lambda: {"sampler": tud.SubsetRandomSampler(range(9), _generator())},
    "weighted": lambda: {"sampler": tud.WeightedRandomSampler([1.0, 3.0] * 6, 20)},
    "weighted, generator": lambda: {"sampler": tud.WeightedRandomSampler([1.0, 3.0] * 6, 20, generator=_generator())},
    "distributed": lambda: {"sampler": tud.DistributedSampler(range(SIZE), 2, 1)},
    "list": lambda: {"sampler": [3, 3, 1, 7, 3, 0, 11, 5, 3]},
    "batch sampler": lambda: {"batch_sampler": tud.BatchSampler(tud.RandomSampler(range(SIZE)), 4, False)},
    "user's order": lambda: {"sampler": OrderSampler(SIZE)},
    "one by one": lambda: {"batch_size": None, "shuffle": True},
    "stream": lambda: {"dataset": NoisyStream(SIZE)},
    "stream, one by one": lambda: {"dataset": NoisyStream(SIZE), "batch_size": None},
}
BUILTIN = [kind for kind in KINDS if not kind.startswith(("stream", "user"))]


def _loader(kind: str, rng: str, **more: Any) -> Any:
    arguments = {"dataset": Noisy(SIZE), "rng": rng, "seed": 5 if rng == "sample" else None, **KINDS[kind](), **more}
    if "batch_sampler" not in arguments:
        arguments.setdefault("batch_size", 3)
    return dsb.DataLoader(**arguments)


def _take(loader: Any, epochs: int) -> list[Any]:
    return [[plain(batch) for batch in loader] for _ in range(epochs)]


def _json(state: Any) -> Any:
    return json.loads(json.dumps(state))


def _uninterrupted(kind: str, rng: str, **more: Any) -> list[Any]:
    seed_globals(1)
    return _take(_loader(kind, rng, **more), 3)


@pytest.mark.parametrize("rng", ["torch", "sample"])
@pytest.mark.parametrize("kind", KINDS)
def test_resume_anywhere(kind: str, rng: str) -> None:
    """From every position of the second epoch, a fresh loader goes on exactly, through JSON, and into the third."""
    expected = _uninterrupted(kind, rng)
    count = len(expected[1])
    for position in {0, 1, count // 2, count - 1, count}:
        seed_globals(1)
        loader = _loader(kind, rng)
        list(loader)
        iterator = iter(loader)
        before = [plain(next(iterator)) for _ in range(position)]
        state = _json(loader.state_dict())
        del iterator, loader
        seed_globals(99)
        fresh = _loader(kind, rng)
        fresh.load_state_dict(state)
        rest, following = _take(fresh, 2)
        assert before + rest == expected[1], position
        assert following == expected[2], position


@pytest.mark.parametrize("rng", ["torch", "sample"])
@pytest.mark.parametrize("kind", KINDS)
def test_resume_between_epochs(kind: str, rng: str) -> None:
    """A state taken between two epochs goes on with the next one."""
    expected = _uninterrupted(kind, rng)
    seed_globals(1)
    loader = _loader(kind, rng)
    list(loader)
    state = _json(loader.state_dict())
    seed_globals(99)
    fresh = _loader(kind, rng)
    fresh.load_state_dict(state)
    assert _take(fresh, 2) == expected[1:]


@pytest.mark.parametrize("rng", ["torch", "sample"])
def test_state_before_the_first_epoch(rng: str) -> None:
    """A loader that never ran has a state, too."""
    expected = _uninterrupted("shuffle", rng)
    seed_globals(1)
    state = _json(_loader("shuffle", rng).state_dict())
    seed_globals(99)
    fresh = _loader("shuffle", rng)
    fresh.load_state_dict(state)
    assert _take(fresh, 3) == expected


@pytest.mark.parametrize("rng", ["torch", "sample"])
def test_after_break(rng: str) -> None:
    """A state taken after a break resumes the epoch that was left."""
    expected = _uninterrupted("shuffle", rng)
    seed_globals(1)
    loader = _loader("shuffle", rng)
    for number, _ in enumerate(loader):
        if number == 1:
            break
    fresh = _loader("shuffle", rng)
    fresh.load_state_dict(_json(loader.state_dict()))
    assert _take(fresh, 1) == [expected[0][2:]]


def test_resume_twice() -> None:
    """A resumed iteration can be saved and resumed again, also before it begins."""
    expected = _uninterrupted("shuffle", "torch")
    seed_globals(1)
    loader = _loader("shuffle", "torch")
    next(iter(loader))
    for position in (1, 2, 3):
        state = _json(loader.state_dict())
        loader = _loader("shuffle", "torch")
        loader.load_state_dict(state)
        assert _json(loader.state_dict()) == state
        assert plain(next(iter(loader))) == expected[0][position]


def test_same_loader_goes_back() -> None:
    """A state can be loaded into the loader it came from, in the middle of another epoch."""
    expected = _uninterrupted("shuffle, generator", "torch")
    seed_globals(1)
    loader = _loader("shuffle, generator", "torch")
    iterator = iter(loader)
    next(iterator)
    state = loader.state_dict()
    list(iterator)
    next(iter(loader))
    loader.load_state_dict(state)
    assert _take(loader, 1) == [expected[0][1:]]


@pytest.mark.parametrize("rng", ["torch", "sample"])
@pytest.mark.parametrize("kind", BUILTIN)
def test_no_sample_is_loaded_again(kind: str, rng: str) -> None:
    """Resuming a map-style dataset loads nothing but what is still to come, and has nothing to report."""
    loader = _loader(kind, rng)
    iterator = iter(loader)
    next(iterator)
    state = loader.state_dict()
    left = sum(1 for _ in iterator)
    fresh = _loader(kind, rng)
    fresh.load_state_dict(state)
    iterator = iter(fresh)
    assert fresh.dataset.loads == []
    assert sum(1 for _ in iterator) == left
    assert len(fresh.dataset.loads) == fresh.stats().samples
    assert not fresh.report.findings


@pytest.mark.parametrize(("kind", "code"), [("stream", "resume-fast-forward"), ("user's order", "resume-sampler-rerun")])
def test_resume_says_what_it_runs_again(kind: str, code: str) -> None:
    """What cannot be resumed at once is a finding in the report and the stats."""
    loader = _loader(kind, "torch")
    next(iter(loader))
    fresh = _loader(kind, "torch")
    fresh.load_state_dict(loader.state_dict())
    assert code not in fresh.report
    list(fresh)
    assert code in fresh.report
    assert code in [finding.code for finding in fresh.stats().findings]


def test_lazy_sampler_under_rng_sample() -> None:
    """Even a sampler that draws as it goes is resumed exactly: its numbers depend on the position."""
    arguments: dict[str, Any] = {"batch_size": 2, "sampler": LazySampler(SIZE), "rng": "sample", "seed": 3}
    expected = _take(dsb.DataLoader(Noisy(SIZE), **arguments), 1)[0]
    loader = dsb.DataLoader(Noisy(SIZE), **arguments)
    iterator = iter(loader)
    next(iterator), next(iterator)
    fresh = dsb.DataLoader(Noisy(SIZE), **arguments)
    fresh.load_state_dict(_json(loader.state_dict()))
    assert _take(fresh, 1)[0] == expected[2:]


@pytest.mark.parametrize("on_error", ["skip", lambda index, exc: -1.0])
def test_stream_with_bad_samples(on_error: Any) -> None:
    """Bad samples of a stream count: the resumed loader goes on behind them."""

    def loader() -> Any:
        return dsb.DataLoader(BrokenStream(), batch_size=2, on_error=on_error)

    expected = numbers(loader())
    for position in range(1, 5):
        first = loader()
        iterator = iter(first)
        for _ in range(position):
            next(iterator)
        fresh = loader()
        fresh.load_state_dict(first.state_dict())
        assert numbers(fresh) == expected[position:], position


def test_noisy_collate() -> None:
    """Random numbers drawn by collate go on as well."""

    def loader() -> Any:
        return dsb.DataLoader(Noisy(SIZE), batch_size=3, shuffle=True, collate_fn=lambda batch: (batch, noise()))

    seed_globals(1)
    expected = list(loader())
    seed_globals(1)
    first = loader()
    iterator = iter(first)
    next(iterator), next(iterator)
    state = _json(first.state_dict())
    seed_globals(99)
    fresh = loader()
    fresh.load_state_dict(state)
    assert list(fresh) == expected[2:]


def test_set_epoch_is_kept() -> None:
    """An epoch set by the user is that of the resumed loader."""
    loader = _loader("distributed", "sample")
    loader.set_epoch(4)
    expected = _take(loader, 1)[0]
    next(iter(loader))
    fresh = _loader("distributed", "sample")
    fresh.load_state_dict(_json(loader.state_dict()))
    assert _take(fresh, 2) == [expected[1:], expected]


def test_trainer_generators_under_rng_sample() -> None:
    """Under rng="sample" resuming leaves the global generators alone."""
    loader = _loader("shuffle", "sample")
    next(iter(loader))
    fresh = _loader("shuffle", "sample")
    fresh.load_state_dict(loader.state_dict())
    seed_globals(7)
    expected = noise()
    seed_globals(7)
    list(fresh)
    assert noise() == expected


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"rng": "sample", "seed": 1}, "rng was 'torch', is 'sample'"),
        ({"batch_size": 4}, "batch_size was 3, is 4"),
        ({"dataset": Noisy(SIZE + 1)}, "dataset_size was 12, is 13"),
    ],
)
def test_other_setting(change: dict[str, Any], match: str) -> None:
    """A state of another kind of loader is refused at once, naming what differs."""
    state = _loader("shuffle", "torch").state_dict()
    with pytest.raises(dsb.SchemaError, match=match):
        dsb.DataLoader(**{"dataset": Noisy(SIZE), "batch_size": 3, "shuffle": True, **change}).load_state_dict(state)


def test_other_generators() -> None:
    """A loader with other generators than the state's is refused when it is iterated."""
    loader = _loader("shuffle, generator", "torch")
    next(iter(loader))
    fresh = _loader("shuffle", "torch")
    fresh.load_state_dict(loader.state_dict())
    with pytest.raises(dsb.SchemaError, match="generator"):
        iter(fresh)


@pytest.mark.parametrize("state", [None, {}, [], {"version": 99}, "state"])
def test_no_state(state: Any) -> None:
    """What is no state is refused."""
    with pytest.raises(dsb.SchemaError, match="not a loader state"):
        _loader("shuffle", "torch").load_state_dict(state)
