"""Samples for the parity tests: each maker gives the sample of a dataset index, as a pure function of it."""

from __future__ import annotations

import array
import dataclasses
from collections import OrderedDict, UserDict, defaultdict, deque, namedtuple
from types import MappingProxyType
from typing import Any

import ml_dtypes
import numpy as np
import torch
from PIL import Image

Point = namedtuple("Point", ["x", "label"])


@dataclasses.dataclass
class Record:
    """A dataclass sample."""

    image: Any
    label: int


class Opaque:
    """An object no collate knows; equal to its copies."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Opaque) and other.number == self.number

    __hash__ = None  # type: ignore[assignment]


TORCH_DTYPES = (
    *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32, torch.uint64),
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128),
)
NUMPY_DTYPES = ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16")


def tensor(i: int, *shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """A tensor whose values depend on the index."""
    count = int(np.prod(shape)) if shape else 1
    return (torch.arange(count) * 7 + i * 13 % 31).reshape(shape).to(dtype)


def ndarray(i: int, *shape: int, dtype: str = "f4") -> np.ndarray[Any, Any]:
    """The same as an array."""
    return ((np.arange(int(np.prod(shape))) * 5 + i * 11) % 29).reshape(shape).astype(dtype)


def _nested(i: int) -> dict[str, Any]:
    box = {"xy": (i, i + 0.5), "tags": [f"t{i}", b"raw%d" % i]}
    return {"image": tensor(i, 2, 3), "meta": {"id": i, "box": box, "np": ndarray(i, 2)}, 7: True}


def _grad(i: int) -> torch.Tensor:
    return tensor(i, 3).requires_grad_()


def _special(i: int) -> torch.Tensor:
    return torch.tensor([float("nan"), float("inf"), -float("inf"), -0.0, 1e-45, i], dtype=torch.float32)


def _default(i: int) -> defaultdict[str, Any]:
    return defaultdict(list, x=tensor(i, 2), y=i)


GOOD: dict[str, Any] = {
    "bare": lambda i: tensor(i, 2, 3),
    "pair": lambda i: (tensor(i, 1, 4), i),
    "triple": lambda i: (tensor(i, 2), ndarray(i, 3), f"name{i}"),
    "nested": _nested,
    "namedtuple": lambda i: Point(tensor(i, 3), i % 3),
    "list": lambda i: [tensor(i, 2), i, 0.25 * i],
    "list of ints": lambda i: [i, i + 1],
    "text": lambda i: f"é{i}",
    "bytes": lambda i: {"raw": b"\x00%d" % i, "s": np.str_(i)},
    "tensor dtypes": lambda i: tuple(tensor(i, 3, dtype=d) for d in TORCH_DTYPES),
    "array dtypes": lambda i: [ndarray(i, 2, 2, dtype=d) for d in NUMPY_DTYPES],
    "scalar dtypes": lambda i: tuple(np.dtype(d).type(i % 5) for d in NUMPY_DTYPES),
    "python scalars": lambda i: {"i": i - 3, "f": i / 3, "b": i % 2 == 0},
    "complex": lambda i: tensor(i, 2, dtype=torch.complex64).conj(),
    "bf16": lambda i: (torch.randn(4, generator=torch.Generator().manual_seed(i)).bfloat16(), tensor(i, dtype=torch.bfloat16)),
    "fp8": lambda i: tensor(i, 4).to(torch.float8_e4m3fn),
    "0-d": lambda i: (tensor(i).reshape(()), ndarray(i, 1).reshape(())),
    "empty": lambda i: (torch.empty(0, 3), np.empty((2, 0), "i4")),
    "big": lambda i: (tensor(i, 300_000), tensor(i, 2)),
    "big nested": lambda i: {"a": tensor(i, 64, 64, 64, dtype=torch.float64).transpose(0, 2), "b": (ndarray(i, 600_000), i)},
    "big bf16": lambda i: tensor(i, 700_000, dtype=torch.bfloat16),
    "big grad": lambda i: tensor(i, 300_000).requires_grad_(),
    "big mixed": lambda i: tensor(i, 300_000, dtype=torch.float64 if i % 3 == 1 else torch.float32),
    "grad": _grad,
    "transposed": lambda i: tensor(i, 3, 4).t(),
    "image, permuted": lambda i: tensor(i, 4, 5, 3).permute(2, 0, 1),
    "channels last": lambda i: tensor(i, 2, 3, 4, 5).to(memory_format=torch.channels_last),
    "big channels last": lambda i: tensor(i, 2, 8, 100, 200).to(memory_format=torch.channels_last),
    "big permuted": lambda i: tensor(i, 300, 400, 3).permute(2, 0, 1),
    "expanded": lambda i: tensor(i, 1).expand(5),
    "fortran": lambda i: np.asfortranarray(ndarray(i, 3, 2)),
    "strided": lambda i: ndarray(i, 8)[::2],
    "mixed dtypes": lambda i: (tensor(i, 2, dtype=torch.int32 if i % 2 else torch.float64), i if i % 2 else float(i)),
    "mixed int bool": lambda i: i if i % 2 else True,
    "special floats": _special,
    "ordered": lambda i: OrderedDict(b=i, a=tensor(i, 2)),
    "defaultdict": _default,
    "userdict": lambda i: UserDict(a=i, b=tensor(i, 2)),
    "mappingproxy": lambda i: MappingProxyType({"a": i, "b": tensor(i, 2)}),
    "deque": lambda i: deque([tensor(i, 2), i]),
    "range": lambda i: range(i, i + 3),
    "bytearray": lambda i: bytearray([i % 256, 3]),
    "array.array": lambda i: array.array("i", [i, 2]),
    "empty tuple": lambda i: (),
    "empty dict": lambda i: {},
    "parameter": lambda i: torch.nn.Parameter(tensor(i, 2)),
    "keys in any order": lambda i: {"a": i, "b": 2 * i} if i % 2 else {"b": 2 * i, "a": i},
    "sizes": lambda i: torch.Size([i, 2]),
    "ints that need 64 bits": lambda i: (2**62 + i, -(2**63) + i),
}

_RAISE: dict[str, type[Exception]] = {
    "IndexError": IndexError,
    "KeyError": KeyError,
    "OSError": OSError,
    "ValueError": ValueError,
    "UnicodeError": UnicodeError,
}


class CustomError(Exception):
    """Takes two arguments, as many a user's exception does."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)
        self.code = code


def failing(name: str) -> Any:
    """A maker that raises for every fourth index."""

    def make(i: int) -> Any:
        if i % 4 == 2:
            raise _RAISE[name](f"no sample {i}") if name in _RAISE else CustomError(i, "custom")
        return tensor(i, 2)

    return make


class StopSample(Exception):
    """Stands for the StopIteration that a map-style dataset raises."""


def _stop(i: int) -> Any:
    if i % 4 == 2:
        raise StopIteration
    return i


# What does not collate in torch, or (the last group) not in the same way: deviations.py.
BAD: dict[str, Any] = {
    "ragged": lambda i: tensor(i, 2 + i % 2),
    "ragged arrays": lambda i: {"x": ndarray(i, 1 + i % 3), "y": i},
    "ragged ranks": lambda i: tensor(i, *([2] * (1 + i % 2))),
    "big ragged": lambda i: tensor(i, 300_000 + i % 2),
    "none": lambda i: None,
    "none inside": lambda i: (tensor(i, 2), None),
    "none sometimes": lambda i: None if i % 3 == 1 else i,
    "none among tensors": lambda i: None if i % 3 == 1 else tensor(i, 2),
    "lengths": lambda i: [i] * (1 + i % 2),
    "tuple lengths": lambda i: (i,) * (2 + i % 2),
    "namedtuple or tuple": lambda i: Point(i, 2) if i % 2 else (i, 2),
    "dict or int": lambda i: i if i % 3 == 1 else {"a": i},
    "list or int": lambda i: i if i % 3 == 1 else [i],
    "list or dict": lambda i: {"a": i} if i % 3 == 1 else [i],
    "dict or list": lambda i: [i] if i % 3 == 1 else {"a": i},
    "tensor or array": lambda i: ndarray(i, 2) if i % 2 else tensor(i, 2),
    "array or int": lambda i: ndarray(i, 2) if i % 2 else i,
    "int or text": lambda i: f"{i}" if i % 3 == 1 else i,
    "text or int": lambda i: i if i % 3 == 1 else f"{i}",
    "objects": lambda i: Opaque(i),
    "object array": lambda i: np.array([i, None], dtype=object),
    "text array": lambda i: np.array([f"{i}"]),
    "bytes array": lambda i: np.array([b"%d" % i]),
    "big endian": lambda i: ndarray(i, 3, dtype=">i4"),
    "negative stride": lambda i: ndarray(i, 3)[::-1],
    "structured": lambda i: np.array([(i, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
    "datetime": lambda i: np.array([i], dtype="M8[s]"),
    "longdouble": lambda i: np.array([i], dtype=np.longdouble),
    "ml_dtypes": lambda i: np.array([i], dtype=ml_dtypes.bfloat16),
    "complex number": lambda i: complex(i, 1),
    "huge int": lambda i: 2**70 + i,
    "set": lambda i: {i},
    "sparse": lambda i: tensor(i, 3).to_sparse(),
    "meta": lambda i: torch.empty(2, device="meta"),
    "packed": lambda i: torch.nn.utils.rnn.pack_sequence([tensor(i, 3), tensor(i, 2)]),
    **{f"raises {name}": failing(name) for name in (*_RAISE, "CustomError")},
    "stop": _stop,
    "masked": lambda i: np.ma.masked_array(ndarray(i, 3), [True, False, False]) if i % 3 == 1 else ndarray(i, 3),
    "masked inside": lambda i: {"x": np.ma.masked_array([i, 1], [False, True])},
    "image": lambda i: (Image.fromarray(ndarray(i, 4, 5, 3, dtype="u1")), i),
    "grey image": lambda i: Image.fromarray(ndarray(i, 4, 5, dtype="u1")),
    "dataclass": lambda i: Record(tensor(i, 2), i),
    "missing key": lambda i: {"a": i} if i % 3 == 2 else {"a": i, "b": 2},
    "extra key": lambda i: {"a": i, "b": 2} if i % 3 == 2 else {"a": i},
}
MAKERS = {**GOOD, **BAD}
