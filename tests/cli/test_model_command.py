"""``dsbridge model``: what it writes, and what its exit codes say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dsbridge.cli.main import main
from dsbridge.model.judge import Measured, ParityReport
from dsbridge.model.migrated import MigratedModel

SETUP = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(4, 3)

    def forward(self, x, scale):
        return torch.relu(self.linear(x)) * scale

def inputs():
    return {"x": torch.randn(2, 4), "scale": torch.ones(2, 1)}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module with a net and its inputs, in the current folder."""
    (tmp_path / "net_here.py").write_text(SETUP)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _judged(monkeypatch: pytest.MonkeyPatch, error: float) -> None:
    def verify(self: MigratedModel) -> ParityReport:
        report = ParityReport()
        report.measured.append(Measured("eval, graph, output 0", error, 1e-7))
        if error > 1e-5:
            report.add("outputs-differ", "error", "eval, graph", str(report.measured[0]))
        self.parity = report
        return report

    monkeypatch.setattr(MigratedModel, "verify", verify)


def test_what_is_proven_is_written(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Five files, the figures in PARITY.md, exit code 0."""
    _judged(monkeypatch, 2e-7)
    assert main(["model", "net_here:Net", "--inputs", "net_here:inputs", "--out", "out"]) == 0
    assert sorted(path.name for path in (folder / "out").iterdir()) == [
        "PARITY.md",
        "model.py",
        "name_map.json",
        "verify.py",
        "weights.safetensors",
    ]
    assert "| eval, graph, output 0 | 2e-07 | 1e-07 |" in (folder / "out" / "PARITY.md").read_text()
    assert "def construct(self, x, scale):" in (folder / "out" / "model.py").read_text()
    assert "eval, graph, output 0" in capsys.readouterr().out


def test_what_is_not_equal_is_not_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1, and the figure."""
    _judged(monkeypatch, 0.5)
    assert main(["model", "net_here:Net", "--inputs", "net_here:inputs", "--out", "out", "--json"]) == 1
    assert not (folder / "out").exists()
    data = json.loads(capsys.readouterr().out)
    assert not data["ok"]
    assert data["parity"]["measured"][0]["error"] == 0.5


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_as_a_user_runs_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole proof."""
    assert main(["model", "net_here:Net", "--inputs", "net_here:inputs", "--out", "out"]) == 0
    assert "train, graph, gradients" in capsys.readouterr().out
