"""Scripts that cannot be migrated whole: the finding, its line, files that stop there, exit code 1."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from helpers import lint

import dsbridge as dsb

CANNOT = Path(__file__).parent / "scripts" / "cannot"

# script -> findings of which one must be there
EXPECTED: dict[str, set[str]] = {
    "amp_bfloat16": {"mixed-precision"},
    "autograd_function": {"model-unsupported"},
    "control_flow": {"model-unsupported"},
    "distributed": {"distributed"},
    "ema_by_hand": {"weights-read"},
    "gan": {"two-optimizers"},
    "gradient_noise": {"gradients-changed"},
    "gradient_penalty": {"second-gradient"},
    "lbfgs": {"closure"},
    "library_op": {"not-picklable"},
    "own_optimizer": {"optimizer-unsupported"},
    "projected_weights": {"weights-written"},
    "rates_by_loss": {"rates-unexplained"},
    "skipped_steps": {"decides-by-value", "steps-skipped"},
    "stateful_lm": {"state-carried"},
    "unfreezing": {"optimizer-changed"},
}


def test_every_script_is_expected_to_fail_for_a_reason() -> None:
    assert sorted(EXPECTED) == sorted(path.stem for path in CANNOT.glob("*.py"))


def line_of(path: Path) -> int:
    """The line that says that it is the one."""
    return next(number for number, line in enumerate(path.read_text().splitlines(), 1) if "# here" in line)


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPECTED)
def test_what_cannot_be_moved_is_said_and_stops_the_files(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = CANNOT / f"{name}.py"
    plan = dsb.migrate.plan(dsb.migrate.capture(path, steps=24))
    errors = [one for one in plan.report if one.severity == "error"]
    assert {one.code for one in errors} & EXPECTED[name], str(plan.report)
    if name != "library_op":  # a registered operation keeps the script's objects from being pickled
        assert any(one.where.endswith(f"{name}.py:{line_of(path)}") for one in errors), str(plan.report)
    assert not plan.verify().ok
    plan.write(tmp_path / "out")
    text = "".join((tmp_path / "out" / file).read_text() for file in ("train.py", "model.py", "data.py"))
    assert "raise NotImplementedError(" in text
    done = subprocess.run([sys.executable, "train.py"], cwd=tmp_path / "out", capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and "NotImplementedError" in done.stderr, done.stderr[-2000:]
    lint(tmp_path / "out")


@pytest.mark.slow
def test_the_command_says_so_with_its_exit_code(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dsbridge", "migrate", str(CANNOT / "gan.py"), "--steps", "6", "-o", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, cwd=tmp_path)
    assert done.returncode == 1 and "two-optimizers" in done.stdout, done.stdout + done.stderr
    assert (tmp_path / "out" / "PARITY.md").read_text().count("two-optimizers")
