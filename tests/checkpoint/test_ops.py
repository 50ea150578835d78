"""Operations: apply then inverse gives every bit back, shapes are what apply makes, misfits are refused."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsbridge.checkpoint.ops import (
    OPERATIONS,
    Cast,
    Concat,
    Const,
    Drop,
    ExpandDims,
    FoldSpectralNorm,
    FoldWeightNorm,
    Permute,
    Split,
    Squeeze,
    Stack,
    UnfoldWeightNorm,
    Unstack,
    arguments,
    reverse,
    spelled,
    through,
)
from dsbridge.checkpoint.rows import Operation
from dsbridge.errors import CheckpointError
from dsbridge.schema.dtypes import numpy_dtype

DTYPES = ("float32", "float16", "bfloat16", "float64", "int64", "uint8", "bool", "complex64", "float8_e4m3fn")


def _array(shape: tuple[int, ...], dtype: str, seed: int) -> np.ndarray:
    """Random bits: NaN payloads and -0.0 included (bool: 0 and 1)."""
    kind = numpy_dtype(dtype)
    random = np.random.default_rng(seed)
    size = prod(shape) * kind.itemsize
    raw = random.integers(0, 2 if dtype == "bool" else 256, size, dtype=np.uint8)
    return np.frombuffer(raw.tobytes(), kind).reshape(shape)


def _bits(array: np.ndarray) -> tuple[Any, ...]:
    return array.shape, array.dtype, array.tobytes()


@st.composite
def cases(draw: st.DrawFn) -> tuple[Operation, tuple[tuple[int, ...], ...]]:
    """An operation that has an inverse, and shapes that it takes; axes of length 0 and 1 included."""
    shape = tuple(draw(st.lists(st.integers(0, 4), min_size=1, max_size=4)))
    axis = draw(st.integers(0, len(shape) - 1))
    kind = draw(st.sampled_from(["expand", "squeeze", "permute", "split", "parts", "concat", "stack", "unstack"]))
    if kind == "expand":
        axes = sorted(draw(st.sets(st.integers(0, len(shape)), min_size=1, max_size=2)))
        return ExpandDims(tuple(axes)), (shape,)
    if kind == "squeeze":
        return Squeeze((axis,)), ((*shape[:axis], 1, *shape[axis:]),)
    if kind == "permute":
        return Permute(tuple(draw(st.permutations(range(len(shape)))))), (shape,)
    if kind in ("split", "concat"):
        sizes = tuple(draw(st.lists(st.integers(0, 3), min_size=1, max_size=3)))
        if kind == "split":
            return Split(axis, sizes), ((*shape[:axis], sum(sizes), *shape[axis + 1 :]),)
        return Concat(axis), tuple((*shape[:axis], size, *shape[axis + 1 :]) for size in sizes)
    if kind == "parts":
        return Split(axis - len(shape), 2), ((*shape[:axis], 2 * shape[axis], *shape[axis + 1 :]),)
    if kind == "stack":
        return Stack(axis), (shape,) * draw(st.integers(1, 3))
    return Unstack(axis), ((*shape[:axis], shape[axis] + 1, *shape[axis + 1 :]),)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(case=cases(), dtype=st.sampled_from(DTYPES), seed=st.integers(0, 2**32 - 1))
def test_inverse_gives_every_bit_back(case: tuple[Operation, tuple[tuple[int, ...], ...]], dtype: str, seed: int) -> None:
    operation, shapes = case
    arrays = tuple(_array(shape, dtype, seed + at) for at, shape in enumerate(shapes))
    made = operation.apply(arrays)
    assert tuple(array.shape for array in made) == operation.shapes(shapes)
    assert all(array.dtype == numpy_dtype(dtype) for array in made)
    inverse = operation.inverse(shapes)
    assert inverse is not None
    assert list(map(_bits, inverse.apply(made))) == list(map(_bits, arrays))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(case=cases())
def test_what_does_not_move_bytes_does_not(case: tuple[Operation, tuple[tuple[int, ...], ...]]) -> None:
    operation, shapes = case
    if not operation.moves_bytes:
        array = _array(shapes[0], "float32", 1)
        assert operation.apply((array,))[0].tobytes() == array.tobytes()


def test_chains_reverse_in_order() -> None:
    steps: tuple[Operation, ...] = (ExpandDims((1,)), Permute((2, 1, 0)), Split(0, (1, 2)))
    arrays = (_array((4, 3), "float32", 0),)
    made = arrays
    for step in steps:
        made = step.apply(made)
    assert tuple(array.shape for array in made) == through(steps, ((4, 3),))
    for step in reverse(steps, ((4, 3),)) or ():
        made = step.apply(made)
    assert list(map(_bits, made)) == list(map(_bits, arrays))
    assert reverse((*steps[:1], Cast("float16", "float32")), ((4, 3),)) is None


def test_zero_dimensional_stays_so() -> None:
    array = np.array(3, np.int64)
    made = ExpandDims((0,)).apply((array,))
    assert made[0].shape == (1,)
    assert Squeeze((0,)).apply(made)[0].shape == ()
    assert Cast("float64", "int32").apply((np.array(2, np.int32),))[0].shape == ()
    assert Const(0, (), "int64").apply(())[0].shape == ()


def test_bfloat16_keeps_nan_payloads_and_negative_zero() -> None:
    """All 65536 patterns to float32 and back."""
    values = np.arange(1 << 16, dtype=np.uint16).view(numpy_dtype("bfloat16"))
    wide = Cast("float32", "bfloat16").apply((values,))[0]
    back = Cast("bfloat16", "float32").apply((wide,))[0]
    assert back.tobytes() == values.tobytes()
    strided = Cast("float32", "bfloat16").apply((values[::-3],))[0]
    assert strided.tobytes() == wide[::-3].tobytes()


def test_casts_know_whether_they_lose() -> None:
    lossless = [("bfloat16", "float32"), ("float16", "float32"), ("float32", "float64"), ("int32", "int64"), ("bool", "uint8")]
    for source, dtype in lossless:
        assert not Cast(dtype, source).lossy, (source, dtype)
        assert Cast(source, dtype).lossy
        assert Cast(source, dtype).inverse(((2,),)) is None
        values = np.array([0, 1, 1, 0]).astype(numpy_dtype(source))
        back = Cast(dtype, source).inverse(((4,),))
        assert back is not None and _bits(back.apply(Cast(dtype, source).apply((values,)))[0]) == _bits(values)
    assert Cast("float16", "bfloat16").lossy and Cast("bfloat16", "float16").lossy and Cast("float32", "int32").lossy
    with pytest.raises(CheckpointError, match=r"a tensor of float32, expected float16"):
        Cast("float32", "float16").apply((np.ones(2, np.float32),))


def test_rounding_to_bfloat16_is_to_nearest_even() -> None:
    values = np.array([1.00390625, 1.01171875, 3.0e38, -0.0], np.float32)
    assert Cast("bfloat16", "float32").apply((values,))[0].tobytes() == values.astype(numpy_dtype("bfloat16")).tobytes()


def test_constants() -> None:
    raw = np.arange(6, dtype=np.int64).tobytes()
    made = Const(raw, (2, 3), "int64").apply(())[0]
    assert made.shape == (2, 3) and made.tobytes() == raw
    inverse = Const(1.0, (2,), "bfloat16").inverse(())
    assert inverse == Drop() and inverse.apply((made,)) == ()
    assert Drop().inverse(((2,),)) is None and Drop().shapes(((2,),)) == ()
    with pytest.raises(CheckpointError, match="48 bytes for int64"):
        Const(raw, (2, 2), "int64")


def test_folded_norms_are_those_of_the_shape() -> None:
    random = np.random.default_rng(0)
    v = random.standard_normal((3, 4, 2)).astype(np.float32)
    for axes, g_shape in (((1, 2), (3, 1, 1)), ((0, 2), (1, 4, 1)), ((0, 1, 2), ())):
        g = random.standard_normal(g_shape).astype(np.float32) if g_shape else np.array(2, np.float32)
        want = v * (g / np.sqrt((v.astype(np.float64) ** 2).sum(axes, keepdims=True)))
        made = FoldWeightNorm().apply((g, v))[0]
        assert made.dtype == np.float32 and np.abs(made - want).max() < 1e-6
        unfolded = UnfoldWeightNorm(g_shape).apply((made,))
        assert tuple(array.shape for array in unfolded) == (g_shape, v.shape)
        assert FoldWeightNorm().inverse((g_shape, v.shape)) == UnfoldWeightNorm(g_shape)
        assert np.abs(FoldWeightNorm().apply(unfolded)[0] - made).max() < 1e-6
    u = np.array([1.0, 0.0, 0.0])
    w = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert np.allclose(FoldSpectralNorm(0).apply((w, u, np.array([0, 1.0, 0, 0])))[0], w / w[0, 1])
    assert FoldSpectralNorm(0).inverse(((3, 4), (3,), (4,))) is None


@pytest.mark.parametrize(
    ("operation", "shapes", "message"),
    [
        (Squeeze((0,)), ((2, 1),), "axis 0 of shape (2, 1) is not of length 1"),
        (ExpandDims((4,)), ((2,),), "axis 4 of a tensor of 1 dimensions"),
        (Permute((0, 0)), ((2, 2),), "no order of the axes"),
        (Permute((1, 0)), ((2, 2), (2, 2)), "takes one tensor, got 2"),
        (Split(0, 3), ((4,),), "does not part into 3 equal ones"),
        (Split(0, (1, 2)), ((4,),), "do not add up"),
        (Split(0, (5, -1)), ((4,),), "do not add up"),
        (Split(2, 2), ((4,),), "axis 2 of a tensor of 1 dimensions"),
        (Concat(0), ((2, 3), (2, 4)), "differ beside axis 0"),
        (Concat(0), (), "no tensors"),
        (Stack(0), ((2,), (3,)), "are not one"),
        (FoldWeightNorm(), ((3, 1), (4, 2)), "does not belong"),
        (FoldSpectralNorm(0), ((3, 4), (4,), (3,)), "do not belong"),
        (FoldSpectralNorm(2), ((3, 4), (4,), (3,)), "dim 2"),
        (UnfoldWeightNorm((3, 1)), ((4, 2),), "does not belong"),
    ],
)
def test_misfits_are_refused(operation: Operation, shapes: tuple[tuple[int, ...], ...], message: str) -> None:
    import re

    with pytest.raises(CheckpointError, match=re.escape(message)):
        operation.shapes(shapes)
    with pytest.raises(CheckpointError):
        operation.apply(tuple(np.zeros(shape, np.float32) for shape in shapes))


def test_dtypes_are_not_widened_silently() -> None:
    arrays = (np.ones(2, np.float32), np.ones(2, np.float64))
    for operation in (Concat(0), Stack(0)):
        with pytest.raises(CheckpointError, match="float32, float64 differ"):
            operation.apply(arrays)


def test_reprs_are_constructor_calls() -> None:
    samples: list[Operation] = [
        ExpandDims((1,)),
        Squeeze((1,)),
        Permute((1, 0)),
        Split(0, (1, 2)),
        Split(0, 3),
        Concat(0),
        Stack(1),
        Unstack(0),
        Cast("float32", "bfloat16"),
        Const(1.0, (2,), "float32"),
        Const(b"ab", (2,), "uint8"),
        Drop(),
        FoldWeightNorm(),
        UnfoldWeightNorm((2, 1)),
        FoldSpectralNorm(1),
    ]
    assert {type(sample) for sample in samples} == set(OPERATIONS.values())
    for sample in samples:
        assert eval(repr(sample)) == sample
        assert OPERATIONS[spelled(sample)](**arguments(sample)) == sample
