"""``dsbridge bench``: options, outputs, exit codes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from dsbridge.bench.contenders import CONTENDERS
from dsbridge.bench.results import Results
from dsbridge.bench.workloads import WORKLOADS
from dsbridge.cli import bench
from dsbridge.cli.main import main

sys.path.insert(0, str(Path(__file__).parent.parent / "bench"))
from bench_results import entry, results

GOOD = results(entry("dsbridge", 100, peak_pss_bytes=1), entry("torch", 10, first_s=0.02, peak_pss_bytes=2))
POOR = results(entry("dsbridge", 20, peak_pss_bytes=1), entry("torch", 10, first_s=0.02, peak_pss_bytes=2))


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Make ``dsbridge bench`` find these results instead of measuring."""
    return lambda found: monkeypatch.setattr(bench, "measure", lambda plan: found)


def test_list_names_everything(capsys: pytest.CaptureFixture[str]) -> None:
    """Every workload, every contender, every target, on stdout."""
    assert main(["bench", "--list"]) == 0
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in (*WORKLOADS, *CONTENDERS))
    assert "u8: dsbridge rate / grain >= 8" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workload", "f23"], "no workload 'f23'. Hint: one of f32, u8"),
        (["--contender", "troch"], "no contender 'troch'. Hint: one of dsbridge, to_mindspore, torch"),
        (["train"], "'train' is not module:name"),
        (["train:make", "--workload", "f32"], "--workload does not go with your own loader"),
        (["train:make", "--check"], "--check does not go with your own loader"),
        (["--json", "/no/such/folder/x.json"], "cannot write /no/such/folder/x.json"),
        (["--plot", "bench.txt"], "the ending must be one of .png"),
    ],
)
def test_usage_errors_end_with_2(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is measured; the message is on stderr."""
    assert main(["bench", *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


def test_check_ends_with_1_if_a_target_is_missed(measured, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    """Met: 0. Missed: 1, and without --check 0 again."""
    measured(GOOD)
    assert main(["bench", "--check"]) == 0
    assert "0 missed" in capsys.readouterr().out
    measured(POOR)
    assert main(["bench", "--check"]) == 1
    assert "MISSED  f32: dsbridge rate / torch >= 6 (2)" in capsys.readouterr().out
    assert main(["bench"]) == 0


def test_a_failed_contender_is_a_finding(measured, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    """Exit code 1; one that was not run is none."""
    measured(results(entry("dsbridge", 100, status="failed", reason="boom")))
    assert main(["bench"]) == 1
    assert "dsbridge failed: boom" in capsys.readouterr().out
    measured(results(entry("dsbridge", 100), entry("grain", status="not run", reason="not installed")))
    assert main(["bench"]) == 0


def test_outputs(measured, warm_matplotlib, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    """JSON to stdout or a file, a page, a picture."""
    measured(GOOD)
    assert main(["bench", "--json", "--check"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert Results.from_dict(data) == GOOD
    assert data["targets"][0]["met"] is True
    files = [tmp_path / name for name in ("bench.json", "bench.html", "bench.svg")]
    assert main(["bench", "--json", str(files[0]), "--html", str(files[1]), "--plot", str(files[2])]) == 0
    assert Results.from_dict(json.loads(files[0].read_text())) == GOOD
    assert files[1].read_text().startswith("<!DOCTYPE html>")
    assert "<svg" in files[2].read_text()
    assert "dsbridge is 10.0x torch" in capsys.readouterr().out


def test_own_loader_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """module:make_loader in the current folder: torch and dsbridge run the same batches, and there is a verdict."""
    text = (
        "from torch.utils.data import DataLoader\ndef make_loader():\n    return DataLoader(list(range(400)), batch_size=4)\n"
    )
    (tmp_path / "my_train.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    assert main(["bench", "my_train:make_loader", "--rounds", "1", "--batches", "9", "--json"]) == 0
    captured = capsys.readouterr()
    (workload,) = json.loads(captured.out)["workloads"]
    assert workload["batch_size"] == 4
    assert [[run["batches"] for run in e["runs"]] for e in workload["entries"]] == [[9], [9], [9]]
    assert "x torch on this loader" in workload["verdict"]
    assert "my_train:make_loader: round 1 of 1" in captured.err


@pytest.mark.parametrize(("spec", "message"), [("my_train:nothing", "my_train has no 'nothing'"), ("no_train:x", "no module")])
def test_own_loader_that_is_not_there(
    spec: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, found in the first contender's process."""
    (tmp_path / "my_train.py").write_text("def make_loader():\n    return 3\n")
    monkeypatch.chdir(tmp_path)
    assert main(["bench", spec]) == 2
    assert message in capsys.readouterr().err
