"""One thread for torch: with two of them, small images take many times as long on a busy machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from harness import product_in_order


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def sums_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small products as MKL's AVX2 kernels take them: with AVX-512 their last bit hangs on how many points there are.

    test_processors.py holds both: that those kernels do so, and how far off torch is with others.
    """
    monkeypatch.setattr(torch, "matmul", product_in_order)
    monkeypatch.setattr(torch.Tensor, "bmm", product_in_order)
