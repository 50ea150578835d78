"""Which module of a torch model stands for which cell of a MindSpore network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from dsbridge.checkpoint.align import align
from dsbridge.errors import CheckpointError

WRAPPERS = ("_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module")
"""Children that are no step of a path: what torch.compile, activation checkpoints and FSDP put around a module."""

_LARGEST = 4_000_000

Pairs = dict[str, tuple[Any, Any, str]]
"""torch path -> (module, cell, cell path)."""


def modules(root: Any) -> dict[str, Any]:
    """Every module of a torch Module or a MindSpore Cell by path, the root as "", shared ones at each of their paths.

    >>> modules(object())
    {'': <object object at 0x...>}
    """
    return dict(_walk(root, ""))


def _walk(module: Any, path: str) -> Iterator[tuple[str, Any]]:
    children = getattr(module, "_modules", None) or getattr(module, "_cells", None) or {}
    inner = next((children[name] for name in WRAPPERS if name in children), None)
    if inner is not None:
        yield from _walk(inner, path)
        return
    yield path, module
    for name, child in children.items():
        if child is not None:
            yield from _walk(child, f"{path}.{name}" if path else name)


def pairs(model: Any, network: Any, paths: Mapping[str, str] | None = None) -> Pairs:
    """Modules of a torch model and a MindSpore network that belong together: torch path -> (module, cell, cell path).

    ``paths``: torch path -> cell path where they differ; what lies below such a module is matched below that cell. A cell named
    there is that module's alone: another one of its path has no pair.
    Raises ``CheckpointError`` for a path that is not there.

    >>> list(pairs(object(), object()))
    ['']
    """
    ours, theirs = modules(network), modules(model)
    paths = paths or {}
    for side, known, given in (("model", theirs, paths), ("network", ours, paths.values())):
        absent = [path for path in given if path not in known]
        if absent:
            raise CheckpointError(f"the {side} has no module {', '.join(map(repr, absent))}", hint="see named_modules()")
    found, named = {}, set(paths.values())
    for path, module in theirs.items():
        place = _place(path, paths)
        if place in ours and (path in paths or place not in named):
            found[path] = (module, ours[place], place)
    return found


def _place(path: str, paths: Mapping[str, str]) -> str:
    at, rest = path, ""
    while at:
        if at in paths:
            return f"{paths[at]}{rest}" if paths[at] else rest[1:]
        at, dot, last = at.rpartition(".")
        rest = f".{last}{rest}" if dot else rest
    return path


def pairs_by_order(model: Any, network: Any, matched: Pairs, alike: Callable[[Any, Any], bool]) -> Pairs:
    """Modules without a pair whose place between paired ones says what they are: aligned in definition order.

    ``alike``: whether a module and a cell are of one kind. Only pairs that every longest alignment has; none where there are
    more than 4 million pairs to look at (about 2 s).

    >>> pairs_by_order(object(), object(), {}, lambda module, cell: False)
    {}
    """
    places = {path: place for path, (_, _, place) in matched.items()}
    taken = set(places.values())
    left = [(path, module) for path, module in modules(model).items() if path]
    right = [(place, cell) for place, cell in modules(network).items() if place]

    def fits(a: tuple[str, Any], b: tuple[str, Any]) -> bool:
        if a[0] in places or b[0] in taken:
            return places.get(a[0]) == b[0]
        return alike(a[1], b[1])

    left = [one for one in left if one[0] in places or any(alike(one[1], other[1]) for other in right)]
    if len(left) * len(right) > _LARGEST:
        return {}
    certain, _ = align(left, right, fits)
    found = [(left[i], right[j]) for i, j in certain if left[i][0] not in places]
    return {path: (module, cell, place) for (path, module), (place, cell) in found}
