"""Datasets that run transforms of their own: finding these, and putting the translation where the original was."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dsbridge.frameworks.detect import is_instance
from dsbridge.pipeline.indices import KeyedIndex
from dsbridge.transforms.fallback import to_theirs
from dsbridge.transforms.program import as_key
from dsbridge.transforms.randomness import Draws, Key
from dsbridge.transforms.translation import Translation

_VISION = "torchvision.datasets.vision.VisionDataset"
_PARTS = {  # torch's own wrappers, and where they keep what they wrap
    "torch.utils.data.dataset.Subset": "dataset",
    "torch.utils.data.dataset.ConcatDataset": "datasets",
}


_current = threading.local()


def current_key() -> Key | None:
    """The key of the sample that this thread is loading from a ``KeyedDataset``."""
    return getattr(_current, "key", None)


class KeyedDataset:
    """A map-style dataset that tells the transforms inside it which sample they work on."""

    wants_keys = True

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, KeyedIndex):
            _current.key = Key(index.epoch, int(index), index.occurrence)
        try:
            return self.dataset[int(index)]
        finally:
            _current.key = None


class KeyedTransform:
    """A translation in the place of the original transform: takes and returns what that did, keyed by the sample."""

    def __init__(self, translation: Translation) -> None:
        self.translation = translation

    def __call__(self, image: Any) -> Any:
        program = self.translation.program
        draws = Draws(program.seed, as_key(current_key()))
        return to_theirs(program.raw(image, draws), copy=False)

    def __repr__(self) -> str:
        return repr(self.translation)


@dataclass(frozen=True, slots=True)
class Found:
    """A transform inside a dataset: ``owner`` has it as attribute ``name``; ``path`` is for reports."""

    owner: Any
    name: str
    path: str
    transform: Any


def find_transforms(dataset: Any, name: str | None = None) -> list[Found]:
    """The transforms of a dataset's images. ``name``: the attribute to take in a class that is not known.

    Known are torchvision's datasets (their ``transform``), alone or inside Subset and ConcatDataset.
    """
    found: list[Found] = []
    for owner, path in _walk(dataset, "dataset"):
        if name is not None and hasattr(owner, name):
            attribute = name
        elif is_instance(owner, _VISION) and type(owner).__module__.startswith("torchvision."):
            attribute = "transform"
        else:
            continue
        transform = getattr(owner, attribute, None)
        if transform is not None:
            found.append(Found(owner, attribute, f"{path}.{attribute}", transform))
    return found


def _walk(dataset: Any, path: str) -> Iterator[tuple[Any, str]]:
    yield dataset, path
    for kind, attribute in _PARTS.items():
        if is_instance(dataset, kind):
            inner = getattr(dataset, attribute)
            parts = inner if isinstance(inner, list) else [inner]
            for number, part in enumerate(parts):
                yield from _walk(part, f"{path}.{attribute}" + (f"[{number}]" if isinstance(inner, list) else ""))


def replaced(dataset: Any, transforms: dict[int, Any]) -> Any:
    """A shallow copy of a dataset in which owners (by id) have another transform; None takes it out.

    The user's dataset is left alone; what it keeps (files, arrays) is shared.
    """
    clone = dataset
    if id(dataset) in transforms:
        name, transform = transforms[id(dataset)]
        clone = copy.copy(dataset)
        clone.__dict__[name] = transform
        if "transforms" in clone.__dict__ and is_instance(clone, _VISION):
            clone.__dict__["transforms"] = _joint(clone)
    for kind, attribute in _PARTS.items():
        if is_instance(dataset, kind):
            inner = getattr(dataset, attribute)
            parts = [replaced(part, transforms) for part in (inner if isinstance(inner, list) else [inner])]
            if any(a is not b for a, b in zip(parts, inner if isinstance(inner, list) else [inner], strict=True)):
                clone = copy.copy(clone)
                setattr(clone, attribute, parts if isinstance(inner, list) else parts[0])
    return clone


def _joint(dataset: Any) -> Any:
    """torchvision's pair of transform and target_transform, made anew: some of its datasets call it instead of them."""
    old = dataset.__dict__["transforms"]
    if old is None or type(old).__name__ != "StandardTransform":
        return old
    return type(old)(dataset.transform, dataset.target_transform)
