"""torch.Tensor <-> numpy, with the dtypes that numpy lacks and the layouts it cannot hold."""

from __future__ import annotations

from typing import Any

import numpy as np

from dsbridge.errors import SampleError
from dsbridge.frameworks.detect import loaded
from dsbridge.schema.dtypes import TABLE, DType

_EXTENDED: dict[str, DType] = {f"torch.{row.torch}": row for row in TABLE if row.is_extended and row.torch}
_BY_NUMPY = {row.numpy: row for row in _EXTENDED.values()}
_CARRIER = {1: "uint8", 2: "int16"}  # an integer dtype of the same width, known to torch and numpy


def is_tensor(value: Any) -> bool:
    """Whether a value is a torch.Tensor (or a subclass); imports nothing.

    >>> is_tensor(3)
    False
    """
    torch = loaded("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def is_plain(value: Any) -> bool:
    """Whether a value is a dense CPU torch.Tensor (no subclass) without gradients: a block of numbers.

    >>> is_plain([1])
    False
    """
    torch = loaded("torch")
    if torch is None or type(value) is not torch.Tensor:
        return False
    return value.device.type == "cpu" and not value.requires_grad and not why_not_numpy(value)


def why_not_numpy(tensor: Any) -> str:
    """Why a tensor cannot become one numpy array; empty if it can.

    >>> import torch
    >>> why_not_numpy(torch.ones(2).to_sparse())
    'a sparse tensor (torch.sparse_coo)'
    """
    if tensor.is_nested:
        return "a nested tensor"
    if tensor.is_quantized:
        return f"a quantised tensor ({tensor.dtype})"
    if tensor.layout is not loaded("torch").strided:  # type: ignore[union-attr]
        return f"a sparse tensor ({tensor.layout})"
    if tensor.device.type == "meta":
        return "a meta tensor, which has no data"
    return ""


_HINTS = {
    "a n": "pad it in a collate_fn",
    "a q": "call .dequantize() in the dataset",
    "a s": "call .to_dense() in the dataset",
    "a m": "materialise it before loading",
}


def to_numpy(tensor: Any) -> np.ndarray[Any, Any]:
    """A numpy view of a torch tensor (a copy only where torch must make one: other devices, conj, neg).

    Detached; conjugate and negative bits resolved; bfloat16 and fp8 come as ``ml_dtypes`` arrays.
    The array shares memory with the tensor and keeps it alive. Raises ``SampleError`` without a place
    for sparse, nested, quantised and meta tensors.

    >>> import torch
    >>> to_numpy(torch.ones(2, dtype=torch.bfloat16)).dtype
    dtype(bfloat16)
    """
    try:  # the usual case, in a third of the time of asking first
        return tensor.numpy()  # type: ignore[no-any-return]
    except (TypeError, RuntimeError):
        pass
    reason = why_not_numpy(tensor)
    if reason:
        raise SampleError("cannot become a numpy array", expected="a dense tensor", got=reason, hint=_HINTS[reason[:3]])
    tensor = tensor.detach().cpu().resolve_conj().resolve_neg()
    try:
        extended = _EXTENDED.get(str(tensor.dtype))
        if extended is not None:
            carrier = getattr(loaded("torch"), _CARRIER[extended.numpy.itemsize])
            return tensor.view(carrier).numpy().view(extended.numpy)  # type: ignore[no-any-return]
        return tensor.numpy()  # type: ignore[no-any-return]
    except (TypeError, RuntimeError) as exc:
        raise SampleError("cannot become a numpy array", got=f"a tensor of {tensor.dtype}", hint=str(exc)) from exc


def from_numpy(array: np.ndarray[Any, Any]) -> Any:
    """A torch tensor over a numpy array's memory; the inverse of ``to_numpy``.

    >>> import ml_dtypes
    >>> from_numpy(np.ones(2, ml_dtypes.bfloat16)).dtype
    torch.bfloat16
    """
    torch = loaded("torch")
    extended = _BY_NUMPY.get(array.dtype)
    if extended is not None:
        carrier = array.view(_CARRIER[extended.numpy.itemsize])
        return torch.from_numpy(carrier).view(getattr(torch, str(extended.torch)))  # type: ignore[union-attr]
    return torch.from_numpy(array)  # type: ignore[union-attr]
