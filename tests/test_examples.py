"""The examples run as a user runs them, and show what they promise."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name: str, timeout_s: float = 280) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name)], capture_output=True, text=True, timeout=timeout_s, env={**os.environ}
    )
    assert done.returncode == 0, done.stderr
    return done


def test_01_trains_to_97_percent() -> None:
    """The last line reads as promised, the accuracy is real, and stderr is quiet."""
    done = run("01_wrap_dataset.py")
    last = done.stdout.splitlines()[-1]
    match = re.fullmatch(r"test accuracy (0\.\d{4}|1\.0000) \(450 samples, \d+\.\d s\)", last)
    assert match, last
    assert float(match[1]) >= 0.97
    assert "Warning" not in done.stderr


def test_02_nested_samples() -> None:
    """Nested dicts, text and padding, and an error that names the samples."""
    out = run("02_dict_samples.py").stdout
    assert "target.name   str      4" in out
    assert "samples 0 and 1 of the batch differ in shape" in out


@pytest.mark.slow
def test_03_every_sample_once() -> None:
    """Two ranks, two epochs, both ways: each sample exactly once."""
    out = run("03_data_parallel.py").stdout
    assert out.count("each exactly once: True") == 4
    assert "both ways give the same order: True" in out
    assert "a new order every epoch: True" in out


@pytest.mark.slow
def test_04_no_difference_from_torchvision() -> None:
    """Both recipes, measured."""
    out = run("04_imagenet_pipeline.py").stdout
    assert out.count("measured difference from torchvision: 0.0") == 2
    assert out.count("batch (8, 3, 224, 224) Float32") == 6


def test_05_there_and_back() -> None:
    """All tensors equal, and nothing to report in between."""
    out = run("05_convert_checkpoint.py").stdout
    assert "audit: nothing to report" in out and "back in torch: 28 of 28 tensors equal bit for bit" in out


@pytest.mark.slow
def test_06_the_loss_goes_on() -> None:
    """Within 1e-5 of uninterrupted torch, and both sides' next learning rates are printed."""
    out = run("06_resume_training.py").stdout
    assert "experimental.AdamW: exact, step 100" in out and out.count("next learning rates") == 2
    match = re.search(r"at most (\S+) from uninterrupted torch", out)
    assert match and float(match[1]) < 1e-5


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_07_source_weights_and_proof() -> None:
    """Both models' sources, live cells, and eight runs of each without a finding."""
    out = run("07_convert_model.py", timeout_s=390).stdout
    assert "class ResNet(nn.Cell):" in out and "class Classifier(nn.Cell):" in out
    assert out.count("train, graph, gradients: ") == 2 and out.count("verify: nothing to report") == 2


def test_examples_stay_short() -> None:
    """Each under 80 lines."""
    assert all(len(path.read_text().splitlines()) < 80 for path in EXAMPLES.glob("*.py"))
