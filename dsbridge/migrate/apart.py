"""One recorded step, from the state that torch had before it: in float64, in float32, without clipping, beside a tie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from dsbridge.migrate.recording import Recording
from dsbridge.migrate.replay import Arrays, How, Materials, Point, Run, materials, one_step
from dsbridge.model import oracle

NUDGES, NUDGE = 2, 3e-7  # how often, and how far (relative) weights are moved to see what rounding may do
BESIDE, SIZES = 24, 3  # how many gradients beside a tie are tried, at one, two and three times that: a nudge may miss one tie


@dataclass(slots=True)
class Apart:
    """A step in torch.

    ``before``: weights; ``optimizer``: as it was before the step; ``later``: as float64 has it after the step, with options
    as they are and as float32 holds them; ``names``: of all their parameters, by id; ``exact``: the step in float64;
    ``others``: in float32 (the first), and in float64 from weights a little away; they are held against ``plain``, which is
    ``exact`` but where that is ``beside`` a tie; ``after``: weights after it, "exact", and "unclipped" where gradients are
    clipped.
    """

    before: Arrays
    optimizer: Any
    later: tuple[Any, Any]
    names: dict[int, str]
    exact: Point
    plain: Point
    others: list[Point]
    after: dict[str, Arrays] = field(default_factory=dict)

    def off(self, what: str) -> float:
        """How far torch's own runs are from float64, relative: of "loss", "gradients", or of the step that leads to "after".

        "averages": of the step that they take.
        """
        return max(_off(what, self.plain, other, self.before) for other in self.others)

    def off_state(self) -> float:
        """The same of what the optimizer has gathered after the step: the slot that is furthest off."""
        slots = {slot for found in self.plain.later.values() for slot in found}
        return max((_slot_off(self.plain, other, slot) for other in self.others for slot in slots), default=0.0)


@dataclass(frozen=True, slots=True)
class Nudge:
    """Weights moved by ``size`` (relative); ``back``: they are back in place when the optimizer steps."""

    size: float
    seed: int
    back: bool = False


def apart(recording: Recording, point: Point, number: int) -> Apart:
    """Take the step again, in other ways."""
    found = _apart(recording, point, number)
    nudges = (Nudge(NUDGE, seed) for seed in range(1, NUDGES + 1))
    found.others += [point, *(_again(recording, point, number, nudge)[0] for nudge in nudges)]
    return found


def beside(recording: Recording, number: int, found: Apart, fits: Callable[[Arrays], bool]) -> Apart | None:
    """The step with the gradient that a rounding of the weights would give, if one fits that ``found`` does not have.

    An input of a ReLU that is within rounding of zero is passed by one framework and not by the other: then the gradient of
    one is the other's at weights a rounding away. None if none of ``BESIDE`` gradients fits. What torch's own are off, by
    which errors are judged, stays what it is.
    """
    single = found.others[0]
    for seed in range(1, BESIDE + 1):
        nudge = Nudge(NUDGE * (1 + seed % SIZES), NUDGES + seed, back=True)
        if fits(_again(recording, single, number, nudge)[0].gradients):
            return replace(_apart(recording, single, number, nudge), plain=found.plain, others=found.others)
    return None


def _apart(recording: Recording, point: Point, number: int, nudge: Nudge | None = None) -> Apart:
    live = materials(recording)
    _put(live, point, torch.float32)
    exact, later = _again(recording, point, number, nudge)
    _, single = _again(recording, point, number, nudge, rounded=True)
    after = {"exact": exact.after}
    if recording.steps[number].clips:
        after["unclipped"] = _again(recording, point, number, nudge, clipped=False)[0].after
    names = {**live.names, **later.names, **single.names}
    return Apart(point.before, live.optimizer, (later.optimizer, single.optimizer), names, exact, exact, [], after)


def _again(
    recording: Recording, point: Point, number: int, nudge: Nudge | None = None, clipped: bool = True, rounded: bool = False
) -> tuple[Point, Materials]:
    dtype = torch.float64
    live = materials(recording)
    _put(live, point, dtype)
    if nudge is not None:
        held = [parameter.detach().clone() for parameter in live.step.parameters()]
        oracle.shake(live.step, nudge.size, nudge.seed)
        if nudge.back:
            live.optimizer.register_step_pre_hook(lambda *_: _back(live, held))
    oracle.no_depth(live.step)
    for group, options in zip(live.optimizer.param_groups, point.options, strict=True):
        group.update({key: _single(value) if rounded else value for key, value in options.items() if key in group})
    step = recording.steps[number] if clipped else replace(recording.steps[number], clips=[])
    run = Run()
    mode = oracle.NoDropout(wide=True)
    with torch.random.fork_rng(devices=[]), oracle.default_dtype(dtype), torch.enable_grad(), mode:
        live.optimizer.zero_grad()
        one_step(live, step, number, How(dtype, points=(number,)), run)
    return run.points[number], live


def _back(live: Materials, held: list[torch.Tensor]) -> None:
    with torch.no_grad():
        for parameter, value in zip(live.step.parameters(), held, strict=True):
            parameter.copy_(value)


def _single(option: Any) -> Any:
    """An option as float32 holds it: of 1 - beta2, that is a part in 1e5."""
    if isinstance(option, tuple):
        return tuple(map(_single, option))
    return float(np.float32(option)) if isinstance(option, float) else option


def _put(live: Materials, point: Point, dtype: torch.dtype) -> None:
    """Weights, statistics and the optimizer's state of a point."""
    live.step.to(dtype)
    held = dict((*live.step.named_parameters(), *live.step.named_buffers()))
    with torch.no_grad():
        for name, array in point.before.items():
            held[name].copy_(torch.from_numpy(array))
    named = dict(live.step.named_parameters())
    if live.averages:
        live.averages.averaged.to(dtype)
        live.averages.put(live.averaged, point.averages[0], point.averaged)
    for name, slots in point.state.items():
        live.optimizer.state[named[name]] = {
            key: torch.from_numpy(array.copy()).to(dtype if array.dtype.kind == "f" and key != "step" else torch.float32)
            for key, array in slots.items()
        }


def _off(what: str, exact: Point, other: Point, before: Arrays) -> float:
    if what == "loss":
        return abs(other.loss - exact.loss) / (abs(exact.loss) or 1.0)
    if what == "averages":
        (start, ours), (own, theirs) = exact.averages, other.averages
    else:
        ours, theirs = getattr(exact, what), getattr(other, what)
        start = before if what == "after" else {}
        own = other.before if what == "after" else {}
    off = size = 0.0
    for name, array in ours.items():
        moved = array - start.get(name, 0.0)
        off += float(np.linalg.norm(theirs[name] - own.get(name, 0.0) - moved)) ** 2
        size += float(np.linalg.norm(moved)) ** 2
    return float(np.sqrt(off / size)) if size else float(np.sqrt(off))


def _slot_off(exact: Point, other: Point, slot: str) -> float:
    held = [(found[slot], other.later[name][slot]) for name, found in exact.later.items() if slot in found]
    size = sum(float(np.linalg.norm(ours)) ** 2 for ours, _ in held)
    off = sum(float(np.linalg.norm(theirs - ours)) ** 2 for ours, theirs in held)
    return float(np.sqrt(off / size)) if size else float(np.sqrt(off))
