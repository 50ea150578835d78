"""Which loader is which: one that is made anew for each epoch is the same one, or another, which is said."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

import dsbridge as dsb
from dsbridge.migrate.generators import restore

SCRIPT = """
import torch
from torch.utils.data import DataLoader, Dataset, SubsetRandomSampler
from tqdm.auto import tqdm


class Rows(Dataset):
    def __init__(self, scale=1.0):
        self.rows = scale * torch.arange(24.0).reshape(12, 2)
        self.names = {index: str(index) for index in range(12)}

    def __len__(self):
        return 12

    def __getitem__(self, index):
        return self.rows[index]


def stacked(rows):
    return torch.stack(rows)


def train(batch):
    optimizer.zero_grad()
    loss = model(batch).square().mean()
    loss.backward()
    optimizer.step()


torch.manual_seed(0)
model, rows = torch.nn.Linear(2, 1), Rows()
optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
world = torch.Generator().manual_seed(4)
for epoch in range(4):
    loader = {loader}
    for batch in {batches}:
        train(batch)
    schedule.step()
"""
SAME = {
    "the same rows": "DataLoader(rows, 4, shuffle=True)",
    "rows that are made anew": "DataLoader(Rows(), 4, shuffle=True)",
    "a function that is made anew": "DataLoader(Rows(), 4, collate_fn=lambda rows: torch.stack(rows))",
    "one generator": "DataLoader(rows, 4, shuffle=True, generator=world)",
    "a sampler": "DataLoader(rows, batch_size=4, sampler=SubsetRandomSampler(range(8)))",
}
OTHER = {
    "other rows": "DataLoader(Rows(1.0 + epoch), 4)",
    "other sizes": "DataLoader(rows, 4 if epoch else 3)",
    "another order": "DataLoader(rows, 4, sampler=SubsetRandomSampler(range(epoch, 8 + epoch)))",
    "a generator for each": "DataLoader(rows, 4, shuffle=True, generator=torch.Generator().manual_seed(0))",
    "another function": "DataLoader(rows, 4, collate_fn=(lambda rows: torch.stack(rows)) if epoch else stacked)",
    "another number in it": "DataLoader(rows, 4, collate_fn=lambda rows, *, more=epoch: torch.stack(rows) + more)",
}


def captured(loader: str, tmp_path: Path, batches: str = "loader") -> dsb.migrate.TrainingSetup:
    path = tmp_path / "train.py"
    path.write_text(SCRIPT.replace("{loader}", loader).replace("{batches}", batches))
    return dsb.migrate.capture(path, steps=7)


@pytest.mark.parametrize("name", SAME)
def test_it_is_the_same_loader(name: str, tmp_path: Path) -> None:
    setup = captured(SAME[name], tmp_path)
    assert setup.report.ok, str(setup.report)
    assert setup.pattern.epochs[0] in (2, 3) and sum(setup.pattern.epochs) == 7
    assert setup.scheduler_every == "epoch"
    loaders = {epoch.loader for epoch in setup.recorded().epochs}
    assert loaders == {setup.recorded().training_loader}


@pytest.mark.parametrize("name", OTHER)
def test_another_loader_is_said(name: str, tmp_path: Path) -> None:
    setup = captured(OTHER[name], tmp_path)
    said = [one for one in setup.report if one.code == "loader-changes"]
    line = (tmp_path / "train.py").read_text().splitlines().index("    for batch in loader:") + 1
    assert [(one.severity, one.where) for one in said] == [("error", f"{tmp_path / 'train.py'}:{line}")], str(setup.report)
    assert "raise NotImplementedError(" in dsb.migrate.plan(setup).files["data.py"]


def test_an_iterator_that_is_left_is_no_epoch(tmp_path: Path) -> None:
    """tqdm.auto makes one before the loop does: the order is drawn by the second one."""
    setup = captured("DataLoader(rows, 4, shuffle=True)", tmp_path, "tqdm(loader, disable=True)")
    recording = setup.recorded()
    assert setup.report.ok and [epoch.step for epoch in recording.epochs] == [0, 3, 6], str(setup.report)
    loader = pickle.loads(recording.loader)
    for epoch in recording.epochs:
        restore(loader, epoch.generators)
        assert torch.equal(next(iter(loader)), recording.steps[epoch.step].micros[0].inputs[0])
