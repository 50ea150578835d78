"""dsbridge.DataLoader against torch's, over seeded random configurations.

A mismatch prints its configuration and the line that runs it alone:
``DSBRIDGE_PARITY=123 python -m pytest tests/parity/test_loader.py -k one``.
"""

from __future__ import annotations

import os
import warnings

import compare
import configurations
import deviations
import pytest
import samples
import torch

import dsbridge as dsb

COUNT, CHUNK = 600, 30
OUTPUTS = ("torch", "numpy", "mindspore")


def check(number: int) -> str | None:
    """None if both loaders do the same for this configuration, else what differs."""
    config = configurations.draw(number)
    try:
        _check(config)
    except Exception as exc:
        alone = f"DSBRIDGE_PARITY={number} python -m pytest tests/parity/test_loader.py -k one"
        return f"{config}\n    {type(exc).__name__}: {exc}\n    alone: {alone}"
    return None


def _check(config: configurations.Configuration) -> None:
    arguments = configurations.build(config)
    try:
        torch.utils.data.DataLoader(**arguments)
    except Exception as exc:
        _same_refusal(arguments, exc)
        return
    promised = torch.utils.data.DataLoader(**configurations.build(config, promised=True))
    expected = compare.record(promised, config.epochs, config.seed)
    for output in OUTPUTS:
        with dsb.DataLoader(**configurations.build(config), output=output) as loader:
            got = compare.record(loader, config.epochs, config.seed)
            try:
                compare.same_records(expected, got, output)
            except compare.Mismatch as exc:
                raise compare.Mismatch(f"output={output!r}, {exc}") from exc


def _same_refusal(arguments: dict[str, object], expected: Exception) -> None:
    try:
        dsb.DataLoader(**arguments)  # type: ignore[arg-type]
    except Exception as got:
        if (type(got), str(got)) != (type(expected), str(expected)):
            raise compare.Mismatch(f"constructor: expected {expected!r}, got {got!r}") from got
        return
    raise compare.Mismatch(f"constructor: expected {expected!r}, got a loader")


@pytest.mark.parametrize("first", range(0, COUNT, CHUNK))
def test_same_as_torch(first: int) -> None:
    """Batches, exceptions, lengths and generators are torch's in every configuration of the chunk."""
    failures = [text for number in range(first, first + CHUNK) if (text := check(number))]
    assert not failures, f"{len(failures)} of {CHUNK} differ:\n" + "\n".join(failures)


@pytest.mark.skipif("DSBRIDGE_PARITY" not in os.environ, reason="runs the configuration DSBRIDGE_PARITY alone")
def test_one() -> None:
    """One configuration alone, with the whole traceback."""
    _check(configurations.draw(int(os.environ["DSBRIDGE_PARITY"])))


def test_the_draw_is_a_function_of_its_number() -> None:
    """The same number gives the same configuration, and all that can be drawn is drawn."""
    drawn = [configurations.draw(number) for number in range(COUNT)]
    assert drawn == [configurations.draw(number) for number in range(COUNT)]
    assert {c.sample for c in drawn} == set(samples.MAKERS)
    assert {c.dataset for c in drawn} == set(configurations.DATASETS)
    assert {c.sampler for c in drawn} >= {*configurations.SAMPLERS, *configurations.BATCH_SAMPLERS, "shuffle", None}
    assert {c.collate for c in drawn} == {*configurations.COLLATES, None}
    assert {c.fault for c in drawn} == {*configurations.FAULTS, None}


@pytest.mark.parametrize("name", deviations.TABLE)
def test_every_deviation_is_one(name: str) -> None:
    """torch does what the table says, so that no entry excuses more than it must."""
    dataset = configurations.Mapped(samples.MAKERS[name], 6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        got = compare.record(torch.utils.data.DataLoader(dataset, batch_size=3), epochs=1, seed=0)
    exceptions = {type(event).__name__ for event in got.events if isinstance(event, Exception)}
    if deviations.TABLE[name] == "ends early":
        assert got.events == ["end of epoch"]
    elif deviations.TABLE[name] == "collates":
        assert not exceptions
        assert len(got.events) == 3
    else:
        assert exceptions == {deviations.TABLE[name]}
