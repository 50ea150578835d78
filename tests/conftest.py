"""Fixtures of all tests: nothing may leak, and both frameworks are warm before anything is counted."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

collect_ignore_glob = [
    "*conftest.py",  # for doctests: modules of one name are refused
    "migrate/scripts/*",  # importing them trains
]

TESTS = Path(__file__).parent
# what does not hang on numpy's version, and what runs in processes of its own, where lines are not counted
ONE_LANE = (
    "faults",
    "bench",
    "cli",
    "test_examples.py",
    "model/test_layer_entries.py",
    "model/test_function_entries.py",
    "migrate/test_hand_rates.py",
)
NOT_COUNTED = ("faults",)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks by place."""
    for item in items:
        for marker, places in ((pytest.mark.one_lane, ONE_LANE), (pytest.mark.no_cover, NOT_COUNTED)):
            if any(item.path.is_relative_to(TESTS / place) for place in places):
                item.add_marker(marker)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """In a worker of xdist pytest-cov has two tracers, of which ``no_cover`` pauses one: the other took over."""
    if not item.get_closest_marker("no_cover"):
        return (yield)
    tracer = sys.gettrace()
    sys.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(tracer)


# A shell that runs this in the background has it ignore SIGINT, which every child would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)


def _resources() -> dict[str, object]:
    process = psutil.Process()
    return {
        "children": sorted(child.pid for child in process.children(recursive=True)),
        "descriptors": process.num_fds(),
        "shared memory": sorted(os.listdir("/dev/shm")),
    }


def _grown(before: dict[str, object], after: dict[str, object]) -> list[str]:
    grown = []
    for name, old in before.items():
        new = after[name]
        if new > old if isinstance(old, int) else set(new) - set(old):  # type: ignore[arg-type,operator]
            grown.append(f"{name}: {old} -> {new}")
    return grown


@pytest.fixture(scope="session", autouse=True)
def warm_frameworks() -> None:
    """Run one pipeline, so that what the frameworks open once and keep is not taken for a leak."""
    import mindspore.dataset as mds
    import numpy as np
    import torch

    torch.stack([torch.ones(2)] * 2)
    list(mds.GeneratorDataset([(np.ones(1),)], ["x"], shuffle=False).create_tuple_iterator(num_epochs=1))


@pytest.fixture(scope="session")
def warm_matplotlib() -> None:
    """Draw some text: matplotlib opens its font once and keeps it."""
    import io

    from matplotlib.figure import Figure

    figure = Figure()
    figure.suptitle("text")
    figure.savefig(io.BytesIO(), format="png")


@pytest.fixture(scope="session", autouse=True)
def recycle_small_batches() -> None:
    """Tests use small batches; let most of them take the way that big ones take."""
    from dsbridge.prefetch import buffers

    buffers.RECYCLE_BYTES = 1 << 14


@pytest.fixture(autouse=True)
def no_leaks(warm_frameworks: None, request: pytest.FixtureRequest):  # type: ignore[no-untyped-def]
    """Fail a test that leaves children, descriptors or shared memory behind."""
    before = _resources()
    yield
    deadline = time.monotonic() + 3
    while True:
        late = time.monotonic() > deadline  # asked first: what is said to leak was looked at after a collection
        grown = _grown(before, _resources())
        if not grown:
            return
        gc.collect()  # 0.2 s with both frameworks loaded, so only where it is needed
        if late:
            pytest.fail(f"{request.node.name} leaks {'; '.join(grown)}")
        time.sleep(0.05)


@pytest.fixture
def run_python(tmp_path):  # type: ignore[no-untyped-def]
    """Run a script in its own process: ``run_python(code, timeout_s=120) -> CompletedProcess`` with text output."""

    def run(
        code: str, *args: str, timeout_s: float = 120, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        script = tmp_path / "script.py"
        script.write_text(textwrap.dedent(code))
        return subprocess.run(
            [sys.executable, str(script), *args],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env={**os.environ, **(env or {})},
            cwd=tmp_path,
        )

    return run
