"""dsbridge.DataLoader against torch's with 1, 2 and 3 worker processes, over seeded random configurations.

A mismatch prints its configuration and the line that runs it alone:
``DSBRIDGE_PARITY=123 python -m pytest tests/parity/test_workers.py -k one``.
"""

from __future__ import annotations

import os

import compare
import configurations
import pytest
import torch
import workers

import dsbridge as dsb

COUNT, CHUNK = 210, 15
pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]


@pytest.fixture(scope="module", autouse=True)
def warm_sharing() -> None:
    """Let torch send tensors to a worker once: it opens a socket for it and keeps that."""
    list(torch.utils.data.DataLoader([1, 2, 3], sampler=torch.arange(3), num_workers=1))


def check(number: int) -> str | None:
    """None if both loaders do the same for this configuration, else what differs."""
    config = workers.draw(number)
    try:
        _check(config)
    except Exception as exc:
        alone = f"DSBRIDGE_PARITY={number} python -m pytest tests/parity/test_workers.py -k one"
        return f"{config}\n    {type(exc).__name__}: {exc}\n    alone: {alone}"
    return None


def _check(config: workers.Configuration) -> None:
    try:
        torch.utils.data.DataLoader(**workers.build(config))
    except Exception as refused:
        try:
            dsb.DataLoader(**workers.build(config))
        except Exception as exc:
            if (type(exc), str(exc)) != (type(refused), str(refused)):
                raise compare.Mismatch(f"constructor: expected {refused!r}, got {exc!r}") from exc
            return
        raise compare.Mismatch(f"constructor: expected {refused!r}, got a loader") from refused
    expected = workers.record(torch.utils.data.DataLoader(**workers.build(config, promised=True)), config)
    with dsb.DataLoader(**workers.build(config), output=config.output) as loader:
        workers.same_records(expected, workers.record(loader, config), config)


@pytest.mark.parametrize(
    "first", [pytest.param(first, marks=[pytest.mark.slow] if first % (2 * CHUNK) else []) for first in range(0, COUNT, CHUNK)]
)
def test_same_as_torch(first: int) -> None:
    """Batches, exceptions and generators are torch's in every configuration of the chunk."""
    failures = [text for number in range(first, first + CHUNK) if (text := check(number))]
    assert not failures, f"{len(failures)} of {CHUNK} differ:\n" + "\n".join(failures)


@pytest.mark.skipif("DSBRIDGE_PARITY" not in os.environ, reason="runs the configuration DSBRIDGE_PARITY alone")
def test_one() -> None:
    """One configuration alone, with the whole traceback."""
    _check(workers.draw(int(os.environ["DSBRIDGE_PARITY"])))


def test_the_draw_covers_everything() -> None:
    """The same number gives the same configuration, and all that is about workers is drawn, in every size of pool."""
    drawn = [workers.draw(number) for number in range(COUNT)]
    assert drawn == [workers.draw(number) for number in range(COUNT)]
    for count in (1, 2, 3):
        some = [c for c in drawn if c.workers == count]
        assert {c.dataset for c in some} == set(workers.DATASETS)
        assert {c.prefetch for c in some} == {None, 1, 2, 3}
        assert {c.output for c in some} == set(workers.OUTPUTS)
        assert {c.persistent for c in some} == {c.in_order for c in some} == {True, False}
        assert any(c.leave_after for c in some)
    assert {c.init_fn for c in drawn} == set(workers.INIT_FNS)
    assert {c.base.dataset for c in drawn} == set(configurations.DATASETS)
    assert {c.base.collate for c in drawn} == {*configurations.COLLATES, None}
