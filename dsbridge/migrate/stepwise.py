"""Every step of a training, where the whole is off: each from torch's own state, and each from where the last one ended."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from dsbridge.migrate.apart import apart
from dsbridge.migrate.pattern import Pattern
from dsbridge.migrate.points import judge_point, starts
from dsbridge.migrate.recording import Recording
from dsbridge.migrate.replay import Arrays, How, replay, weights_before
from dsbridge.migrate.runs import in_both_modes, job_of
from dsbridge.migrate.setup_report import SetupReport
from dsbridge.model.judge import Measured
from dsbridge.model.weights import Weights

HELD_BYTES = 1 << 31  # what the steps of one round may take
COPIES = 100  # of the weights in float32, a step: torch's five runs of it in float64, with state and gradients; MindSpore's two


def every_step(
    report: SetupReport, folder: Path, recording: Recording, pattern: Pattern, weights: Weights, done: set[int]
) -> None:
    """Take the steps apart that were not yet, and watch that nothing changes between two of them.

    Findings go to the report; of what was measured, the worst of each kind.
    """
    left = [number for number in range(len(recording.steps)) if number not in done]
    begun = weights_before(recording)
    size = sum(array.size for array in begun.values()) * 4 * COPIES
    a_round = max(1, HELD_BYTES // max(size, 1))
    found = SetupReport()
    for first in range(0, max(len(left), 1), a_round):
        some = left[first : first + a_round]
        single = replay(recording, pattern, How(points=tuple(some)))
        points = {number: apart(recording, single.points[number], number) for number in some}
        job = job_of(recording, pattern, starts(found, recording, points, weights))
        job.between = first == 0
        for word, result in in_both_modes(folder, job).items():
            if "error" in result:
                found.add(f"{result['stage']}-fails", "error", word, result["error"])
                continue
            for number in job.starts:
                judge_point(found, recording, word, number, points[number], result["points"].get(number), weights)
            if job.between:
                _between(found, word, weights.by_path(begun), result)
    report.extend(found)
    report.measured += _worst(found.measured)


def _between(report: SetupReport, word: str, begun: Arrays, got: dict[str, Any]) -> None:
    other = [path for path, array in got["begun"].items() if path in begun and not np.array_equal(array, begun[path])]
    if other:
        report.add("optimizer-differs", "error", f"{word}, step 1", f"begins with other weights: {', '.join(other[:3])}")
    if got["between"]:
        text = f"weights or the optimizer's state change between steps, {got['between']}"
        report.add("optimizer-differs", "error", word, text)


def _worst(measured: list[Measured]) -> list[Measured]:
    worst: dict[str, Measured] = {}
    for one in measured:
        what = re.sub(r"step \d+ alone", "the worst step alone", one.what)
        if what not in worst or one.over > worst[what].over:
            worst[what] = Measured(what, one.error, one.yardstick)
    return list(worst.values())
