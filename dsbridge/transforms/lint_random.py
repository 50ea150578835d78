"""What goes wrong between MindSpore's operations: one seed for all, threads that share a generator, modes that stick."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence

from dsbridge.report import Finding
from dsbridge.transforms.lint_rules import EITHER, NATIVE, OWN_SAMPLER, PYTHON, Place, is_flexible

# 32-bit words of the generator that a row takes. Generators that start alike and step alike stay in lock-step.
_WORDS: dict[str, int] = {
    **dict.fromkeys(("RandomHorizontalFlip", "RandomVerticalFlip", "RandomInvert", "RandomEqualize", "RandomAutoContrast"), 2),
    **dict.fromkeys(("RandomAdjustSharpness", "RandomApply", "RandomCrop", "RandomSolarize"), 2),
    **dict.fromkeys(("RandomHorizontalFlipWithBBox", "RandomVerticalFlipWithBBox", "RandomCropWithBBox"), 2),
    **dict.fromkeys(("RandomChoice", "RandomRotation", "RandomColor", "RandomSharpness", "RandomPosterize"), 1),
    **dict.fromkeys(("RandomResize", "RandomResizeWithBBox"), 1),
}
_OTHERS = ("CutOut", "RandAugment", "TrivialAugmentWide", "AutoAugment", "UniformAugment", "MixUpBatch", "CutMixBatch")


def draws(place: Place) -> bool:
    """Whether an operation is random as it is set."""
    settled = getattr(place.op, "prob", 0.5) in (0, 1) and place.name not in (
        "CutMixBatch",
        "RandomErasing",
        "RandomPerspective",
    )
    return (place.name.startswith("Random") or place.name in _OTHERS) and not settled


def gait(place: Place) -> Hashable:
    """How an operation steps through its generator: those of one gait are known to correlate under one seed."""
    op, name = place.op, place.name
    if name == "CutOut":
        return 2 * int(op.num_patches)
    if name == "RandAugment":
        return 2 * int(op.num_ops)
    if name == "RandomColorAdjust":
        moving = sum(low != high for low, high in (op.brightness, op.contrast, op.saturation, op.hue))
        return 3 if moving == 1 else (name, moving)
    if name == "RandomSelectSubpolicy":
        return 3 if all(len(chain) == 1 for chain in op.policy) else name
    if name == "UniformAugment":
        return name, op.num_ops
    return _WORDS.get(name, name.removesuffix("WithBBox"))


def _places(group: Iterable[Place]) -> str:
    return "; ".join(place.where for place in group)


def shared_seed(places: Sequence[Place]) -> Iterator[Finding]:
    """Native random operations that start from one seed (trap A): those of one gait decide each other."""
    native = [place for place in places if place.mode == NATIVE and not place.eager and draws(place)]
    scopes: dict[Hashable, list[Place]] = defaultdict(list)
    for number, place in enumerate(native):
        # A set seed starts every generator of the pipeline; without one those of a map start alike, but nothing in a container.
        scopes["all" if place.seeded else ("nested", number) if place.nested else place.map].append(place)
    for scope in scopes.values():
        steps: dict[Hashable, list[Place]] = defaultdict(list)
        for place in scope:
            steps[gait(place), place.gates].append(place)
        for group in steps.values():
            if len(group) > 1:
                yield Finding(
                    "shared-seed",
                    "error",
                    _places(group),
                    f"these {len(group)} start from one seed and step alike, so that one decides the other: "
                    "correlation 1.00 for two flips, .9 for a crop's row and a flip",
                    f"{OWN_SAMPLER}; or ToPIL() first, one worker, and no native random operation",
                )
        if len(steps) > 1:
            yield Finding(
                "shared-seed",
                "info",
                _places(group[0] for group in steps.values()),
                "these start from one seed but step differently: little or no dependence was measured (Cramer's V below .3)",
                OWN_SAMPLER,
            )


def eager(places: Sequence[Place]) -> Iterator[Finding]:
    """Native random operations that are built anew for every call (trap B): under a seed each call draws the same."""
    for place in places:
        if place.eager and place.mode in (NATIVE, EITHER) and draws(place):
            sure = place.seeded and place.mode == NATIVE
            yield place.finding(
                "eager-random",
                "error" if sure else "warning",
                f"{place.name} is called from Python here, which seeds it anew each time: "
                "with a seed set, 300 rows had 1 distinct crop",
                "put it into the list of a map without python_multiprocessing, or give it PIL images",
            )


def threads(places: Sequence[Place]) -> Iterator[Finding]:
    """Random operations in Python on several threads (trap C), which take turns at Python's one generator."""
    drawing = [p for p in places if p.mode == PYTHON and p.map and not p.processes and draws(p)]
    several = len({place.map for place in drawing}) > 1
    for place in drawing:
        if several or place.workers > 1:
            count = f"{place.workers} threads" if place.workers > 1 else "the threads of several maps"
            yield place.finding(
                "thread-random",
                "warning",
                f"{place.name} draws from Python's random on {count}: with one seed, 4 runs gave 4 results",
                "put all of them into one map with num_parallel_workers=1, or python_multiprocessing=True",
            )


def shared_operations(places: Sequence[Place]) -> Iterator[Finding]:
    """Operations in two places, or used before: MindSpore writes the mode of the first use into the object."""
    uses: dict[int, list[Place]] = defaultdict(list)
    for place in places:
        if place.mode != EITHER and is_flexible(place.op, place.name):
            uses[id(place.op)].append(place)
    for group in uses.values():
        wrong = len({place.previous for place in group}) > 1 or any(place.mode != place.previous for place in group)
        if len(group) > 1 or wrong:
            message = "one object in several places" if len(group) > 1 else f"was used before and stays {group[0].mode}"
            yield Finding(
                "shared-op",
                "error" if wrong else "warning",
                _places(group),
                f"{message}: its first use fixes it to native or PIL mode, and in the other mode it fails",
                "make a new one for each place",
            )


ACROSS = (shared_seed, eager, threads, shared_operations)
