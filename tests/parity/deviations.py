"""Where dsbridge promises something else than torch: API.md, section 2, "Deliberate deviations", all of them.

The parity test gives torch a collate_fn that does what dsbridge promises, so that nothing else is excused.
(The fifth one, promotion of mixed dtypes, is about worker processes: in one process torch promotes as well. In a worker
torch stacks into shared memory of the first sample's dtype: it casts, or raises.)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from samples import Record
from torch.utils.data import default_convert
from torch.utils.data._utils import collate as torch_collate

# sample maker -> what torch does: an exception's name, "ends early" or "collates"
TABLE = {
    "stop": "ends early",
    "masked": "collates",
    "masked inside": "collates",
    "image": "TypeError",
    "grey image": "TypeError",
    "dataclass": "TypeError",
    "missing key": "KeyError",
    "extra key": "collates",
}


class Refused(RuntimeError):
    """What stands for ``dsbridge.SampleError``, a RuntimeError, on torch's side."""


def _stack(batch: Any, *, collate_fn_map: Any = None) -> Any:
    mixed = len({getattr(tensor, "dtype", None) for tensor in batch}) > 1
    return torch.stack(batch, 0) if mixed else torch_collate.collate_tensor_fn(batch, collate_fn_map=collate_fn_map)


def default_collate(samples: Any) -> Any:
    """torch's default_collate, but tensors of mixed dtypes are promoted in workers, too."""
    return torch_collate.collate(samples, collate_fn_map={**torch_collate.default_collate_fn_map, torch.Tensor: _stack})


def collate(samples: list[Any]) -> Any:
    """torch's default_collate with the deviations built in."""
    first = samples[0]
    if not any(map(_concerned, samples)):
        return default_collate(samples)
    if any(isinstance(sample, np.ma.MaskedArray) for sample in samples):
        raise Refused("masked")
    if isinstance(first, Image.Image):
        return default_collate([np.array(sample) for sample in samples])
    if isinstance(first, Mapping):
        if any(isinstance(sample, Mapping) and sample.keys() != first.keys() for sample in samples):
            raise Refused("keys")
        columns = {key: collate([sample[key] for sample in samples]) for key in first}
        return columns if type(first) is dict else default_collate(samples)
    if dataclasses.is_dataclass(first):
        names = [field.name for field in dataclasses.fields(first)]
        return dataclasses.replace(first, **{name: collate([getattr(s, name) for s in samples]) for name in names})
    if type(first) in (list, tuple):
        return [collate(list(column)) for column in zip(*samples, strict=True)]
    return default_collate(samples)


def convert(sample: Any) -> Any:
    """torch's default_convert, but a masked array is an error."""
    if _holds(sample, np.ma.MaskedArray):
        raise Refused("masked")
    return default_convert(sample)


def _concerned(sample: Any) -> bool:
    return _holds(sample, (Mapping, Image.Image, np.ma.MaskedArray, Record))


def _holds(sample: Any, kinds: Any) -> bool:
    """Whether a sample is one of these or, at any depth, holds one."""
    if isinstance(sample, kinds):
        return True
    values = sample.values() if isinstance(sample, Mapping) else sample
    return isinstance(sample, (Mapping, list, tuple)) and any(_holds(value, kinds) for value in values)
