"""LinearTransformation: within a stated bound of torch's own product."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision_shim import v1, v2

from dsbridge.errors import TransformError
from dsbridge.transforms.catalog import find
from dsbridge.transforms.foreign import qualified
from dsbridge.transforms.ops.linear import LinearTransformation


@pytest.mark.parametrize("library", [v1, v2], ids=["v1", "v2"])
@pytest.mark.parametrize("shape", [(1, 3, 5), (3, 8, 8), (3, 16, 16)])
def test_near(library, shape: tuple[int, ...]) -> None:
    rng, size = np.random.default_rng(0), int(np.prod(shape))
    matrix = torch.from_numpy(np.linalg.qr(rng.normal(size=(size, size)))[0].astype(np.float32))
    original = library.LinearTransformation(matrix, torch.from_numpy(rng.random(size, np.float32)))
    op = find(qualified(original)).read(original)
    worst = 0.0
    for _ in range(32):
        image = rng.random(shape, np.float32)
        ours, theirs = op.chw(image), original(torch.from_numpy(image)).numpy()
        assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
        worst = max(worst, float(np.abs(ours - theirs).max()))
    assert worst <= op.NEAR["float"]
    assert op.EXACT == ()


def test_wrong_input() -> None:
    with pytest.raises(TransformError, match=r"\[D, D\]"):
        LinearTransformation(np.eye(3), np.zeros(4))
    with pytest.raises(TransformError, match="of one size only"):
        LinearTransformation(np.eye(4), np.zeros(4)).chw(np.zeros((1, 2, 3)))
    with pytest.raises(TransformError, match="floats"):
        LinearTransformation(np.eye(4), np.zeros(4)).chw(np.zeros((1, 2, 2), np.uint8))
