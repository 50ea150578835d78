"""What could not be moved, as lines of the written files that say so instead of running wrong."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from dsbridge.report import Finding

# where in train.py a finding stops the run; all others in main
PLACES = {
    "metric-missing": "main",
    "data-unsupported": "data",
    "loader-changes": "data",
    "not-from-loader": "data",
    "model-unsupported": "step",
    "two-optimizers": "step",
    "closure": "step",
    "steps-skipped": "step",
    "gradients-changed": "step",
    "weights-written": "step",
    "weights-read": "step",
    "several-backwards": "step",
    "steps-irregular": "step",
    "steps-differ": "step",
    "numbers-change": "step",
    "state-carried": "step",
    "unseen-operation": "step",
    "decides-by-value": "step",
    "second-gradient": "step",
    "backward-option": "step",
    "clips-some": "step",
    "forward-unexplained": "step",
    "update-unexplained": "step",
    "mixed-precision": "step",
}


@dataclass(frozen=True, slots=True)
class Missing:
    """Findings that are errors, by the function in which they stop the run: "main", "step", "data".

    >>> missing = Missing.of([Finding("closure", "error", "/a/train.py:7", "LBFGS.step is called with a closure")])
    >>> print(missing.block("step", "    "))
    <BLANKLINE>
        raise NotImplementedError("closure: LBFGS.step is called with a closure (train.py:7)")
    """

    by_place: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, findings: Iterable[Finding]) -> Missing:
        """Those that are errors."""
        found: dict[str, list[str]] = {}
        for one in findings:
            if one.severity == "error":
                text = f"{one.code}: {one.message} ({one.where.rpartition('/')[2]})"
                found.setdefault(PLACES.get(one.code, "main"), []).append(text)
        return cls(found)

    def block(self, place: str, margin: str) -> str:
        """Lines to go behind a function's docstring; empty if nothing is missing there."""
        return "".join(f"\n{line}" for text in self.by_place.get(place, ()) for line in raising(text, margin))


def raising(text: str, margin: str, width: int = 100) -> list[str]:
    """A raise statement, in lines of at most 128 characters.

    >>> raising("short", "")
    ['raise NotImplementedError("short")']
    """
    text = " ".join(text.replace("\\", "/").replace('"', "'").split())
    if len(text) <= width - len(margin):
        return [f'{margin}raise NotImplementedError("{text}")']
    lines, now = [], ""
    for word in text.split(" "):
        if len(now) + len(word) > width - 10:
            lines.append(now)
            now = ""
        now += f"{word} "
    lines.append(now.rstrip())
    return [f"{margin}raise NotImplementedError(", *(f'{margin}    "{line}"' for line in lines if line), f"{margin})"]
