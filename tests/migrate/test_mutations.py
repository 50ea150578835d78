"""A training that was changed after it was written is not verified, and the stage that differs is named."""

from __future__ import annotations

import pickle
import pkgutil
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

import dsbridge as dsb


class Noisy(Dataset[tuple[torch.Tensor, int]]):
    """Rows with a transform."""

    def __init__(self, scale: float = 1.0) -> None:
        made = torch.Generator().manual_seed(0)
        self.rows, self.labels = torch.randn(96, 6, generator=made), torch.randint(0, 3, (96,), generator=made)
        self.scale = scale

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.rows[index] * self.scale, int(self.labels[index])


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[dsb.migrate.SetupPlan, Path]:
    """A plan of live objects with everything that can be changed, verified, and its folder."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9, nesterov=True, weight_decay=0.02)
    setup = dsb.migrate.TrainingSetup(
        model=model, loss=nn.CrossEntropyLoss(), optimizer=optimizer, scheduler_every="step", clip_grad_norm=0.5,
        scheduler=torch.optim.lr_scheduler.StepLR(optimizer, 4, 0.5), loader=DataLoader(Noisy(), batch_size=16, shuffle=True),
    )  # fmt: skip
    plan = dsb.migrate.plan(setup, steps=10)
    report = plan.verify(10)
    assert report.ok, str(report)
    folder = tmp_path_factory.mktemp("written")
    plan.write(folder)
    return plan, folder


@pytest.mark.timeout(400)
def test_a_plan_is_verified_in_both_modes(written: tuple[dsb.migrate.SetupPlan, Path]) -> None:
    """Every stage of both modes was measured, and the page says so."""
    plan, folder = written
    assert plan.parity is not None and plan.parity.ok and plan.parity.stage == ""
    measured = {one.what for one in plan.parity.measured}
    for mode in ("PyNative", "graph"):
        assert {f"{mode}, step 1 alone, gradient", f"{mode}, final weights, resumed halfway"} <= measured
    assert "| graph, final weights |" in (folder / "PARITY.md").read_text()


def source(before: str, after: str) -> Callable[[Path], None]:
    """Change train.py."""

    def change(folder: Path) -> None:
        text = (folder / "train.py").read_text()
        assert text.count(before) == 1, text
        (folder / "train.py").write_text(text.replace(before, after))

    return change


def other_transform(folder: Path) -> None:
    loader = pickle.loads((folder / "loader.pkl").read_bytes())
    loader.dataset.scale = 1.01
    (folder / "loader.pkl").write_bytes(pickle.dumps(loader))


def other_seed(folder: Path) -> None:
    states = pickle.loads((folder / "generators.pkl").read_bytes())
    states["torch"] = torch.Generator().manual_seed(1).get_state()
    (folder / "generators.pkl").write_bytes(pickle.dumps(states))


def other_model(folder: Path) -> None:
    text = (folder / "model.py").read_text()
    (folder / "model.py").write_text(text.replace("nn.ReLU()", "nn.LeakyReLU(0.1)"))


CHANGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "weight decay dropped": (source("weight_decay=0.02", "weight_decay=0.0"), "optimizer"),
    "clipping dropped": (source("        gradients = clip_by_norm(gradients, CLIP_NORM)\n", ""), "clipping"),
    "another limit": (source("CLIP_NORM = 0.5", "CLIP_NORM = 0.6"), "clipping"),
    "nesterov off": (source("nesterov=True", "nesterov=False"), "optimizer"),
    "schedule shifted by a step": (source("step_size=4", "step_size=5"), "schedule"),
    "schedule once more": (
        source("        scheduler.step()\n", "        scheduler.step()\n        scheduler.step()\n"),
        "schedule",
    ),
    "momentum lost between two steps, which are right": (
        source(
            "        scheduler.step()\n",
            "        scheduler.step()\n"
            "        if getattr(scheduler, 'last_epoch', 0) == 7:\n"
            "            for one in scheduler.rates.optimizer.accum:\n"
            "                ops.assign(one, ops.zeros_like(one))\n",
        ),
        "optimizer",
    ),
    "a transform changed": (other_transform, "data"),
    "shuffle seed changed": (other_seed, "data"),
    "an activation changed": (other_model, "forward"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_noticed_and_its_stage_named(
    name: str, written: tuple[dsb.migrate.SetupPlan, Path], tmp_path: Path
) -> None:
    plan, folder = written
    change, stage = CHANGES[name]
    mutated = tmp_path / "mutated"
    shutil.copytree(folder, mutated)
    change(mutated)
    report = plan.verify_folder(mutated, 10)
    assert not report.ok
    assert report.stage == stage, str(report)


def test_a_plan_of_live_objects_reads_like_one_by_hand(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The text of the files, without running them; the live objects are left as they were."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    before = [p.clone() for p in model.parameters()]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    loader = DataLoader(torch.utils.data.TensorDataset(torch.randn(20, 6), torch.randint(0, 3, (20,))), batch_size=4)
    state = torch.get_rng_state()
    setup = dsb.migrate.TrainingSetup(model=model, loss=nn.CrossEntropyLoss(), optimizer=optimizer, loader=loader, accumulate=2)
    plan = dsb.migrate.plan(setup, steps=4)
    assert plan.ok, str(plan)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)) and not optimizer.state
    assert setup.pattern.epochs == [5, 4] and [len(step.micros) for step in setup.recorded().steps] == [2, 2, 3, 2]
    train = plan.files["train.py"]
    for name, text in plan.files.items():
        compile(text, name, "exec")
        assert max(map(len, text.splitlines())) <= 128, name
    assert "ACCUMULATE = 2" in train and "ms.value_and_grad(network, None, optimizer.parameters)" in train
    assert "import torch" not in train and "import torch" not in plan.files["model.py"]
    plan.write(tmp_path)
    assert np.load(tmp_path / "arrays.npz")["column0"].shape == (20, 6)
    assert "Not measured" in (tmp_path / "PARITY.md").read_text()


def test_no_module_hides_a_public_name() -> None:
    """Importing a module of the package puts it on the package under its name: no public name may be one."""
    modules = {module.name for module in pkgutil.iter_modules(dsb.migrate.__path__)}
    assert not modules & set(dsb.migrate.__all__)


def test_bad_setups_say_so() -> None:
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="accumulate must be at least 1"):
        dsb.migrate.TrainingSetup(model=model, loss=None, optimizer=optimizer, loader=[], accumulate=0)
    with pytest.raises(ValueError, match="scheduler_every must be"):
        dsb.migrate.TrainingSetup(model=model, loss=None, optimizer=optimizer, loader=[], scheduler_every="batch")
    setup = dsb.migrate.TrainingSetup(model=model, loss=nn.MSELoss(), optimizer=optimizer, loader=[(1, 2)])
    with pytest.raises(dsb.MigrationError, match="must be a torch DataLoader, got list"):
        dsb.migrate.plan(setup)
    with pytest.raises(dsb.MigrationError, match="plan writes the network itself"):
        dsb.migrate.plan(setup, network=model)
