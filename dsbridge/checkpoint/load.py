"""A checkpoint into a MindSpore network, strictly: every name, shape and dtype fits, or nothing is loaded."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dsbridge.checkpoint.formats.registry import open_checkpoint
from dsbridge.checkpoint.stored import Checkpoint, Stored
from dsbridge.errors import CheckpointError
from dsbridge.frameworks.detect import require_mindspore
from dsbridge.frameworks.mindspore_tensors import assign, from_numpy
from dsbridge.report import Report
from dsbridge.schema.dtypes import lookup

SHOWN = 20
"""How many names an error message lists."""


@dataclass(frozen=True, slots=True)
class Place:
    """A parameter or persistent buffer of a network: every structural path that leads to it, and its own name."""

    value: Any
    paths: tuple[str, ...]
    name: str

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape; () for 0-d."""
        return tuple(self.value.shape)

    @property
    def dtype(self) -> str:
        """The dtype by the name of the schema's table."""
        return lookup(self.value.dtype).name


def places(network: Any) -> list[Place]:
    """All parameters and persistent buffers of a Cell, each once.

    ``name`` is ``Parameter.name``, which MindSpore's ``save_checkpoint`` writes; a buffer has only its path.

    >>> places(object())
    []
    """
    found: dict[int, tuple[Any, list[str], str]] = {}
    for path, name, value in _walk(network, ""):
        found.setdefault(id(value), (value, [], name))[1].append(path)
    return [Place(value, tuple(paths), name) for value, paths, name in found.values()]


def _walk(cell: Any, path: str) -> Iterator[tuple[str, str, Any]]:
    for name, parameter in (getattr(cell, "_params", None) or {}).items():
        if parameter is not None:
            yield path + name, parameter.name, parameter
    hidden = getattr(cell, "_non_persistent_buffers_set", ())
    for name, buffer in (getattr(cell, "_buffers", None) or {}).items():
        if buffer is not None and name not in hidden:
            yield path + name, path + name, buffer
    for name, child in (getattr(cell, "_cells", None) or {}).items():
        if child is not None:
            yield from _walk(child, f"{path}{name}.")


def load(path: str | os.PathLike[str] | Checkpoint, network: Any) -> Report:
    """Load every tensor of a file into the network's parameters and persistent buffers, by path or by Parameter.name.

    Which of the two is decided for the whole file. Raises ``CheckpointError`` for missing and unexpected names, names that two
    parameters share, other shapes and other dtypes (nothing is cast), before anything is changed. A file that cannot be read
    to its end leaves the network partly loaded, and the error says so.
    """
    require_mindspore("loading into a network")
    checkpoint = path if isinstance(path, Checkpoint) else open_checkpoint(Path(path))
    known = places(network)
    spelling, matched = _match(checkpoint, known)
    _check_values(checkpoint, matched)
    _check_tied(checkpoint, matched)
    done = 0
    try:
        for place, names in matched:
            _set(place, checkpoint.tensors[names[0]])
            done += 1
    except (OSError, CheckpointError) as exc:
        message = f"{exc}; {done} of {len(matched)} tensors were loaded before"
        raise CheckpointError(message, hint="do not use this network; load an intact file into it") from exc
    report = Report(f"{checkpoint.path}: {len(matched)} tensors loaded by {spelling}")
    for _, names in matched:
        if len(names) > 1:
            report.add("tied", "info", names[0], f"one parameter, {len(names)} equal tensors in the file: {', '.join(names)}")
    return report


Matched = list[tuple[Place, tuple[str, ...]]]


def _match(checkpoint: Checkpoint, known: list[Place]) -> tuple[str, Matched]:
    """By the spelling with fewer errors, the path where both have none."""
    by_path = {path: place for place in known for path in place.paths}
    by_name = {place.name: place for place in known}
    attempts = [("path", by_path), ("Parameter.name", by_name)]
    spelling, places_by = min(attempts, key=lambda attempt: sum(map(len, _unfit(checkpoint.tensors, attempt[1]))))
    missing, unexpected = _unfit(checkpoint.tensors, places_by)
    if len(by_name) < len(known) and spelling == "Parameter.name":
        shared = sorted({one.name for one in known if by_name[one.name] is not one})
        raise CheckpointError(
            f"{checkpoint.path} is written by Parameter.name, and {len(shared)} names belong to two parameters each: "
            f"{_listed(shared)}",
            hint="give the parameters of the network unique names, or convert the file with the network at hand",
        )
    if missing or unexpected:
        raise _unfit_error(checkpoint, spelling, places_by, missing, unexpected)
    names: dict[int, list[str]] = {}
    for name in checkpoint.tensors:
        names.setdefault(id(places_by[name]), []).append(name)
    return spelling, [(place, tuple(names[id(place)])) for place in known]


def _unfit(names: Iterable[str], places_by: Mapping[str, Place]) -> tuple[list[str], list[str]]:
    """Names of places that no tensor fills (the first path of each), and names that are no place's."""
    held = set(names)
    filled = {id(place) for name, place in places_by.items() if name in held}
    missing = {id(place): name for name, place in reversed(list(places_by.items())) if id(place) not in filled}
    return list(missing.values())[::-1], [name for name in names if name not in places_by]


def _unfit_error(
    checkpoint: Checkpoint, spelling: str, places_by: Mapping[str, Place], missing: list[str], unexpected: list[str]
) -> CheckpointError:
    candidates = {name: _nearest(name, places_by[name].shape, unexpected, checkpoint) for name in missing}
    lines = [
        f"{checkpoint.path} does not fit the network by {spelling}: {len(missing)} missing, {len(unexpected)} unexpected",
        *(f"  missing: {name}{_or_rather(candidates[name])}" for name in missing[:SHOWN]),
        *(f"  unexpected: {name}" for name in unexpected[:SHOWN]),
    ]
    if max(len(missing), len(unexpected)) > SHOWN:
        lines.append(f"  ... only the first {SHOWN} of each are shown")
    return CheckpointError(
        "\n".join(lines),
        unmatched=unexpected,
        missing=missing,
        candidates={name: close for name, close in candidates.items() if close},
        hint="convert the file for this network (dsbridge convert), which also drops what it has no use for",
    )


def _nearest(name: str, shape: tuple[int, ...], others: Iterable[str], checkpoint: Checkpoint) -> list[str]:
    same = [other for other in others if checkpoint.tensors[other].shape == shape]
    return difflib.get_close_matches(name, same, n=3, cutoff=0)


def _or_rather(names: list[str]) -> str:
    return f" (in the file, of equal shape: {', '.join(names)})" if names else ""


def _listed(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def _check_values(checkpoint: Checkpoint, matched: Matched) -> None:
    """Before ``set_data``, which takes other shapes silently."""
    wrong = []
    for place, names in matched:
        for name in names:
            stored = checkpoint.tensors[name]
            if (stored.shape, stored.dtype) != (place.shape, place.dtype):
                wrong.append(
                    f"  {name}: {stored.dtype}{list(stored.shape)} in the file, {place.dtype}{list(place.shape)} in the network"
                )
    if wrong:
        more = [f"  ... and {len(wrong) - SHOWN} more"] if len(wrong) > SHOWN else []
        first = f"{checkpoint.path}: {len(wrong)} tensors have another shape or dtype than the network's"
        raise CheckpointError("\n".join([first, *wrong[:SHOWN], *more]), hint="nothing is reshaped or cast; convert the file")


def _check_tied(checkpoint: Checkpoint, matched: Matched) -> None:
    for _, names in matched:
        first, *others = (checkpoint.tensors[name] for name in names)
        for other in others:
            if other.tied_to not in names and first.read().tobytes() != other.read().tobytes():
                raise CheckpointError(
                    f"{checkpoint.path}: {first.name!r} and {other.name!r} differ, and are one parameter in the network",
                    hint="the file is of a model whose weights are not tied; untie the network's or drop one",
                )


def _set(place: Place, stored: Stored) -> None:
    array = stored.read()
    array = array if array.flags.c_contiguous else np.array(array, order="C")
    if hasattr(place.value, "set_data"):
        assign(place.value, array)
    else:
        place.value.assign_value(from_numpy(array))
