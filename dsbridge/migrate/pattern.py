"""What one step and one epoch of a script consist of, told from its events; what does not fit is said with file and line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from dsbridge.migrate.recording import Event, Recording, Where

STEP, EPOCH, NEVER = "step", "epoch", ""
Said = list[tuple[str, Where, str]]


@dataclass(slots=True)
class Pattern:
    """``accumulate``: micro-batches a step; ``scheduler_every``: "step", "epoch" or ""; ``clips``: (kind, limit) of each step.

    ``averages``: whether those of weights are taken after each step; ``schedules``: (steps before it, which scheduler, its
    metrics) as they happened; ``rest``: whether an epoch's last micro-batches make a step of their own; ``epochs``: recorded
    micro-batches of each epoch; ``ended``: whether the last of these ended.

    >>> Pattern().accumulate
    1
    """

    accumulate: int = 1
    scheduler: int = 0
    scheduler_every: str = NEVER
    metric_at: Where = ("", 0)
    clips: tuple[tuple[str, float], ...] = ()
    averages: bool = False
    schedules: list[tuple[int, int, list[float]]] = field(default_factory=list)
    rest: bool = False
    epochs: list[int] = field(default_factory=list)
    ended: bool = False
    said: Said = field(default_factory=list)


def pattern(recording: Recording) -> Pattern:
    """Read the events of a recording."""
    made = Pattern()
    events = [event for event in recording.events if _counts(event, recording)]
    _optimizers(recording, made.said)
    _micros(_rounds(events), made)
    _epochs(events, recording, made)
    _schedule(events, recording, made)
    _clips(recording, made)
    _averages(events, recording, made)
    if recording.carried:
        where = next((event.where for event in events if event.kind == "backward"), ("", 0))
        made.said.append(
            ("gradients-kept", where, "gradients are not zero when a step begins: those of earlier steps are kept")
        )
    for event in recording.events:
        if event.kind == "option":
            text = f"backward is called with {event.value}, which one gradient a step cannot express"
            made.said.append(("backward-option", event.where, text))
    made.said = list(dict.fromkeys(made.said))
    return made


def _counts(event: Event, recording: Recording) -> bool:
    """Whether an event belongs to training: loaders of evaluations do not."""
    if event.kind == "batch":
        loader, grad = event.value
        return bool(loader == recording.training_loader and grad)
    if event.kind in ("epoch", "end"):
        return bool(event.value == recording.training_loader)
    return True


def _optimizers(recording: Recording, said: Said) -> None:
    steps = [event for event in recording.events if event.kind == "step"]
    for event in steps:
        identity, name, closure = event.value
        made_at = recording.made_at.get(identity, event.where)
        if identity != recording.optimizer:
            said.append(("two-optimizers", made_at, f"a second optimizer steps, {name}, in line {event.where[1]}"))
        if closure:
            text = f"{name}.step is called with a closure in line {event.where[1]}, which it may evaluate several times"
            said.append(("closure", made_at, text))


@dataclass(slots=True)
class _Round:
    """The way to one step: backwards of each batch; how many backwards its epoch has had; whether the epoch ends after it."""

    where: Where = ("", 0)
    per_batch: list[int] = field(default_factory=list)
    backwards: int = 0
    position: int = 0
    last: bool = False


def _rounds(events: list[Event]) -> list[_Round]:
    made: list[_Round] = []
    now, position, since = _Round(), 0, 0
    for event in events:
        if event.kind == "batch":
            now.where = event.where
            now.per_batch.append(0)
            since += 1
        elif event.kind == "backward":
            now.backwards, position = now.backwards + 1, position + 1
            if now.per_batch:
                now.per_batch[-1] += 1
            else:
                now.where = event.where
        elif event.kind == "end":
            if made and not since:
                made[-1].last = True
            position = 0
        elif event.kind == "step":
            now.position = position
            made.append(now)
            now, since = _Round(where=event.where), 0
    return made


def _micros(rounds: list[_Round], made: Pattern) -> None:
    """How many batches make a step, counted anew in each epoch, and whether all steps keep to that."""
    if not rounds:
        return
    made.accumulate = rounds[0].backwards or 1
    for one in rounds:
        if 0 in one.per_batch:
            made.said.append(("steps-skipped", one.where, "of some batches no loss goes backwards: the script skips them"))
        if any(count > 1 for count in one.per_batch):
            made.said.append(("several-backwards", one.where, "backward is called several times for one batch"))
        if one.position % made.accumulate or not one.position:
            if one.last:
                made.rest = True
            else:
                text = f"a step comes after {one.position} backwards of its epoch, others after every {made.accumulate}"
                made.said.append(("steps-irregular", one.where, text))
                return


def _epochs(events: list[Event], recording: Recording, made: Pattern) -> None:
    """How the recorded micro-batches lie in epochs."""
    left = sum(len(step.micros) for step in recording.steps)
    counts, ended = [0], False
    for event in events:
        if event.kind == "backward" and left:
            left -= 1
            if ended:
                counts.append(0)
            counts[-1] += 1
            ended = False
        elif event.kind == "end" and counts[-1]:
            ended = True
            if not left:
                break
    made.epochs, made.ended = counts, ended


def _schedule(events: list[Event], recording: Recording, made: Pattern) -> None:
    steps, since_end, kinds, ends = 0, False, [], [0]
    for event in events:
        if event.kind == "step":
            steps, since_end = steps + 1, False
        elif event.kind == "end":
            since_end = True
            if steps > ends[-1]:
                ends.append(steps)
        elif event.kind == "schedule":
            identity, name, metrics = event.value
            if steps == 0:
                made.said.append(("schedule-first", event.where, f"{name}.step comes before the first step of the optimizer"))
            if made.scheduler not in (0, identity):
                made.said.append(("two-schedules", event.where, f"a second schedule steps, {name}"))
            made.scheduler = made.scheduler or identity
            if metrics:
                made.metric_at = event.where
            made.schedules.append((steps, identity, metrics))
            kinds.append((EPOCH if since_end else STEP, event.where))
    if not kinds:
        return
    made.scheduler_every = EPOCH if {kind for kind, _ in kinds} == {EPOCH} else STEP
    counts = [count for count, *_ in made.schedules]
    if not _after_each(counts, ends[1:] if made.scheduler_every == EPOCH else range(1, steps + 1)):
        seen = ", ".join(map(str, counts[:4]))
        text = f"the schedule steps neither after each step nor after each epoch, but after steps {seen}"
        made.said.append(("schedule-irregular", kinds[0][1], text))


def _after_each(counts: list[int], expected: Sequence[int]) -> bool:
    """Whether it came after each of these; after the last one the script may have been stopped."""
    return counts in (list(expected), list(expected[:-1]))


def _averages(events: list[Event], recording: Recording, made: Pattern) -> None:
    """Averages of weights that are taken after each step; all others are left out, and that is said."""
    steps = 0
    taken: dict[int, list[int]] = {}
    strange: set[int] = set()
    for event in events:
        if event.kind == "step":
            steps += 1
        elif event.kind == "average":
            identity, own = event.value
            taken.setdefault(identity, []).append(steps)
            strange |= set() if own else {identity}
    for identity, path, where in recording.averages:
        after = taken.get(identity, [])
        if not after:
            why = "they are not taken within the steps that were seen"
        elif not path or identity in strange:
            why = "they are of a module that the training step does not call"
        elif made.averages:
            why = "they are the second ones"
        elif _after_each(after, range(1, steps + 1)):
            made.averages = True
            continue
        else:
            why = f"they are not taken once after each step, but after steps {', '.join(map(str, after[:4]))}"
        made.said.append(("averages-left-out", where, f"averages of the weights are kept beside them: {why}"))


def _clips(recording: Recording, made: Pattern) -> None:
    where = {kind: event.where for event in recording.events for kind in (event.kind,) if kind.startswith("clip_")}
    rows = [tuple((kind, limit) for kind, limit, _ in step.clips) for step in recording.steps]
    made.clips = rows[0] if rows else ()
    options: list[tuple[str, dict[str, Any]]] = [(kind, more) for step in recording.steps for kind, _, more in step.clips]
    for kind, more in options:
        at = where.get(f"clip_{kind}", ("", 0))
        if not more.get("all"):
            made.said.append(("clips-some", at, "gradients of some parameters only are clipped"))
        if kind == "norm" and float(more.get("norm_type", 2.0)) != 2.0:
            made.said.append(("clip-norm-type", at, f"the norm that is clipped is {more['norm_type']}, not 2"))
    if len(set(rows)) > 1:
        at = next(iter(where.values()), ("", 0))
        made.said.append(("clips-irregular", at, "gradients are not clipped in the same way in each step"))
    if len(made.clips) > 1:
        made.said.append(("clips-twice", next(iter(where.values())), "gradients are clipped twice a step"))
