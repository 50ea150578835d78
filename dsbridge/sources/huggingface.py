"""Hugging Face datasets: samples with the dtypes their features declare."""

from __future__ import annotations

from typing import Any

import numpy as np

from dsbridge.errors import SchemaError
from dsbridge.frameworks.detect import is_instance
from dsbridge.schema.dtypes import lookup


def is_dataset(value: Any) -> bool:
    """Whether a value is a map-style ``datasets.Dataset``; imports nothing.

    >>> is_dataset([])
    False
    """
    if is_instance(value, "datasets.dataset_dict.DatasetDict", "datasets.dataset_dict.IterableDatasetDict"):
        raise SchemaError(f"a DatasetDict holds several datasets: {list(value)}", hint="wrap one split: ds['train']")
    return is_instance(value, "datasets.arrow_dataset.Dataset")


class TypedRows:
    """A Hugging Face dataset without a format, its numbers in the declared dtypes.

    Left alone it hands out Python numbers, so that a float32 feature would arrive as float64. A dataset
    with a format ("torch", "numpy", a transform) decides for itself and is used as it is.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self._dtypes = {name: _dtype(feature) for name, feature in dataset.features.items()}

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {name: _typed(value, self._dtypes.get(name)) for name, value in self.dataset[index].items()}


def typed(dataset: Any) -> Any:
    """The dataset itself if it has a format of its own, else ``TypedRows`` of it."""
    return dataset if dataset.format["type"] is not None else TypedRows(dataset)


def _dtype(feature: Any) -> Any:
    """The numpy dtype a feature declares; a dict of them for a nested one; None for text, images and the like."""
    if isinstance(feature, dict):
        return {name: _dtype(inner) for name, inner in feature.items()}
    if isinstance(feature, list):
        return _dtype(feature[0]) if feature else None
    inner = getattr(feature, "feature", None)  # List, LargeList, Sequence
    if inner is not None:
        found = _dtype(inner)
        return None if isinstance(found, dict) else found
    try:
        row = lookup(getattr(feature, "dtype", None))
    except SchemaError:
        return None
    return row.numpy if row.numpy.kind in "biuf" else None


def _typed(value: Any, dtype: Any) -> Any:
    if value is None or dtype is None:
        return value
    if isinstance(dtype, dict):
        return {key: _typed(inner, dtype.get(key)) for key, inner in value.items()} if isinstance(value, dict) else value
    try:
        return np.asarray(value, dtype=dtype)
    except (TypeError, ValueError):  # a null inside, or ragged: the schema check names the column
        return value
