"""Averages of weights: which kinds are known, that they are kept as torch keeps them, and that others are noticed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from test_pattern import codes, recorded
from torch.optim.swa_utils import AveragedModel, get_ema_avg_fn, get_ema_multi_avg_fn, get_swa_avg_fn, get_swa_multi_avg_fn

import dsbridge as dsb
from dsbridge.errors import Unsupported
from dsbridge.migrate.averages import averages_source, decay_of
from dsbridge.migrate.pattern import pattern


def averaged(**options: Any) -> AveragedModel:
    return AveragedModel(torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2)), **options)


@pytest.mark.parametrize(
    ("options", "decay"),
    [
        ({}, None),
        ({"avg_fn": get_swa_avg_fn()}, None),
        ({"multi_avg_fn": get_swa_multi_avg_fn()}, None),
        ({"avg_fn": get_ema_avg_fn(0.999)}, 0.999),
        ({"multi_avg_fn": get_ema_multi_avg_fn(0.9)}, 0.9),
        ({"avg_fn": lambda mean, weight, count: 0.1 * mean + 0.9 * weight}, 0.1),
    ],
)
def test_known_kinds(options: dict[str, Any], decay: float | None) -> None:
    assert decay_of(averaged(**options)) == decay


@pytest.mark.parametrize(
    "function",
    [
        lambda mean, weight, count: mean + (weight - mean) * max(0.01, 1 / (1 + int(count))),
        lambda mean, weight, count: 0.5 * mean + 0.4 * weight,
        lambda mean, weight, count: (mean * weight).abs().sqrt(),
        lambda mean, weight, count: mean + missing,  # type: ignore[name-defined]  # noqa: F821
    ],
    ids=["warm-up", "no mean", "geometric", "fails"],
)
def test_others_are_refused(function: Any) -> None:
    with pytest.raises(Unsupported, match="avg_fn"):
        averages_source(averaged(avg_fn=function))


def test_statistics_are_averaged_where_they_are_said_to_be() -> None:
    """By a rule, or by name."""
    made = averages_source(averaged(use_buffers=True), {"1.moving_mean": 1, "1.moving_variance": 1}, {"0.weight": 2})
    assert made.lines[-1] == "    average = keep_averages(optimizer, statistics=statistics)"
    assert "p.name.endswith(" in made.lines[0] or "p.ndim < 2" in made.lines[0], made.lines
    names = {f"{number}.mean": 1 for number in range(0, 10, 2)}, {f"{number}.mean": 1 for number in range(1, 11, 2)}
    assert "    averaged = {" in averages_source(averaged(use_buffers=True), *names).lines


KEPT: list[tuple[int, str, tuple[str, int]]] = [(7, "net", ("train.py", 5))]


def test_they_are_taken_after_each_step() -> None:
    """The script is stopped before the last one."""
    for events in ("ebloabloa", "ebloablo"):
        found = pattern(recorded(events, averages=KEPT))
        assert found.averages and not found.said


@pytest.mark.parametrize("events", ["ebloblo", "ebloblobloa", "eblaoblaoblao", "ebloaabloa", "ebloblobloanebloa"])
def test_other_ways_are_said(events: str) -> None:
    found = pattern(recorded(events, averages=KEPT))
    assert codes(found) == ["averages-left-out"] and not found.averages
    assert found.said[0][1] == ("train.py", 5)


def test_a_second_one_and_one_of_another_module_are_said() -> None:
    assert codes(pattern(recorded("ebloabloa", averages=[*KEPT, (8, "net", ("train.py", 6))]))) == ["averages-left-out"]
    assert codes(pattern(recorded("ebloabloa", averages=[(7, "", ("train.py", 5))]))) == ["averages-left-out"]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[dsb.migrate.SetupPlan, Path]:
    """A plan with averages that have begun, verified."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.BatchNorm1d(8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
    kept = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    x = torch.randn(64, 6)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, x.sum(1).long() % 3), batch_size=8, shuffle=True)
    for _, (inputs, labels) in zip(range(3), loader, strict=False):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(inputs), labels).backward()
        optimizer.step()
        kept.update_parameters(net)
    setup = dsb.migrate.TrainingSetup(
        model=net, loss=torch.nn.CrossEntropyLoss(), optimizer=optimizer, loader=loader, averages=kept
    )
    plan = dsb.migrate.plan(setup, steps=10)
    report = plan.verify(10)
    assert report.ok, str(report)
    folder = tmp_path_factory.mktemp("averages")
    plan.write(folder)
    return plan, folder


@pytest.mark.timeout(400)
def test_averages_are_verified_in_both_modes(written: tuple[dsb.migrate.SetupPlan, Path]) -> None:
    plan, folder = written
    assert plan.parity is not None
    measured = {one.what for one in plan.parity.measured}
    for mode in ("PyNative", "graph"):
        assert {f"{mode}, final averages", f"{mode}, step 10 alone, averages, optimizer"} <= measured
    text = (folder / "train.py").read_text()
    assert (
        "average = keep_averages(optimizer, decay=0.9, statistics=statistics)" in text
        and text.count("        average()\n") == 1
    )


CHANGES: dict[str, Callable[[str], str]] = {
    "another decay": lambda text: text.replace("decay=0.9,", "decay=0.91,"),
    "statistics left out": lambda text: text.replace(", statistics=statistics)", ")"),
    "not taken": lambda text: text.replace("        average()\n", ""),
    "taken before the step": lambda text: text.replace("        average()\n", "").replace(
        "        optimizer(gradients)\n", "        average()\n        optimizer(gradients)\n"
    ),
    "not gone on with": lambda text: text.replace("    load_optimizer(", "    print("),
}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_noticed(name: str, written: tuple[dsb.migrate.SetupPlan, Path]) -> None:
    plan, folder = written
    before = (folder / "train.py").read_text()
    after = CHANGES[name](before)
    assert after != before
    try:
        (folder / "train.py").write_text(after)
        report = plan.verify_folder(folder, 10)
    finally:
        (folder / "train.py").write_text(before)
    assert report.stage == "optimizer", str(report)
