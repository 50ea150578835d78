"""The user's own loader: finding it, and the verdict on it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from bench_results import entry, results

from dsbridge.bench import own
from dsbridge.errors import UsageError

MODULE = """
from torch.utils.data import DataLoader
import dsbridge as dsb

def make_loader():
    return DataLoader(list(range(64)), batch_size=4)

def make_ours():
    return dsb.DataLoader(list(range(64)), batch_size=4, output="numpy")

loader = make_loader()
number = 3

def make_list():
    return [1]
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """A module of that text, which can be imported; gone afterwards."""
    (tmp_path / "my_training.py").write_text(MODULE)
    (tmp_path / "my_broken.py").write_text("import no_such_package_at_all\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "my_training"
    for name in ("my_training", "my_broken"):
        sys.modules.pop(name, None)


def test_functions_and_loaders_are_found(module: str) -> None:
    """A function that gives a torch loader, the loader itself, and a dsbridge loader."""
    for name in ("make_loader", "loader"):
        torch_loader, ours = own.load(f"{module}:{name}")
        assert (torch_loader.batch_size, ours) == (4, None)
    torch_loader, ours = own.load(f"{module}:make_ours")
    assert torch_loader.batch_size == ours.batch_size == 4


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("my_training", "is not module:name"),
        (":make_loader", "is not module:name"),
        ("no_such_training:make_loader", "no module 'no_such_training'"),
        ("my_training.deeper:make_loader", "no module 'my_training.deeper'"),
        ("my_training:make_loadre", "did you mean make_loader"),
        ("my_training:xyz", "did you mean loader or make_list or make_loader or make_ours"),
        ("my_training:make_list", "gives a list"),
        ("my_training:number", "gives a int"),
    ],
)
def test_names_that_do_not_exist(module: str, spec: str, message: str) -> None:
    """UsageErrors that say what there is."""
    with pytest.raises(UsageError, match=message):
        own.load(spec)


def test_a_module_that_is_broken_is_not_a_missing_one(module: str) -> None:
    """What the user's module fails to import is the user's error."""
    with pytest.raises(ModuleNotFoundError, match="no_such_package_at_all"):
        own.load("my_broken:make_loader")


@pytest.mark.parametrize(
    ("rates", "text"),
    [
        ({"dsbridge": 34, "torch": 10, "in-process": 18}, "3.4x torch on this loader (34.0 against 10.0"),
        ({"dsbridge": 34, "torch": 10, "in-process": 18}, "The dataset itself bounds dsbridge"),
        ({"dsbridge": 34, "torch": 32, "in-process": 18}, "bounds both: one process makes 18.0 batches/s, so 2 can make 36.0"),
        ({"dsbridge": 20, "torch": 10, "in-process": 18}, "dsbridge reaches 56 % of that, torch 28 %"),
        ({"dsbridge": 15, "torch": 10, "in-process": 18}, "num_workers=0 is faster"),
        ({"dsbridge": 20, "torch": 10}, "dsbridge is 2.0x torch on this loader"),
        ({"torch": 10}, "no verdict without figures of dsbridge"),
    ],
)
def test_verdicts(rates: dict[str, float], text: str) -> None:
    """What bounds the loaders follows from the rate of one process and the number of workers."""
    measured = results(*(entry(name, rate) for name, rate in rates.items()), workload="my_training:make_loader")
    assert text in own.judged(measured, cores=2).workloads[0].summary(2)
