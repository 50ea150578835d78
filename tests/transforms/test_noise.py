"""Noise: bit-equal to torchvision's given the same normal numbers, and those are normal."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from harness import check_equal, draws_of, pil
from laws import same_continuous
from torchvision_shim import v2

from dsbridge.errors import TransformError
from dsbridge.transforms.catalog import find
from dsbridge.transforms.foreign import Refused, qualified
from dsbridge.transforms.ops.noise import GaussianNoise
from dsbridge.transforms.ops.values import Frame
from dsbridge.transforms.stage import Sample, apply


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize(("mean", "sigma"), [(0.0, 0.1), (0.3, 0.02), (-0.5, 1.5), (0, 0)])
def test_equal(mean: float, sigma: float, clip: bool) -> None:
    check_equal(lambda: v2.GaussianNoise(mean, sigma, clip), ("uint8", "float"))


def test_law() -> None:
    """The added noise, of 4,000 draws each, against what the original adds."""
    torch.manual_seed(0)
    image = torch.full((1, 2, 3), 0.5)
    original = v2.GaussianNoise(0.1, 0.3, clip=False)
    theirs = torch.stack([original(image) for _ in range(4000)]).numpy()
    op = find(qualified(original)).read(original)
    ours = np.stack([op.chw(image.numpy(), *params) for params in draws_of(op, Frame(2, 3, 1))])
    for place in np.ndindex(1, 2, 3):
        same_continuous(ours[(slice(None), *place)], theirs[(slice(None), *place)])
    assert abs(np.corrcoef(ours[:, 0, 0, 0], ours[:, 0, 0, 1])[0, 1]) < 0.06


def test_the_pin_leaves_torch_as_it_was() -> None:
    before = torch.randn_like
    original = v2.GaussianNoise()
    foreign = find(qualified(original))
    params = foreign.read(original).draw(np.random.default_rng(0), Frame(2, 2, 3))
    with pytest.raises(ValueError, match="uint8 or float"):
        foreign.pin(original, params)(torch.zeros(3, 2, 2, dtype=torch.int32))
    assert torch.randn_like is before


def test_wrong() -> None:
    with pytest.raises(TransformError, match="Hint"):
        GaussianNoise(sigma=-1.0)
    with pytest.raises(Refused):
        find(qualified(v2.GaussianNoise())).read(v2.GaussianNoise(sigma=-1.0))
    with pytest.raises(TransformError, match="cannot take"):
        apply(GaussianNoise(), Sample(pil(0)), (np.zeros((3, 61, 83), np.float32),))
