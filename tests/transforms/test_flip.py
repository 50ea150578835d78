"""Flips: bit-equal to torchvision's, boxes and masks too; their coin is fair."""

from __future__ import annotations

import numpy as np
import pytest
from harness import check_equal, draws_of
from scipy import stats
from torchvision_shim import v1, v2

from dsbridge.transforms.ops.flip import RandomHorizontalFlip, RandomVerticalFlip
from dsbridge.transforms.ops.values import Frame


@pytest.mark.parametrize("library", [v1, v2], ids=["v1", "v2"])
@pytest.mark.parametrize("name", ["RandomHorizontalFlip", "RandomVerticalFlip"])
def test_equal(library, name: str) -> None:
    check_equal(lambda: getattr(library, name)(p=0.6), ("pil", "uint8", "float"))


@pytest.mark.parametrize("op", [RandomHorizontalFlip(0.3), RandomVerticalFlip(0.3)])
def test_law(op) -> None:
    """Acts with probability p."""
    acted = sum(params is not None for params in draws_of(op, Frame(5, 5, 3)))
    assert stats.binomtest(acted, 4000, 0.3).pvalue > 1e-4


def test_draws_are_a_function_of_the_key() -> None:
    """The same samples draw the same, whoever asks first."""
    op = RandomHorizontalFlip()
    assert draws_of(op, Frame(5, 5, 3), 50) == draws_of(op, Frame(5, 5, 3), 50)
    assert np.mean([params is None for params in draws_of(op, Frame(5, 5, 3), 50)]) not in (0, 1)
