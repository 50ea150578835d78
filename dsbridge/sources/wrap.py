"""``dsbridge.wrap``: any dataset becomes a source that mindspore.dataset can use."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from dsbridge.errors import SchemaError
from dsbridge.frameworks.detect import is_instance, loaded
from dsbridge.sources import arrow, huggingface
from dsbridge.sources.iterable import IterableSource, SizedIterableSource
from dsbridge.sources.mapstyle import MapSource

Source = MapSource | IterableSource


def wrap(dataset: Any, column_names: Any = None, dtypes: Any = "keep") -> Source:
    """Wrap any dataset as a source for ``mindspore.dataset.GeneratorDataset``.

    ``dataset``: a torch Dataset of any kind, a list or other sequence, a Hugging Face Dataset, a pyarrow
    Table or dataset, the path of a Parquet or Arrow IPC file, an iterable, or a generator function.
    ``column_names``: replaces the names found by probing one sample (dict keys, fields, ``data`` and ``label``).
    ``dtypes``: "keep"; "mindspore" (float64 -> float32, integer labels -> int32); or ``{column: dtype}``.
    A label is an int64 column of scalars, or one whose name says so. bfloat16 always becomes float32.

    Returns a source with ``schema``, ``column_names``, ``structure``, ``report``; map-style ones have
    ``source[i]``, iterable ones are iterated. Rows are tuples of owned numpy arrays: valid for ever, shared
    with nobody. Probing one sample leaves the generators of torch, numpy and random as they were.

    Raises ``SampleError`` naming index and column for a sample that cannot be used, ``SchemaError`` for
    names or dtypes that do not fit, TypeError for what is no dataset.

    >>> source = wrap([{"image": [1.0, 2.0], "label": 3}])
    >>> print(source.schema)
    column  dtype    shape
    image   float64  2
    label   int64    scalar
    >>> source[0]
    (array([1., 2.]), array(3))
    """
    if isinstance(dataset, (MapSource, IterableSource)):
        dataset = dataset.dataset
    readable = as_dataset(dataset)
    if is_map_style(readable):
        return MapSource(readable, column_names, dtypes)
    if not (hasattr(readable, "__iter__") or callable(readable)):
        raise TypeError(
            f"cannot wrap {type(dataset).__qualname__}: a dataset has __getitem__ or __iter__. "
            "Hint: pass the dataset itself, not its class or path object"
        )
    kind = SizedIterableSource if _has_length(readable) else IterableSource
    return kind(readable, column_names, dtypes)


def as_dataset(dataset: Any) -> Any:
    """What to read samples from: adapters for Arrow, Parquet and Hugging Face, everything else itself.

    >>> as_dataset([1, 2])
    [1, 2]
    """
    if isinstance(dataset, (str, os.PathLike)):
        return arrow.open_path(dataset)
    if is_instance(dataset, "pyarrow.lib.Table"):
        return arrow.ArrowTable(dataset)
    if is_instance(dataset, "pyarrow._dataset.Dataset"):
        return arrow.ArrowTable(dataset.to_table())
    if huggingface.is_dataset(dataset):
        return huggingface.typed(dataset)
    if isinstance(dataset, type):
        raise TypeError(f"{dataset.__qualname__} is a class. Hint: pass an instance of it")
    if isinstance(dataset, Mapping):
        raise SchemaError(
            f"a dict is not a dataset; its keys are {list(dataset)[:5]}", hint="wrap one of its values, or a list of samples"
        )
    return dataset


def is_map_style(dataset: Any) -> bool:
    """Whether samples are read by index; torch's IterableDataset is not, though it inherits ``__getitem__``.

    >>> is_map_style([1]), is_map_style(iter([1]))
    (True, False)
    """
    if not hasattr(dataset, "__getitem__"):
        return False
    data = loaded("torch.utils.data")
    if data is not None:
        if isinstance(dataset, data.IterableDataset):
            return False
        inherited = getattr(type(dataset), "__getitem__", None) is data.Dataset.__getitem__
        if inherited and hasattr(dataset, "__iter__"):
            return False
    return True


def _has_length(dataset: Any) -> bool:
    try:
        len(dataset)
    except (TypeError, NotImplementedError):
        return False
    return True
