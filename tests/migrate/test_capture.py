"""Capturing a script: what is recorded, what is left behind, what it costs, and what it says of bad scripts."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import torch

import dsbridge as dsb
from dsbridge.errors import MigrationError
from dsbridge.migrate import replay

SCRIPT = """
import argparse
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=4)
parser.add_argument("--lr", type=float, default=0.1)
args = parser.parse_args()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden, self.norm, self.drop, self.out = nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 3)

    def forward(self, features):
        return self.out(self.drop(torch.relu(self.norm(self.hidden(features)))))


torch.manual_seed(3)
data = TensorDataset(torch.randn(64, 6), torch.randint(0, 3, (64,)))
loader = DataLoader(data, batch_size=16, shuffle=True, num_workers=1)
model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)
schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
for epoch in range(args.epochs):
    for features, labels in loader:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(features), labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    schedule.step()
    torch.save(model.state_dict(), "weights.pth")
"""


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "train.py"
    path.write_text(SCRIPT)
    return path


def test_a_script_is_recorded_and_explained(script: Path) -> None:
    """Batches, losses, rates, weights; the setup trained again in torch gives the script's losses; nothing is left behind."""
    setup = dsb.migrate.capture(script, ["--lr", "0.2"], steps=6)
    assert setup.ok, str(setup)
    assert repr(setup) == "TrainingSetup(Net, SGD, StepLR)"
    assert (setup.accumulate, setup.scheduler_every, setup.clip_grad_norm) == (1, "epoch", 1.0)
    recording = setup.recorded()
    assert len(recording.steps) == 6 and setup.pattern.epochs[0] == 4
    assert [options["lr"] for step in recording.steps for options in step.options] == [0.2] * 4 + [0.1] * 2
    assert recording.wanted_epochs == 4
    program = setup.materials().program
    assert program.inputs == ["features", "labels"] and program.paths == [(0,), (1,)]
    assert [finding.code for finding in setup.findings] == ["not-saved"]
    assert sorted(os.listdir(script.parent)) == ["train.py"]
    assert not psutil.Process().children(recursive=True)
    assert torch.Tensor.backward.__module__ == "torch._tensor", "hooks stay in the child"


def test_workers_that_are_stopped_leave_no_sockets(script: Path) -> None:
    """Persistent workers are stopped when the process ends; each has a socket, for the descriptors of its tensors."""
    assert SCRIPT.count("num_workers=1") == 1
    script.write_text(SCRIPT.replace("num_workers=1", "num_workers=1, persistent_workers=True"))
    assert dsb.migrate.capture(script, steps=6).ok


def failing(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "train.py"
    path.write_text(textwrap.dedent(text))
    return path


def test_a_script_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(MigrationError, match=r"train.py failed: KeyError: 'lost'"):
        dsb.migrate.capture(failing(tmp_path, "import torch\n{}['lost']"))
    with pytest.raises(MigrationError, match="is no file"):
        dsb.migrate.capture(tmp_path / "nowhere.py")


@pytest.fixture
def other_threads() -> Iterator[int]:
    """Torch has another number of threads here than in processes that it starts."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield 3
    torch.set_num_threads(before)


def test_it_is_trained_again_with_the_scripts_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other_threads: int
) -> None:
    """With another number of them sums are others in the last bit."""
    text = """
        import torch
        torch.set_num_threads(1)
        net = torch.nn.Linear(4, 1)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for x in torch.utils.data.DataLoader(torch.ones(8, 4), batch_size=4):
            net(x).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
    """
    setup = dsb.migrate.capture(failing(tmp_path, text), steps=2)
    seen = []
    monkeypatch.setattr(replay, "one_step", lambda *_: seen.append(torch.get_num_threads()))
    replay.replay(setup.recorded(), setup.pattern)
    assert seen == [1, 1] and torch.get_num_threads() == other_threads


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 3])
def test_threads_here_do_not_make_a_script_unexplained(threads: int, other_threads: int) -> None:
    """Losses of an LSTM are off by 8e-6 after 22 steps with one thread instead of two."""
    torch.set_num_threads(threads)
    setup = dsb.migrate.capture(Path(__file__).parent / "scripts" / "lstm_text.py", steps=24)
    assert setup.ok, str(setup)


def test_attributes_named_as_torchs_modules_are(tmp_path: Path) -> None:
    """``self.classes`` in a method that uses torch is not ``torch.classes``, which cannot be pickled."""
    text = SCRIPT.replace("self.hidden,", "self.classes = 3\n        self.hidden,").replace("(8, 3)", "(8, self.classes)")
    assert text.count("self.classes") == 2
    text = text.replace("super().__init__()", "super().__init__()\n        torch.manual_seed(1)")
    setup = dsb.migrate.capture(failing(tmp_path, text), steps=2)
    assert setup.ok and repr(setup) == "TrainingSetup(Net, SGD, StepLR)", str(setup)


def test_spawned_workers_leave_no_semaphores(tmp_path: Path) -> None:
    """Theirs have names. They are there for a moment only: other tests, beside this one, look for what is left, too."""
    text = """
        import os, torch
        if __name__ == "__main__":
            kept = iter(torch.utils.data.DataLoader(torch.ones(8), num_workers=1, multiprocessing_context="spawn"))
            os._exit(7)
    """
    with pytest.raises(MigrationError, match="ended with exit code 7"):
        dsb.migrate.capture(failing(tmp_path, text))


@pytest.mark.slow
def test_other_ways_to_end(tmp_path: Path) -> None:
    with pytest.raises(MigrationError, match="ended before an optimizer stepped"):
        dsb.migrate.capture(failing(tmp_path, "print('nothing to do')"))
    with pytest.raises(MigrationError, match="exit code 3"):
        dsb.migrate.capture(failing(tmp_path, "import sys\nsys.exit(3)"))
    with pytest.raises(MigrationError, match="ended with exit code"):
        dsb.migrate.capture(failing(tmp_path, "import os\nos._exit(7)"))
    with pytest.raises(MigrationError, match=r"longer than 8 s"):
        dsb.migrate.capture(failing(tmp_path, "import time\ntime.sleep(60)"), timeout_s=8)
    hangs = SCRIPT.replace("optimizer.zero_grad()", "__import__('time').sleep(60)")
    with pytest.raises(MigrationError, match=r"longer than 20 s"):
        dsb.migrate.capture(failing(tmp_path, hangs), timeout_s=20)
    assert not psutil.Process().children(recursive=True)


def waited_for(it: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not it():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
def test_a_script_ends_with_the_process_that_watches_it(tmp_path: Path) -> None:
    """That one is killed; what it had no time to take away lies in the folder of this test."""
    failing(tmp_path, "import os, time\nos.mkfifo('begun')\ntime.sleep(120)")
    code = "import dsbridge as dsb; dsb.migrate.capture('train.py')"
    with subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "TMPDIR": str(tmp_path)}) as watching:
        waited_for((tmp_path / "begun").exists)
        (child,) = psutil.Process(watching.pid).children()
        watching.kill()
    waited_for(lambda: not psutil.pid_exists(child.pid) or child.status() == psutil.STATUS_ZOMBIE)  # if init reaps none


@pytest.mark.slow
def test_a_shorter_script_is_recorded_as_far_as_it_goes(script: Path) -> None:
    setup = dsb.migrate.capture(script, ["--epochs", "1"], steps=24)
    assert len(setup.recorded().steps) == 4
    assert "fewer-steps" in setup.report and setup.ok


TIMED = """
import json, os, sys, time
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
torch.manual_seed(0)
layers = [nn.Sequential(nn.Linear(256, 256), nn.BatchNorm1d(256), nn.ReLU()) for _ in range(8)]
model = nn.Sequential(*layers, nn.Linear(256, 4))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
loader = DataLoader(TensorDataset(torch.randn(64 * 260, 256), torch.randint(0, 4, (64 * 260,))), batch_size=64)
target, mine, other = sys.argv[1], *(os.open(path, os.O_RDWR) for path in sys.argv[2:])
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
times = []
os.read(mine, 1)
last = time.perf_counter()
for step, (x, y) in enumerate(loader, 1):
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step <= 240:
        times.append(time.perf_counter() - last)
        os.write(other, b".")
    if step < 240:
        os.read(mine, 1)
    elif step == 240:
        with open(target, "w") as file:
            json.dump(times[20:], file)
    last = time.perf_counter()
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_watching_costs_less_than_a_tenth(tmp_path: Path) -> None:
    """By itself and watched, a step each by turns and on one core, as the machine's speed changes; the median of 220 pairs."""
    path = failing(tmp_path, TIMED)
    alone, watched, first, second = (str(tmp_path / name) for name in ("alone.json", "watched.json", "first", "second"))
    os.mkfifo(first)
    os.mkfifo(second)
    with subprocess.Popen([sys.executable, str(path), alone, first, second]) as process:
        begin = os.open(first, os.O_RDWR)
        try:
            os.write(begin, b".")
            dsb.migrate.capture(path, [watched, second, first], steps=250, timeout_s=200)
            assert process.wait(timeout=60) == 0
        finally:
            os.close(begin)
            process.kill()
    pairs = list(zip(*(json.loads(Path(one).read_text()) for one in (alone, watched)), strict=True))
    ratio = statistics.median(with_it / without for without, with_it in pairs)
    times = [statistics.median(one) * 1e3 for one in zip(*pairs, strict=True)]
    print(f"a step takes {times[0]:.2f} ms alone, {times[1]:.2f} ms watched: {ratio:.3f}")
    assert len(pairs) == 220 and ratio < 1.10
