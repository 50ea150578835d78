"""The runner: turns, failures of contenders, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from dsbridge.bench import memory
from dsbridge.bench.process import ContenderFailedError, ContenderProcess
from dsbridge.bench.runner import Plan, Runner

pytestmark = pytest.mark.usefixtures("contenders_path")


def run(*contenders: str, **options: object):  # type: ignore[no-untyped-def]
    """Run contenders on three batches of the tiny workload: (results, what was said)."""
    said: list[str] = []
    names = tuple(name if name in ("torch", "dsbridge") else f"bench_contenders:{name}" for name in contenders)
    plan = Plan(**{"workloads": ("tiny",), "contenders": names, "rounds": 2, "batches": 3, "distinct": 4, **options})
    with Runner(plan, said.append) as runner:
        return runner.run(), said


def test_failures_are_reported_and_the_others_run_on() -> None:
    """torch and dsbridge get their figures beside one that dies, one that hangs, one that raises and one that cannot."""
    results, said = run("torch", "crash", "dsbridge", "raises", "cannot", limit_s=30)
    (workload,) = results.workloads
    torch, crash, ours, raises, cannot = workload.entries
    for entry in (torch, ours):
        assert entry.ok
        assert [run.batches for run in entry.runs] == [3, 3]
        assert all(run.samples == 3 * 256 and 0 < run.first_s < run.epoch_s for run in entry.runs)
        assert entry.peak_pss_bytes > 1e8
        assert 0 < entry.second_first_s < 1
    assert ours.stats["batches"] >= 9
    assert (crash.status, "about to die" in crash.reason, "exit code 7" in crash.reason) == ("failed", True, True)
    assert raises.status == "failed"
    assert raises.reason.startswith("KeyError: 'image' [bench_contenders.py:")
    assert (cannot.status, cannot.reason) == ("not run", "no wheels for this moon")
    assert not results.ok
    assert workload.ratio("dsbridge", "torch") > 0
    assert "tiny: round 2 of 2" in said


def test_a_contender_that_hangs_is_killed_with_all_it_started() -> None:
    """After the time limit; its own subprocess goes too, and the next contender runs."""
    begin = time.monotonic()
    results, _ = run("hang", "fast", limit_s=2)
    hang, fast = results.workloads[0].entries
    assert hang.reason.startswith("took more than 2 s")
    assert fast.ok
    assert time.monotonic() - begin < 20


def test_what_a_contender_prints_does_not_disturb() -> None:
    """stdout of contenders goes to stderr."""
    results, _ = run("noisy")
    assert results.ok


def test_epochs_shrink_to_the_budget() -> None:
    """A slow contender gets fewer batches than a fast one, but eight at least."""
    results, _ = run("slow", "fast", batches=None, budget_s=0.1, rounds=1, memory=False)
    slow, fast = results.workloads[0].entries
    assert slow.runs[0].batches == 8
    assert fast.runs[0].batches == 600
    assert slow.runs[0].gap_p50_s >= 0.05


def test_a_dead_process_says_so() -> None:
    """Asking a process that was killed gives its exit code, not a hang."""
    with ContenderProcess() as process:
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(ContenderFailedError, match="exit code -9"):
            process.ask({"do": "stats"}, limit_s=10)


def test_errors_leave_no_process() -> None:
    """An exception inside the runner's context ends every process."""

    def stop(text: str) -> None:
        if "round 1" in text:
            raise RuntimeError("stop")

    plan = Plan(workloads=("tiny",), contenders=("bench_contenders:fast",), batches=3)
    runner = Runner(plan, stop)
    with pytest.raises(RuntimeError, match="stop"), runner:
        runner.run()
    assert [child for child in psutil.Process().children() if child.status() != "zombie"] == []


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_ctrl_c_and_the_parents_death_leave_no_process(ending: signal.Signals) -> None:
    """Ctrl-C ends with 130 and kills the contenders; when the parent is killed they end by themselves."""
    command = [sys.executable, "-m", "dsbridge", "bench", "--workload", "tiny", "--contender", "bench_contenders:hang"]
    parent = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert parent.stderr is not None
    assert "warms up" in parent.stderr.readline()
    deadline = time.monotonic() + 20
    children: list[int] = []
    while not any("sleep" in _name(pid) for child in children for pid in memory.session_members(child)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
        with open(f"/proc/{parent.pid}/task/{parent.pid}/children") as file:
            children = [int(pid) for pid in file.read().split()]
    os.kill(parent.pid, ending)
    rest = parent.communicate(timeout=20)[1]
    assert (parent.returncode, rest) == ((130, "interrupted\n") if ending == signal.SIGINT else (-9, ""))
    while any(memory.session_members(child) for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _name(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm") as file:
            return file.read()
    except OSError:
        return ""
