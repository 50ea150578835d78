"""Round trips that fail, workers left behind, start methods."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dsbridge.environment import arrays, processes
from dsbridge.environment.arrays import Trial
from dsbridge.environment.child import Answer
from dsbridge.environment.doctor import Named, doctor, examine

ROOT = Path(__file__).parent.parent.parent
LEAVES_A_WORKER = """
import os, signal, sys, torch, dsbridge as dsb
loader = dsb.DataLoader(torch.arange(64.), batch_size=4, num_workers=1, persistent_workers=True)
for batch in loader: pass
import psutil
(worker,) = [child for child in psutil.Process().children() if child.name() == f"dsb:{os.getpid()}"]
worker.suspend()
print(worker.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_stopped_worker_whose_trainer_is_gone_is_found() -> None:
    """One that can run ends by itself; one that is stopped cannot."""
    with subprocess.Popen([sys.executable, "-c", LEAVES_A_WORKER], stdout=subprocess.PIPE, text=True, cwd=ROOT) as trainer:
        assert trainer.stdout is not None
        pid = int(trainer.stdout.readline())
        assert trainer.wait(timeout=30) == -signal.SIGKILL
    try:
        diagnosis = examine([Named("it", processes.check_orphans)])
        assert "orphans" in diagnosis and str(pid) in diagnosis.findings[0].hint
    finally:
        os.kill(pid, signal.SIGCONT)  # it sees that the trainer is gone
    assert str(pid) not in str(examine([Named("it", processes.check_orphans)]))


def test_a_number_that_another_process_has_got(tmp_path: Path) -> None:
    """The trainer's pid lives again, but began later than the worker."""
    for pid, name, began, state in (
        ("7", "dsb:9", 50, "S"),
        ("9", "bash", 60, "S"),
        ("8", "dsb:10", 50, "S"),
        ("10", "python", 40, "S"),
    ):
        (tmp_path / pid).mkdir()
        (tmp_path / pid / "comm").write_text(f"{name}\n")
        (tmp_path / pid / "stat").write_text(f"{pid} ({name}) {state} " + "0 " * 18 + f"{began} 0 0\n")
    assert sorted(processes._orphans(tmp_path)) == [7]


def test_a_round_trip_that_cannot_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What stands in its way is said."""
    (tmp_path / "torch.py").write_text("raise ImportError('broken')")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    diagnosis = examine([Named("it", lambda: processes.check_round_trip(1))])
    assert "error round-trip" in str(diagnosis) and "broken" in str(diagnosis)


def test_a_round_trip_that_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a machine that is overloaded: a warning, with the seconds."""
    slow = Answer({"seconds": 11.0, "equal": True})
    monkeypatch.setattr(processes, "ask", lambda *_, **__: slow)
    diagnosis = examine([Named("it", lambda: processes.check_round_trip(2))])
    assert "warning slow-round-trip" in str(diagnosis) and "11 s" in str(diagnosis)


def test_a_start_method_other_than_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    """Information, not a fault."""
    monkeypatch.setattr("multiprocessing.get_start_method", lambda allow_none: "spawn")
    diagnosis = examine([Named("it", processes.check_start_method)])
    assert "start-method" in diagnosis and diagnosis.healthy


def test_trials_that_fail_and_that_kill() -> None:
    """Each is named, and what follows the one that killed the child is not blamed."""
    trials = (
        Trial("fine", "1 + 1", ""),
        Trial("fails", "int('x')", "use digits"),
        Trial("dies", "__import__('os')._exit(9)", ""),
        Trial("never", "1", ""),
    )
    diagnosis = examine([Named("it", lambda: arrays.check_mindspore_with_numpy(trials))])
    assert [finding.code for finding in diagnosis] == ["numpy-fails", "numpy-dies"]
    assert "ValueError: invalid literal" in str(diagnosis) and "use digits" in str(diagnosis)


def test_a_check_that_fails_in_itself() -> None:
    """Is a finding; the others go on."""

    def broken() -> object:
        raise KeyError("x")

    diagnosis = examine([Named("broken", broken), Named("start method", processes.check_start_method)])  # type: ignore[arg-type]
    assert "check-failed" in diagnosis and len(diagnosis.facts) == 1


def test_this_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    """np1 is healthy but for torchvision's CUDA wheel; on np2 exactly what is broken there is found.

    A slow round trip says how busy the machine is while tests run, nothing of the lane.
    """
    seen: list[str] = []
    diagnosis = doctor(progress=lambda name, done, total: seen.append(name))
    codes = {finding.code for finding in diagnosis if finding.severity != "info"}
    broken = {"numpy-first-operation", "numpy-bfloat16", "numpy-dataset-of-scalars"} if np.__version__ >= "2" else set()
    assert codes - {"torchvision-cuda", "slow-round-trip"} == broken, str(diagnosis)
    assert len(seen) == len(set(seen)) and diagnosis.facts[-1].value.endswith("values equal")
