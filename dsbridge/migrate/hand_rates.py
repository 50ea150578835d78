"""Learning rates that a script sets by hand, as functions of the step: what it sets them to, and from where."""

from __future__ import annotations

import itertools
import linecache
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from torch.optim.lr_scheduler import LambdaLR

from dsbridge.migrate.bodies import body_of
from dsbridge.migrate.pattern import EPOCH, STEP, Pattern
from dsbridge.migrate.recording import ByHand, Frame, Recording, Where
from dsbridge.migrate.source import literal
from dsbridge.migrate.symbols import Counters, Reader
from dsbridge.migrate.syntax import Unclear, function_at, in_one_loop

SCHEDULE = -1  # in the place of a scheduler's id


@dataclass(frozen=True, slots=True)
class HandRates:
    """``rates``: of each group, the body of a function of ``every`` ("step" or "epoch"); ``where``: where the script sets them.

    >>> made = HandRates(("return 0.1 / (step + 1)",), (), "step", ("/a/train.py", 7))
    >>> [rate(1) for rate in made.functions()]
    [0.05]
    """

    rates: tuple[str, ...]
    imports: tuple[str, ...]
    every: str
    where: Where

    def functions(self) -> list[Any]:
        """One function of each group, whose source can be found; groups with one rate have one function."""
        file = f"{self.where[0]} (rates)"
        names = {rate: f"rate_{number}" if number else "rate" for number, rate in enumerate(dict.fromkeys(self.rates))}
        above = list(self.imports) + [""] * max(self.where[1] - len(self.imports) - 1, 0)
        texts = [f"def {name}({self.every}):\n{textwrap.indent(rate, '    ')}\n" for rate, name in names.items()]
        source = "\n".join([*above, *texts])
        linecache.cache[file] = len(source), None, source.splitlines(keepends=True), file
        space: dict[str, Any] = {}
        exec(compile(source, file, "exec", dont_inherit=True), space)
        made: dict[str, FunctionType] = {rate: space[name] for rate, name in names.items()}
        return [made[rate] for rate in self.rates]

    def scheduler(self, optimizer: Any) -> LambdaLR:
        """The same as a schedule of torch's."""
        for group in optimizer.param_groups:
            group["lr"] = 1.0
            group.pop("initial_lr", None)
        return LambdaLR(optimizer, self.functions())


@dataclass(slots=True)
class Clock:
    """When events were: steps before each, and how many steps an epoch has (0: none was seen to end, or not all alike)."""

    steps: list[int]
    length: int

    @classmethod
    def of(cls, recording: Recording) -> Clock:
        """Of a recording's events."""
        steps, counts, ends = [0], 0, [0]
        for event in recording.events:
            if event.kind == "step":
                counts += 1
            elif event.kind == "end" and event.value == recording.training_loader and counts > ends[-1]:
                ends.append(counts)
            steps.append(counts)
        lengths = {b - a for a, b in itertools.pairwise(ends)}
        return cls(steps, lengths.pop() if len(lengths) == 1 else 0)


def understand_rates(recording: Recording, pattern: Pattern) -> None:
    """Have rates that are set by hand as a schedule, in ``recording.rates`` and the pattern; or say why they cannot be.

    What was noted of them is let go.
    """
    sets = [one for one in recording.by_hand if _again(one, recording)]
    recording.by_hand = []
    if not sets or isinstance(recording.start, str):
        return
    where = sets[-1].frames[0].file, sets[-1].frames[0].line
    try:
        made = _understood(sets, recording, pattern, where)
    except Unclear as why:
        text = f"{sets[-1].key} of group {sets[-1].group} is set by hand, and not as a function of the step: {why}"
        pattern.said.append(("rates-unexplained", where, text))
        return
    recording.rates, pattern.scheduler, pattern.scheduler_every = made, SCHEDULE, made.every
    clock = Clock.of(recording)
    steps = range(1, len(recording.steps) + 1)
    pattern.schedules = [(n, SCHEDULE, []) for n in steps if made.every == STEP or n % clock.length == 0]


def _again(one: ByHand, recording: Recording) -> bool:
    """Whether it is set in a loop with the training step: not just once, before."""
    if any(event.kind == "step" for event in recording.events[: one.at]):
        return True
    shared = _shared(one.frames, recording.step_frames)
    if shared is None:
        return False
    here = one.frames[shared]
    there = next(frame for frame in recording.step_frames if frame.code == here.code)
    try:
        return in_one_loop(function_at(here.file, here.name, here.first), here.line, there.line)
    except Unclear:
        return True


def _shared(frames: Sequence[Frame], step: Sequence[Frame]) -> int | None:
    """The innermost frame that calls the training step, too."""
    codes = {frame.code for frame in step}
    return next((number for number, frame in enumerate(frames) if frame.code in codes), None)


def _understood(sets: Sequence[ByHand], recording: Recording, pattern: Pattern, where: Where) -> HandRates:
    if any(one.key != "lr" for one in sets):
        raise Unclear("only learning rates are followed")
    if any(event.kind == "schedule" for event in recording.events):
        raise Unclear("a schedule steps, too")
    chain = [frame.code for frame in sets[-1].frames], sets[-1].frames[0].line
    clock = Clock.of(recording)
    alike = [one for one in sets if ([frame.code for frame in one.frames], one.frames[0].line) == chain]
    if any(clock.steps[one.at] for one in sets if one not in alike):
        raise Unclear("it is set in several places")
    every, imports, rates = _how_often(alike, clock, recording), set[str](), []
    for group, first in enumerate(recording.steps[0].options):
        own = {clock.steps[one.at]: one for one in alike if one.group == group}
        text, more = f"return {literal(first['lr'])}", set[str]()
        if own:
            text, more = _rate(own, group, every, clock, recording, pattern)
        rates.append(text)
        imports |= more
    return HandRates(tuple(rates), tuple(sorted(imports)), every, where)


def _how_often(sets: Sequence[ByHand], clock: Clock, recording: Recording) -> str:
    """Before each step, or before each epoch."""
    when = sorted({clock.steps[one.at] for one in sets})
    last = max(when)
    if last and set(range(1, last + 1)) <= set(when) and last >= clock.steps[-1] - 1:
        if recording.training_loader and not 0 < clock.length <= last:
            raise Unclear("no second epoch was seen")
        return STEP
    if not clock.length or last < clock.length:
        raise Unclear("no second epoch was seen")
    if any(count % clock.length for count in when) or len(when) < last // clock.length:
        raise Unclear("it is set neither before each step nor before each epoch")
    return EPOCH


def _rate(
    sets: dict[int, ByHand], group: int, every: str, clock: Clock, recording: Recording, pattern: Pattern
) -> tuple[str, set[str]]:
    """The body of a group's rate, and the imports that it needs. ``sets``: the last one before each step."""
    if pattern.accumulate > 1 and every == STEP:
        raise Unclear("gradients of several batches make a step")
    steps = list(sets)
    if every == EPOCH:
        counters = Counters(EPOCH, {EPOCH: [step // clock.length for step in steps]})
    else:
        counters = Counters(STEP, _kinds(steps, clock.length))
    frames = [one.frames for one in sets.values()]
    shared = _shared(frames[0], recording.step_frames)
    if shared is None:
        raise Unclear("how it comes about is not seen")
    reader = Reader(list(zip(*frames, strict=True)), shared, counters, recording.steps[0].options[group], group)
    text = body_of(reader.read("lr"), reader.names, every)
    first = recording.steps[0].options[group]["lr"]
    (rate,) = HandRates((text,), tuple(reader.imports), every, ("", 1)).functions()
    for step, one in sets.items():
        count = step // clock.length if every == EPOCH else step
        if _value(rate, count) != one.value:
            raise Unclear(f"what it computes is {_value(rate, count)} before step {step + 1}, and the script sets {one.value}")
    if _value(rate, 0) != first:
        text = f"if {every} == 0:\n    return {literal(first)}\n{text}"
    return text, reader.imports


def _value(rate: Any, count: int) -> Any:
    try:
        return rate(count)
    except Exception as exc:
        return f"{type(exc).__name__}: {exc}"


def _kinds(steps: Sequence[int], length: int) -> dict[str, list[int]]:
    """What may count how before these steps; after a step, an epoch's counters are still that step's."""
    found = {STEP: list(steps)}
    if length:
        found |= {f"{STEP} // {length}": [step // length for step in steps]}
        found |= {f"{STEP} % {length}": [step % length for step in steps]}
        found |= {f"({STEP} - 1) // {length}": [(step - 1) // length for step in steps]}
        found |= {f"({STEP} - 1) % {length}": [(step - 1) % length for step in steps]}
    return found
