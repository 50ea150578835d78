"""Runs of emitted sources, each in a process of its own; what they return is on disk before they end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

GRAPH, PYNATIVE = 0, 1
MODES = ((PYNATIVE, "PyNative"), (GRAPH, "graph"))
TIMEOUT_S, A_RUN_S = 600, 30  # guards against hanging: of a process, and for each run of a job that is repeated
RUN = Path(__file__).parent / "child" / "run_cell.py"  # run, not imported: it imports MindSpore


@dataclass(slots=True)
class Job:
    """One run of an emitted source. ``inputs``: torch tensors, or tuples, lists and dicts of them, as the cell takes them.

    ``along``: what outputs are multiplied with, for gradients.
    """

    source: str
    root: str
    arrays: Mapping[str, Any]
    inputs: Sequence[Any]
    training: bool
    along: Sequence[Any] = ()
    dropout: bool = False
    repeat: int = 0

    def save(self, folder: Path, number: int, mode: int) -> tuple[Path, Path]:
        """Write what the child reads; returns the job's file and its result's."""
        source, job = folder / f"emitted{number}.py", folder / f"job{number}.npz"
        source.write_text(self.source)
        tensors: list[Any] = []
        layout = [_laid_out(one, tensors) for one in self.inputs]
        data = {f"in:{n}": tensor.detach().numpy() for n, tensor in enumerate(tensors)}
        data |= {f"weight:{path}": array for path, array in self.arrays.items()}
        data |= {f"along:{n}": array for n, array in enumerate(self.along)}
        settings: dict[str, Any] = {
            "mode": mode,
            "training": self.training,
            "dropout": self.dropout,
            "repeat": self.repeat,
            "layout": json.dumps(layout),
        }
        np.savez(job, source=str(source), root=self.root, **settings, **data)
        return job, folder / f"result{number}.npz"


def _laid_out(value: Any, tensors: list[Any]) -> Any:
    """The nesting of a value, with numbers for its tensors, which are appended; another value is in a ``{"": value}``."""
    if isinstance(value, torch.Tensor):
        tensors.append(value)
        return len(tensors) - 1
    if isinstance(value, (tuple, list)):
        return [_laid_out(one, tensors) for one in value]
    if isinstance(value, Mapping):
        return {str(key): _laid_out(one, tensors) for key, one in value.items()}
    return {"": value}


def run_jobs(jobs: Sequence[Job], mode: int) -> list[dict[str, Any] | str]:
    """The results by name, or the text of an error, of jobs that run one after the other in one process."""
    timeout_s = TIMEOUT_S + A_RUN_S * sum(job.repeat for job in jobs)
    with tempfile.TemporaryDirectory(prefix="dsbridge-verify-") as folder:
        files = [job.save(Path(folder), number, mode) for number, job in enumerate(jobs)]
        command = [sys.executable, str(RUN), *(str(file) for pair in files for file in pair)]
        ended = ""
        try:
            child = subprocess.run(
                command, capture_output=True, text=True, timeout=timeout_s, env={**os.environ, "GLOG_v": "3"}, check=False
            )
            if child.returncode:
                last = [line for line in child.stderr.splitlines() if line.strip()][-1:]
                ended = f"the process ended with exit code {child.returncode}: {' '.join(last)[:500]}"
        except subprocess.TimeoutExpired:
            ended = f"no result within {timeout_s} s"
        return [_result(path, ended) for _, path in files]


def in_both_modes(jobs: Sequence[Job]) -> list[tuple[str, list[dict[str, Any] | str]]]:
    """The results of jobs in PyNative and in graph mode, each mode a process of its own; they run beside each other."""
    with ThreadPoolExecutor(len(MODES)) as threads:
        results = list(threads.map(lambda mode: run_jobs(jobs, mode), [mode for mode, _ in MODES]))
    return [(word, result) for (_, word), result in zip(MODES, results, strict=True)]


def _result(path: Path, ended: str) -> dict[str, Any] | str:
    if not path.exists():
        return ended or "no result"
    with np.load(path) as found:
        return str(found["error"]) if "error" in found else dict(found)
