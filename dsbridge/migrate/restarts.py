"""CosineAnnealingWarmRestarts that is given parts of an epoch after each step, ``step(epoch + i / n)``, as in torch's docs."""

from __future__ import annotations

from typing import Any

from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts

from dsbridge.migrate.hand_rates import SCHEDULE, Clock, HandRates
from dsbridge.migrate.pattern import STEP, Pattern
from dsbridge.migrate.recording import Recording
from dsbridge.migrate.replay import materials
from dsbridge.migrate.source import literal


def understand_restarts(recording: Recording, pattern: Pattern) -> None:
    """Have it as rates of the step, in ``recording.rates`` and the pattern; what is not of that kind is left as it is."""
    if recording.rates is not None or not isinstance(recording.start, bytes) or not recording.steps:
        return
    given = [(steps, metrics[0]) for steps, _, metrics in pattern.schedules if len(metrics) == 1]
    if not given or len(given) != len(pattern.schedules) or pattern.scheduler_every != STEP:
        return
    scheduler = materials(recording).schedulers.get(pattern.scheduler)
    if not isinstance(scheduler, CosineAnnealingWarmRestarts):
        return
    epoch = _epoch(given, Clock.of(recording).length)
    if not epoch:
        return
    rates = tuple(
        _body(scheduler, base, options["lr"], epoch)
        for base, options in zip(scheduler.base_lrs, recording.steps[0].options, strict=True)
    )
    made = HandRates(rates, ("import math",), STEP, pattern.metric_at)
    for number, step in enumerate(recording.steps):
        if [rate(number) for rate in made.functions()] != [options["lr"] for options in step.options]:
            return
    recording.rates, pattern.scheduler = made, SCHEDULE
    pattern.schedules = [(number, SCHEDULE, []) for number in range(1, len(recording.steps) + 1)]


def _epoch(given: list[tuple[int, float]], length: int) -> str:
    """What it is given after so many steps, as an expression of the step that follows; empty where none is right.

    >>> _epoch([(1, 0.0), (2, 0.5), (3, 1.0)], 2)
    '(step - 1) // 2 + (step - 1) % 2 / 2'
    """
    for done in ("(step - 1)", "step") if length else ():
        for text in (f"{done} // {length} + {done} % {length} / {length}", f"{done} / {length}"):
            if all(eval(text, {"step": steps}) == value for steps, value in given):
                return text
    return ""


def _body(scheduler: Any, base: float, first: float, epoch: str) -> str:
    """The body of a group's rate: torch's own formula."""
    length, times, low = (literal(getattr(scheduler, name)) for name in ("T_0", "T_mult", "eta_min"))
    lines = ["if step == 0:", f"    return {literal(first)}", f"epoch = {epoch}"]
    if scheduler.T_mult == 1:
        lines += [f"current, whole = epoch % {length}, {length}"]
    else:
        more = f"int(math.log(epoch / {length} * ({times} - 1) + 1) / math.log({times}))"
        lines += [
            f"restarts = {more} if epoch >= {length} else 0",
            f"current = epoch - {length} * ({times} ** restarts - 1) / ({times} - 1)",
            f"whole = {length} * {times} ** restarts",
        ]
    return "\n".join([*lines, f"return {low} + ({literal(base)} - {low}) * (1 + math.cos(math.pi * current / whole)) / 2"])
