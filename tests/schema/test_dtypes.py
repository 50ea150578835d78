"""dtypes: one row per dtype, whoever names it, and values that survive every conversion bit for bit."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pyarrow as pa
import pytest
import torch
from mindspore.common import dtype as mstype

import dsbridge as dsb
from dsbridge.frameworks import mindspore_tensors, torch_tensors
from dsbridge.schema.dtypes import TABLE, lookup, numpy_dtype, plain_name

NUMERIC = [row for row in TABLE if row.numpy.kind not in "US"]
IN_TORCH = [row for row in NUMERIC if row.torch]
IN_MINDSPORE = [row for row in NUMERIC if row.mindspore and not row.name.startswith("float8")]
NAMES = {"ids": lambda row: row.name}


def _values(row: Any) -> np.ndarray[Any, Any]:
    """Every bit pattern of a narrow dtype; limits, zeros, nan and infinities of a wide one."""
    width = row.numpy.itemsize
    if row.name == "bool":
        return np.array([True, False])
    if width <= 2:
        return np.arange(256**width, dtype=f"u{width}").view(row.numpy)
    if row.numpy.kind in "iu":
        limits = np.iinfo(row.numpy)
        return np.array([limits.min, limits.max, 0, 1, limits.max - 1], row.numpy)
    limits = np.finfo(row.numpy)
    real = [limits.min, limits.max, limits.tiny, limits.smallest_subnormal, 0.0, -0.0, np.nan, np.inf, -np.inf, limits.eps]
    if row.numpy.kind == "c":
        return np.array([complex(a, b) for a in real for b in real], row.numpy)
    return np.array(real, row.numpy)


def _bits(array: np.ndarray[Any, Any]) -> bytes:
    return bytes(array.tobytes())


@pytest.mark.parametrize("row", TABLE, **NAMES)
def test_every_spelling(row: Any) -> None:
    """numpy's, torch's, mindspore's, arrow's and safetensors' names and objects lead to the one row."""
    spellings: list[Any] = [row, row.name, row.numpy, row.numpy.type]
    if row.torch:
        spellings += [getattr(torch, row.torch), f"torch.{row.torch}"]
    if row.mindspore:
        found = getattr(mstype, row.mindspore, None)
        spellings += [found] if found is not None else []
        spellings.append(f"mindspore.{row.mindspore}")
    if row.arrow:
        spellings += [row.arrow, pa.type_for_alias(row.arrow), str(pa.type_for_alias(row.arrow))]
    if row.safetensors:
        spellings.append(row.safetensors)
    if row.numpy.kind not in "US" and not row.is_extended:
        spellings.append(row.numpy.newbyteorder(">"))
    for spelling in spellings:
        assert lookup(spelling) is row, spelling
    assert numpy_dtype(spellings[-1]) == row.numpy


@pytest.mark.parametrize(
    ("python", "name"), [(int, "int64"), (float, "float64"), (bool, "bool"), (str, "str"), (bytes, "bytes")]
)
def test_python_types(python: type, name: str) -> None:
    """Python's types mean what numpy and torch take them for."""
    assert lookup(python).name == name


@pytest.mark.parametrize("unknown", ["float7", np.dtype("M8[s]"), np.dtype("O"), np.longdouble, None, 3, object])
def test_unknown(unknown: Any) -> None:
    """What is no dtype of the table is a SchemaError that lists those there are."""
    with pytest.raises(dsb.SchemaError, match="bfloat16"):
        lookup(unknown)


def test_plain_names() -> None:
    """Text has no length in its name."""
    assert [plain_name(np.dtype(d)) for d in ("<U5", "S3", ">i4", "?")] == ["str", "bytes", "int32", "bool"]
    assert plain_name(np.dtype(ml_dtypes.bfloat16)) == "bfloat16"


def test_what_mindspore_dataset_carries() -> None:
    """mindspore.dataset has no bf16, fp8 or complex."""
    refused = {row.name for row in TABLE if not row.in_mindspore_dataset}
    assert refused == {"bfloat16", "complex64", "complex128"} | {row.name for row in TABLE if row.name.startswith("float8")}


@pytest.mark.parametrize("row", IN_TORCH, **NAMES)
def test_numpy_to_torch_and_back(row: Any) -> None:
    """Every value survives numpy -> torch -> numpy, in torch's dtype, without a copy."""
    values = _values(row)
    tensor = torch_tensors.from_numpy(values)
    assert str(tensor.dtype) == f"torch.{row.torch}"
    back = torch_tensors.to_numpy(tensor)
    assert back.dtype == row.numpy
    assert _bits(back) == _bits(values)
    assert np.shares_memory(back, values)


@pytest.mark.parametrize("row", IN_TORCH, **NAMES)
def test_torch_to_numpy_and_back(row: Any) -> None:
    """Every value survives torch -> numpy -> torch, also 0-d, strided and empty."""
    raw = torch.from_numpy(_values(row).view(np.uint8)).view(getattr(torch, row.torch))
    for tensor in (raw, raw[0], raw[::2], raw[:0], raw[:4].reshape(2, 2).t() if len(raw) >= 4 else raw):
        array = torch_tensors.to_numpy(tensor)
        assert (array.dtype, array.shape) == (row.numpy, tuple(tensor.shape))
        assert _bits(array) == tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes()
        again = torch_tensors.from_numpy(array)
        assert (again.dtype, again.shape) == (tensor.dtype, tensor.shape)


@pytest.mark.parametrize("row", IN_MINDSPORE, **NAMES)
def test_mindspore_and_back(row: Any) -> None:
    """Every value survives numpy -> mindspore -> numpy."""
    values = _values(row)
    if row.name == "bfloat16":  # nan comes back as the one nan: MindSpore has no other way out than float32
        values = np.where(np.isnan(values.astype(np.float32)), row.numpy.type(np.nan), values)
        values = np.where(np.isnan(values.astype(np.float32)) & np.signbit(values.astype(np.float32)), values[0], values)
    tensor = mindspore_tensors.from_numpy(values.copy())
    assert str(tensor.dtype).lower() == row.mindspore
    back = mindspore_tensors.to_numpy(tensor)
    assert back.dtype == row.numpy
    assert _bits(back) == _bits(values)


@pytest.mark.parametrize("row", IN_MINDSPORE, **NAMES)
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)])
def test_torch_through_a_loader_to_mindspore(row: Any, shape: tuple[int, ...]) -> None:
    """A torch tensor of every dtype and rank arrives as a mindspore tensor with its bits."""
    if not row.torch:
        pytest.skip("torch has no such dtype")
    tensor = torch.arange(6)[: int(np.prod(shape))].reshape(shape).to(getattr(torch, row.torch))
    got = next(iter(dsb.DataLoader([tensor], batch_size=None)))
    assert str(got.dtype).lower() == row.mindspore
    back = mindspore_tensors.to_numpy(got)
    assert back.shape == shape
    assert _bits(back) == _bits(torch_tensors.to_numpy(tensor))


@pytest.mark.parametrize("row", [row for row in NUMERIC if row.name.startswith("float8")], **NAMES)
def test_fp8_is_refused_by_mindspore(row: Any) -> None:
    """MindSpore on a CPU cannot hold fp8; numpy can."""
    with pytest.raises(dsb.SampleError, match="fp8"):
        mindspore_tensors.from_numpy(_values(row))


@pytest.mark.parametrize(
    ("tensor", "match"),
    [
        (torch.ones(2).to_sparse(), "sparse"),
        (torch.ones(2, device="meta"), "meta"),
        (torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged), "nested"),
    ],
)
def test_tensors_that_are_no_array(tensor: Any, match: str) -> None:
    """Sparse, meta and nested tensors are a SampleError with a hint."""
    with pytest.raises(dsb.SampleError, match=rf"{match}.*Hint"):
        torch_tensors.to_numpy(tensor)


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.tensor([1 + 2j, 3 - 1j]).conj(),
        lambda: torch.tensor([1 + 2j, 3 - 1j]).conj().imag,
        lambda: torch.ones(3, requires_grad=True),
        lambda: torch.nn.Parameter(torch.ones(3).bfloat16()),
    ],
)
def test_conjugates_and_gradients(make: Any) -> None:
    """Conjugate and negative bits are resolved, gradients detached."""
    tensor = make()
    array = torch_tensors.to_numpy(tensor)
    assert array.astype(np.complex128).tolist() == tensor.detach().resolve_conj().resolve_neg().to(torch.complex128).tolist()
