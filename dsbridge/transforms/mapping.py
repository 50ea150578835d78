"""Inside ds.map: the stage that runs a program on a row, and the hidden column that brings its key."""

from __future__ import annotations

import itertools
import os
from typing import Any

from dsbridge.errors import TransformError
from dsbridge.sources.locate import locate
from dsbridge.transforms.program import NO_EPOCH, Program
from dsbridge.transforms.randomness import Draws, Key
from dsbridge.transforms.stage import describe

KEY_COLUMN = "__dsb_key"
"""int64 [3]: epoch, dataset index, how often the index came before in the epoch."""


class KeyedMap:
    """(image, key) -> (image, key): for ds.map over the column and the hidden one."""

    def __init__(self, program: Program) -> None:
        self._program = program

    def __call__(self, image: Any, key: Any) -> Any:
        epoch, index, occurrence = key.tolist()
        try:
            return checked(self._program.image(image, Draws(self._program.seed, Key(epoch, index, occurrence)))), key
        except TransformError as exc:
            raise locate(exc, index) from exc.__cause__


class LoneMap:
    """image -> image, for ds.map without a key: a counter stands in for it.

    In a process that was forked from the one that made it, the process's id joins the seed: the counters of two
    workers would give the same numbers otherwise.
    """

    def __init__(self, program: Program) -> None:
        self._program, self._pid, self._count = program, os.getpid(), itertools.count()

    def __call__(self, image: Any) -> Any:
        pid = os.getpid()
        key = Key(NO_EPOCH, next(self._count), 0 if pid == self._pid else pid)
        return checked(self._program.image(image, Draws(self._program.seed, key)))

    def __reduce__(self) -> Any:
        return LoneMap, (self._program,)


def checked(image: Any) -> Any:
    """The result as one array; ``TransformError`` for several images, which a column cannot hold."""
    if isinstance(image, tuple):
        raise TransformError(
            f"the pipeline returns {len(image)} images (first: {describe(image[0])}), a column holds one. "
            "Hint: end it with a function that stacks them"
        )
    return image


def wire(dataset: Any, column: str, stage: KeyedMap, map_arguments: dict[str, Any]) -> Any:
    """``dataset.map(stage)`` with the hidden column let in before and taken out behind."""
    keyed = getattr(_leaf(dataset), "keyed", None)
    if keyed is None:
        raise TransformError(
            "apply needs a dataset made by dsbridge.to_mindspore, whose rows carry epoch and index. "
            "Hint: to_mindspore(your torch dataset), or ds.map(operations=t.operations, input_columns=...)"
        )
    names = list(dataset.get_col_names())
    if column not in names:
        raise TransformError(f"no column {column!r}; the dataset has {', '.join(names)}")
    if map_arguments.get("num_parallel_workers") == 0:
        return _leaf(dataset).transformed(dataset, column, stage, KEY_COLUMN)
    tree = keyed(dataset, KEY_COLUMN)
    return tree.map(stage, [column, KEY_COLUMN], **clamped(map_arguments)).project(names)


def clamped(map_arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments for ds.map, with no more workers than cores: MindSpore refuses those.

    >>> clamped({"num_parallel_workers": 10_000})["num_parallel_workers"] == os.cpu_count()
    True
    """
    workers = map_arguments.get("num_parallel_workers")
    if workers is None:
        return map_arguments
    return map_arguments | {"num_parallel_workers": max(1, min(workers, os.cpu_count() or 1))}


def _leaf(dataset: Any) -> Any:
    while getattr(dataset, "children", None):
        dataset = dataset.children[0]
    return dataset
