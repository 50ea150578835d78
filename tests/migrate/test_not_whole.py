"""Live setups that cannot be moved whole: what is missing is said with its place, and only that stops the files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import dsbridge as dsb
from dsbridge.errors import MigrationError
from dsbridge.migrate.setup_plan import verify_written


class TwoFaced(torch.nn.Linear):
    """In eval mode it cannot run."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            raise RuntimeError("needs targets")
        return super().forward(x)


def setup_of(net: torch.nn.Module, dtype: torch.dtype = torch.float32, **more: Any) -> dsb.migrate.TrainingSetup:
    """A small regression."""
    torch.manual_seed(0)
    x = torch.randn(32, 4, dtype=dtype)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, x.sum(1, keepdim=True)), batch_size=8)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    return dsb.migrate.TrainingSetup(
        **{"model": net, "loss": torch.nn.MSELoss(), "optimizer": optimizer, "loader": loader} | more
    )


def test_parameters_in_float64_are_refused(tmp_path: Path) -> None:
    """model.py and train.py stop, data.py is whole; nothing is replayed, and the folder says the same again."""
    plan = dsb.migrate.plan(setup_of(torch.nn.Linear(4, 1).double(), torch.float64), steps=2)
    (error,) = [one for one in plan.report if one.severity == "error"]
    assert error.code == "model-unsupported" and "2 parameters are float64" in error.message
    assert "raise NotImplementedError(" in plan.files["model.py"]
    assert "raise NotImplementedError(" not in plan.files["data.py"]
    report = plan.verify()
    assert "not-run" in report and not plan.ok and not plan.to_dict()["ok"]
    assert "not-run" in str(plan)
    plan.write(tmp_path)
    assert "float64" in (tmp_path / "PARITY.md").read_text()
    assert "not-run" in verify_written(tmp_path)
    with pytest.raises(MigrationError, match="no model to compare"):
        plan.verify_folder(tmp_path)


def test_a_folder_that_was_not_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MigrationError, match=r"holds no .*written by plan\.write"):
        verify_written(tmp_path)


def test_a_model_that_runs_in_train_mode_only_is_moved_for_training() -> None:
    plan = dsb.migrate.plan(setup_of(TwoFaced(4, 1)), steps=2)
    (warning,) = [one for one in plan.report if one.severity == "warning"]
    assert warning.code == "trains-only" and "RuntimeError: needs targets" in warning.message
    assert plan.report.ok and "class TrainStep" in plan.files["model.py"]


def test_batches_that_no_loader_gives_are_refused() -> None:
    with pytest.raises(MigrationError, match="loader must be a torch DataLoader, got list"):
        dsb.migrate.plan(setup_of(torch.nn.Linear(4, 1), loader=[1]))
