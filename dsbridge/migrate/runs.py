"""Runs of a written training in processes of their own: what each is told, and what comes back."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from dsbridge.migrate.job import Job, Start
from dsbridge.migrate.pattern import Pattern
from dsbridge.migrate.processes import environment
from dsbridge.migrate.recording import Recording

RUN = Path(__file__).parent / "child" / "run_training.py"
MODES = {"PyNative": False, "graph": True}
TIMEOUT_S = 900


def job_of(recording: Recording, pattern: Pattern, begins: dict[int, Start]) -> Job:
    """A training on all recorded batches, with these steps taken apart."""
    micros = [[one.numpy() for one in micro.inputs] for step in recording.steps for micro in step.micros]
    epochs, begin = [], 0
    for count in pattern.epochs:
        epochs.append(micros[begin : begin + count])
        begin += count
    return Job(False, epochs, pattern.ended, [len(step.micros) for step in recording.steps], begins)


def in_both_modes(folder: Path, job: Job) -> dict[str, dict[str, Any]]:
    """The results of a job by mode; of one that failed "error" is the text and "stage" what it came to."""
    with ThreadPoolExecutor(len(MODES)) as threads:
        return dict(zip(MODES, threads.map(lambda graph: run(folder, replace(job, graph=graph)), MODES.values()), strict=True))


def run(folder: Path, job: Job) -> dict[str, Any]:
    """The result of a job in one mode. The folder is left as it is."""
    with tempfile.TemporaryDirectory(prefix="dsbridge-migrate-") as scratch:
        for name in ("model.py", "train.py", "data.py", "weights.safetensors", "optimizer.npz", "state.json"):
            if (folder / name).exists():
                shutil.copy(folder / name, scratch)
        files = Path(scratch) / "job.pkl", Path(scratch) / "result.pkl"
        files[0].write_bytes(pickle.dumps(job, protocol=pickle.HIGHEST_PROTOCOL))
        result = child(RUN, scratch, *files)
        return {"stage": "forward", "error": result} if isinstance(result, str) else result


def child(program: Path, folder: Any, job: Path, result: Path) -> Any:
    """What a program of ours left in ``result``, or the text of an error."""
    command = [sys.executable, str(program), str(folder), str(job), str(result)]
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_S, env=environment(GLOG_v="3"), check=False
        )
    except subprocess.TimeoutExpired:
        return f"no result within {TIMEOUT_S} s"
    if result.exists():
        return pickle.loads(result.read_bytes())
    last = [line for line in ended.stderr.splitlines() if line.strip()][-1:]
    return f"the process ended with exit code {ended.returncode}: {' '.join(last)[:500]}"
