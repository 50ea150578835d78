"""torchvision's and torch's containers, and its presets: what they hold, and how they choose."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from dsbridge.transforms.ops.containers import RandomApply, RandomChoice, RandomOrder, Sequence
from dsbridge.transforms.torchvision import presets
from dsbridge.transforms.torchvision.names import V1, V2

Contents = tuple[Any, Iterable[Any]]


def _sequence(original: Any) -> Contents:
    return Sequence(), original.transforms


def _modules(original: Any) -> Contents:
    return Sequence(), original._modules.values()


def _apply(original: Any) -> Contents:
    return RandomApply(p=float(original.p)), original.transforms


def _choice(original: Any) -> Contents:
    return RandomChoice(p=None if original.p is None else tuple(map(float, original.p))), original.transforms


def _order(original: Any) -> Contents:
    return RandomOrder(), original.transforms


CONTAINERS: dict[str, Callable[[Any], Contents]] = {
    f"{V1}.Compose": _sequence,
    f"{V1}.RandomApply": _apply,
    f"{V1}.RandomChoice": _choice,
    f"{V1}.RandomOrder": _order,
    f"{V2}._container.Compose": _sequence,
    f"{V2}._container.RandomApply": _apply,
    f"{V2}._container.RandomChoice": _choice,
    f"{V2}._container.RandomOrder": _order,
    "torch.nn.modules.container.Sequential": _modules,
    "torch.nn.modules.container.ModuleList": _modules,
    **presets.CONTENTS,
}
"""Qualified class name -> instance -> (how it chooses, its children)."""
