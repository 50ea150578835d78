"""Nothing of what a test starts leaves files where temporary ones lie."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator

import pytest

TORCHS = {"torchinductor_root"}  # a cache that torch makes wherever it is imported


@pytest.fixture(autouse=True)
def nothing_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder for them, which must be empty in the end. Its path is short: a socket's has 107 characters at most."""
    tempfile.gettempdir()  # asked once, and kept: this process stays where it was
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setenv("TMPDIR", folder)
        yield
        assert set(os.listdir(folder)) <= TORCHS
