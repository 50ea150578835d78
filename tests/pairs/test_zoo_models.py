"""timm's and transformers' models as MindSpore source, proven: forward, every gradient, both modes. ``make test-pairs``."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

import dsbridge as dsb

sys.path.insert(0, str(Path(__file__).parent.parent / "model"))
import small_models


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", small_models.ZOOS)
def test_zoo_models(name: str) -> None:
    """Each is verified, tied weights included."""
    torch.manual_seed(0)
    make, inputs = small_models.ZOOS[name]
    migrated = dsb.model.convert(make(), inputs)
    report = migrated.verify()
    assert migrated.ok and report.ok, str(report)
    assert len(report.measured) >= 8
