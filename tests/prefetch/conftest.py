"""Pools in these tests recycle everything, however small."""

import pytest

from dsbridge.prefetch import buffers


@pytest.fixture(autouse=True)
def recycle_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """No size is left to malloc."""
    monkeypatch.setattr(buffers, "RECYCLE_BYTES", 0)
