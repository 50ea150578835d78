"""Traps of group A: what a dataset returns, and what must arrive in MindSpore."""

from __future__ import annotations

import collections
import dataclasses
import threading
from typing import Any

import mindspore
import mindspore.dataset as mds
import ml_dtypes
import numpy as np
import pytest
import torch
from helpers import Items, Stream, epochs, firsts, rows

import dsbridge as dsb


def delivered(*samples: Any, **options: Any) -> list[tuple[np.ndarray, ...]]:
    """Rows as they arrive through to_mindspore, checked to be the same through a plain GeneratorDataset."""
    ours = rows(dsb.to_mindspore(Items(list(samples)), **options))
    source = dsb.wrap(Items(list(samples)), **options)
    plain = rows(mds.GeneratorDataset(source, source.column_names, shuffle=False))
    assert len(ours) == len(plain) == len(samples)
    for ours_row, plain_row in zip(ours, plain, strict=True):
        for a, b in zip(ours_row, plain_row, strict=True):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype
    return ours


def refused(sample: Any, good: Any = None) -> dsb.SampleError:
    """The error for a bad sample, first in the dataset or (if ``good`` is given) third."""
    samples = [sample] if good is None else [good, good, sample]
    with pytest.raises(dsb.SampleError) as caught:
        rows(dsb.to_mindspore(Items(samples)))
    assert caught.value.index == len(samples) - 1
    assert f"sample {len(samples) - 1}" in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("value", "dtype", "content"),
    [
        (3, "int64", 3),
        (1.1, "float64", 1.1),
        (True, "bool", True),
        ("wörd", "<U4", "wörd"),
        (b"bin", "|S3", b"bin"),
        (np.int64(4), "int64", 4),
        (np.float32(1.5), "float32", 1.5),
        (np.bool_(False), "bool", False),
        (np.str_("np"), "<U2", "np"),
        (torch.ones(2, 2), "float32", [[1, 1], [1, 1]]),
        (torch.tensor([1, 2], dtype=torch.uint8), "uint8", [1, 2]),
        (torch.tensor(True), "bool", True),
    ],
)
def test_t1_values_that_are_no_arrays_arrive(value: Any, dtype: str, content: Any) -> None:
    """Python and numpy scalars, text and tensors arrive with torch's dtypes, on numpy 2 too."""
    (array, _), *_ = delivered((value, 0))
    assert array.dtype == np.dtype(dtype)
    assert array.tolist() == content


def test_t1_lists_and_nested_tuples_arrive() -> None:
    """A list of numbers in a sample is one vector, a nested tuple its leaves."""
    assert [a.tolist() for a in delivered(([1, 2, 3], (4, (5.5, "x"))))[0]] == [[1, 2, 3], 4, 5.5, "x"]


def test_t2_the_first_operation_of_a_process_works(run_python) -> None:  # type: ignore[no-untyped-def]
    """The first MindSpore operation on a batch of ours works, and nothing is printed about it."""
    done = run_python(
        """
        import dsbridge as dsb
        batch = next(iter(dsb.DataLoader([1.5, 2.5], batch_size=2)))
        print((batch + 1).asnumpy().tolist())
        """
    )
    assert (done.returncode, done.stdout) == (0, "[2.5, 3.5]\n"), done.stderr
    assert "numpy" not in done.stderr


@pytest.mark.parametrize("shape", [(1, 3), (2, 3), (), (0,)])
def test_t3_a_bare_tensor_is_one_column(shape: tuple[int, ...]) -> None:
    """A bare tensor is one column of its own shape; it is never iterated over."""
    tensor = torch.arange(float(np.prod(shape))).reshape(shape)
    ((array,),) = delivered(tensor)
    np.testing.assert_array_equal(array, tensor.numpy())
    assert array.shape == shape


BF16 = [1.0, -2.5, 3.140625, float("inf"), 1e-38]


@pytest.mark.parametrize(
    "sample",
    [
        torch.tensor(BF16, dtype=torch.bfloat16),
        np.array(BF16, ml_dtypes.bfloat16),
    ],
    ids=["torch", "ml_dtypes"],
)
def test_t4_bfloat16_becomes_float32_exactly_and_is_reported(sample: Any) -> None:
    """mindspore.dataset has no bf16: float32 with the same values, said in the report; float16 never."""
    dataset = dsb.to_mindspore([sample])
    ((array,),) = rows(dataset)
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, np.array(BF16, ml_dtypes.bfloat16).astype(np.float32))
    (finding,) = dataset.report
    assert (finding.code, finding.where) == ("cast", "data")
    assert "bfloat16 becomes float32" in finding.message


def test_t4_bfloat16_stays_bfloat16_in_a_loader() -> None:
    """DataLoader has no such limit and keeps bfloat16."""
    sample = torch.tensor([1.0, -2.5], dtype=torch.bfloat16)
    (batch,) = dsb.DataLoader([sample, sample], batch_size=2)
    assert batch.dtype == mindspore.bfloat16
    assert batch.astype(mindspore.float32).asnumpy().tolist() == [[1.0, -2.5]] * 2


def test_t5_mindspore_tensors_are_samples_too() -> None:
    """A mindspore.Tensor arrives as it is, a bfloat16 one as float32."""
    plain, brain = mindspore.Tensor(np.arange(3, dtype=np.int16)), mindspore.Tensor([1.5, 2.5], mindspore.bfloat16)
    a, b = delivered((plain, brain))[0]
    assert (a.dtype, a.tolist()) == (np.int16, [0, 1, 2])
    assert (b.dtype, b.tolist()) == (np.float32, [1.5, 2.5])


def test_t6_gradients_and_lazy_bits_are_resolved() -> None:
    """requires_grad is detached, conjugate and negative bits are resolved."""
    z = torch.tensor([1 + 2j, 3 - 4j])
    lazy = (torch.ones(2, requires_grad=True), z.conj().imag, torch.view_as_real(z.conj().resolve_conj()))
    a, b, c = delivered(lazy)[0]
    assert (a.tolist(), b.tolist(), c.tolist()) == ([1, 1], [-2, 4], [[1, -2], [3, 4]])


def test_t6_conjugate_tensors_are_resolved_in_a_loader() -> None:
    """The conjugate bit reaches the values of a numpy batch."""
    (batch,) = dsb.DataLoader([torch.tensor([1 + 2j]).conj()], output="numpy")
    assert batch.tolist() == [[1 - 2j]]


def quantised() -> Any:
    """A quantised tensor, whose making torch warns about."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.quint8)


@pytest.mark.parametrize(
    ("make", "word", "hint"),
    [
        (lambda: torch.eye(2).to_sparse(), "sparse", "to_dense"),
        (lambda: torch.ones(2, device="meta"), "meta", "materialise"),
        (quantised, "quantised", "dequantize"),
        (lambda: torch.ones(2).to(torch.float8_e4m3fn), "float8_e4m3fn", "cast it"),
        (lambda: torch.nested.nested_tensor([torch.ones(1), torch.ones(2)], layout=torch.jagged), "nested", "pad"),
    ],
    ids=["sparse", "meta", "quantised", "fp8", "nested"],
)
def test_t6_tensors_without_plain_values_are_refused(make: Any, word: str, hint: str) -> None:
    """Sparse, meta, quantised, fp8 and nested tensors: an error naming index, column, kind, and a way out."""
    error = refused((make(), 0))
    assert error.column == "data"
    assert word in str(error)
    assert hint in error.hint


@pytest.mark.parametrize(
    ("value", "word", "hint"),
    [
        (np.ones(2, np.complex64), "complex64", "view_as_real"),
        (np.ones(2, np.complex128), "complex128", "view_as_real"),
        (1 + 2j, "complex", "return"),
        (np.ones(2, np.longdouble), "float", "float64"),
        (np.array(["2020-01-01"], "datetime64[D]"), "datetime64[D]", "int64"),
        (np.ones(2, "timedelta64[s]"), "timedelta64[s]", "int64"),
        (np.zeros(2, [("a", "i4")]), "('a', '<i4')", "column"),
    ],
    ids=["complex64", "complex128", "complex", "longdouble", "datetime", "timedelta", "structured"],
)
def test_t7_dtypes_mindspore_lacks_are_refused(value: Any, word: str, hint: str) -> None:
    """Complex, long double, dates and structured arrays: an error naming index, column, dtype and a way out."""
    error = refused((0, value))
    assert error.column == "label"
    assert word in str(error)
    assert hint in error.hint


@pytest.mark.parametrize("dtype", [">f4", ">i8", ">u2", ">f8"])
def test_t8_big_endian_is_swapped(dtype: str) -> None:
    """Big-endian arrays arrive native with the same values."""
    ((array,),) = delivered(np.array([1, 2, 300], dtype))
    assert array.dtype.isnative
    assert array.dtype == np.dtype(dtype).newbyteorder("=")
    assert array.tolist() == [1, 2, 300]


@pytest.mark.parametrize(
    "value",
    [
        *(np.array([0, 1, 100], d) for d in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?")),
        np.array(2**62),
        np.array(2**63 + 5, np.uint64),
        np.array([np.nan, np.inf, -np.inf, -0.0], np.float32),
        np.zeros((0,), np.float32),
        np.zeros((0, 4), np.int32),
        np.array(1.5, np.float16),
    ],
    ids=lambda v: f"{v.dtype}{list(v.shape)}",
)
def test_t9_values_arrive_bit_for_bit(value: np.ndarray) -> None:
    """Every dtype MindSpore has, 0-d, empty, nan, inf and the largest integers arrive bit for bit."""
    ((array,),) = delivered(value)
    assert (array.dtype, array.shape, array.tobytes()) == (value.dtype, value.shape, value.tobytes())


def read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    "value",
    [
        np.arange(12.0).reshape(3, 4).T,
        np.arange(5)[::-1],
        np.broadcast_to(np.int16(7), (2, 3)),
        read_only(np.arange(3)),
        np.frombuffer(b"\x01\x02\x03", np.uint8),
        np.asfortranarray(np.arange(6).reshape(2, 3)),
        np.arange(10)[::3],
    ],
    ids=["transposed", "negative", "broadcast", "read-only", "frombuffer", "fortran", "strided"],
)
def test_t10_layouts_arrive(value: np.ndarray) -> None:
    """Whatever the memory layout, the values arrive and the wrapped row is contiguous, writable and owned."""
    (array,) = delivered(value)[0]
    np.testing.assert_array_equal(array, value)
    (row,) = dsb.wrap([value])[0]
    assert row.flags.c_contiguous
    assert row.flags.writeable
    assert not np.shares_memory(row, value)


def test_t11_masked_arrays_are_refused() -> None:
    """A mask is never dropped: an error that says how to fill it, through rows and through a loader."""
    masked = np.ma.masked_array([1, 2], [False, True])
    error = refused((masked, 0))
    assert (error.column, "mask" in str(error), "filled" in error.hint) == ("data", True, True)
    with pytest.raises(dsb.SampleError, match=r"column 'data': sample 0 of the batch is a masked array"):
        list(dsb.DataLoader([(masked, 0)]))
    with pytest.raises(dsb.SampleError, match="mask"):
        list(dsb.DataLoader([masked], batch_size=None))


def test_t12_object_arrays_are_refused() -> None:
    """An object array is an error naming index and column."""
    error = refused({"x": 1, "why": np.array([1, "a"], object)})
    assert error.column == "why"
    assert "object" in str(error)


def test_t13_none_is_refused_by_name() -> None:
    """None as a value, as a nested value or as the whole sample is an error; the first or a later sample alike."""
    assert refused((1.0, None)).column == "label"
    assert refused({"a": {"b": None}}).column == "a.b"
    assert refused(None).column == "data"
    assert refused((1.0, None), good=(1.0, 2)).column == "label"
    assert "None" in str(refused(None, good=(1.0, 2)))


def test_t13_none_can_be_skipped_or_replaced() -> None:
    """A loader's on_error policy covers samples that raise, in front of MindSpore too."""
    dataset = Items([1.0, ValueError("missing"), 3.0])
    skipping = dsb.to_mindspore(dsb.DataLoader(dataset, batch_size=None, on_error="skip"))
    replacing = dsb.to_mindspore(dsb.DataLoader(dataset, batch_size=None, on_error=lambda index, exc: -1.0))
    assert firsts(rows(skipping)) == [1.0, 3.0]
    assert firsts(rows(replacing)) == [1.0, -1.0, 3.0]


@dataclasses.dataclass
class Pair:
    image: Any
    label: int


def test_t13_dataclass_fields_are_columns() -> None:
    """A dataclass instance gives a column per field, and can be rebuilt from a row."""
    source = dsb.wrap([Pair(np.ones(2), 3)])
    assert source.column_names == ["image", "label"]
    assert delivered(Pair(np.ones(2), 3))[0][1] == 3
    rebuilt = source.structure.unflatten(source[0])
    assert type(rebuilt) is Pair
    assert rebuilt.label == 3


def test_t14_images_arrive_as_numpy_sees_them() -> None:
    """PIL images arrive in every mode: RGB as HWC uint8, P as palette indices, alone or in a tuple."""
    image = pytest.importorskip("PIL.Image")
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    rgb = image.fromarray(pixels)
    ((alone,),) = delivered(rgb)
    np.testing.assert_array_equal(alone, pixels)
    assert alone.dtype == np.uint8
    for mode, dtype in (("L", "uint8"), ("P", "uint8"), ("1", "bool"), ("RGBA", "uint8"), ("F", "float32"), ("I", "int32")):
        converted = rgb.convert(mode)
        array, _ = delivered((converted, 0))[0]
        assert array.dtype == dtype
        np.testing.assert_array_equal(array, np.asarray(converted))


def test_t15_a_list_sample_is_columns() -> None:
    """A list of ragged arrays is columns, as a tuple is."""
    sample = [np.ones(2), np.ones(3)]
    assert dsb.wrap([sample]).column_names == ["data", "label"]
    assert [a.shape for a in delivered(sample)[0]] == [(2,), (3,)]


Point = collections.namedtuple("Point", ["x", "y"])


def test_t16_namedtuple_fields_are_column_names() -> None:
    """The fields of a namedtuple name the columns; scalars work."""
    dataset = dsb.to_mindspore([Point(1, 2.5)])
    assert dataset.get_col_names() == ["x", "y"]
    assert [a.tolist() for a in rows(dataset)[0]] == [1, 2.5]
    source = dsb.wrap([Point(1, 2.5)])
    assert source.structure.unflatten(source[0]) == Point(1, 2.5)


def test_t17_dict_samples_are_columns() -> None:
    """A dict is flattened in key order, nested keys joined by dots; key order may vary later."""
    samples = [{"img": np.ones(2), "meta": {"id": 7, "box": (1, 2)}}, {"meta": {"box": (3, 4), "id": 8}, "img": np.zeros(2)}]
    dataset = dsb.to_mindspore(samples)
    assert dataset.get_col_names() == ["img", "meta.id", "meta.box.0", "meta.box.1"]
    assert [a.tolist() for a in rows(dataset)[1]] == [[0, 0], 8, 3, 4]
    named = dsb.to_mindspore(samples, column_names=["a", "b", "c", "d"]).project(["b", "a"])
    assert firsts(rows(named)) == [7, 8]


def test_t17_dict_samples_batch() -> None:
    """Flattened columns batch, which columns of dicts do not."""
    (batch,) = rows(dsb.to_mindspore([{"a": 1, "b": {"c": 2.5}}] * 3).batch(3))
    assert [a.tolist() for a in batch] == [[1, 1, 1], [2.5, 2.5, 2.5]]


def test_t17_missing_and_extra_keys_are_errors() -> None:
    """A sample with other keys is an error naming what is missing and what is extra."""
    error = refused({"a": 1, "z": 2}, good={"a": 1, "b": 2})
    assert "missing ['b']" in str(error)
    assert "extra ['z']" in str(error)
    with pytest.raises(dsb.SampleError, match=r"missing \['b'\], extra \['z'\]"):
        list(dsb.DataLoader([{"a": 1, "b": 2}, {"a": 1, "z": 2}], batch_size=2))


def test_t18_tensors_in_dicts_are_converted() -> None:
    """Tensors inside a dict arrive as arrays like all others (the no_leaks fixture watches the descriptors)."""
    samples = [{"x": torch.full((2,), float(i))} for i in range(50)]
    assert firsts(rows(dsb.to_mindspore(samples))) == [[i, i] for i in range(50)]


def test_t19_ragged_columns_pass_unbatched_and_the_schema_says_so() -> None:
    """A dimension may vary; the schema shows it as None once it was seen to."""
    source = dsb.wrap([(np.zeros(n, np.float32), n) for n in (3, 4)])
    assert source.schema["data"].shape == (3,)
    assert [source[i][0].shape for i in range(2)] == [(3,), (4,)]
    assert source.schema["data"].shape == (None,)


def test_t19_a_padding_collate_makes_ragged_columns_batch() -> None:
    """With a padding collate_fn the batches go to MindSpore."""

    def pad(samples: list[Any]) -> Any:
        return torch.nn.utils.rnn.pad_sequence(samples, batch_first=True)

    loader = torch.utils.data.DataLoader([torch.ones(n) for n in (1, 3, 2, 2)], batch_size=2, collate_fn=pad)
    assert firsts(rows(dsb.to_mindspore(loader))) == [[[1, 0, 0], [1, 1, 1]], [[1, 1], [1, 1]]]


def test_t19_mixed_dtypes_are_an_error_in_rows_and_promote_in_batches() -> None:
    """In rows a changed dtype is named; in a batch torch's promotion holds."""
    error = refused((np.float64(1), 0), good=(np.float32(1), 0))
    assert (error.column, error.expected, error.got) == ("data", "float32", "float64")
    samples = [torch.tensor([1], dtype=torch.int32), torch.tensor([2.5])]
    (batch,) = dsb.DataLoader(samples, batch_size=2, output="torch")
    (expected,) = torch.utils.data.DataLoader(samples, batch_size=2)
    assert batch.dtype == expected.dtype
    assert batch.tolist() == expected.tolist()


@pytest.mark.parametrize(
    "value",
    ["", "a", "emoji 😀 ü", b"", b"a\x00b", np.array(["ab", "c"]), np.array([b"x", b"yz"]), ["list", "of", "text"]],
    ids=repr,
)
def test_t20_text_arrives(value: Any) -> None:
    """Text and bytes of any length arrive unchanged, unicode and inner NULs included."""
    array, _ = delivered((value, 0))[0]
    assert array.tolist() == (value.tolist() if isinstance(value, np.ndarray) else value)


def test_t20_text_of_varying_length_arrives() -> None:
    """The length of text is no part of the schema: later samples may be longer, arrays of text too."""
    samples = [("a", np.array(["b"])), ("longer", np.array(["much longer", "c"]))]
    assert [[a.tolist() for a in row] for row in delivered(*samples)] == [["a", ["b"]], ["longer", ["much longer", "c"]]]


def test_t20_trailing_nuls_are_refused() -> None:
    """numpy would cut trailing NULs, so they are an error with a way out."""
    error = refused((b"a\x00b\x00", 0))
    assert error.column == "data"
    assert "NUL" in str(error)
    assert "frombuffer" in error.hint


def test_t20_text_batches() -> None:
    """Text collates as torch does, and is an array of text in MindSpore."""
    samples = [("a", 1), ("bcd", 2)]
    ((names, _),) = dsb.DataLoader(samples, batch_size=2)
    assert names == ("a", "bcd")
    ((array, _),) = rows(dsb.to_mindspore(dsb.DataLoader(samples, batch_size=2)))
    assert array.tolist() == ["a", "bcd"]


def test_t21_a_wrong_column_count_is_an_error_before_iteration() -> None:
    """Too few or too many column names: ValueError with both counts when the pipeline is made."""
    for names in (["a"], ["a", "b", "c"]):
        with pytest.raises(ValueError, match=rf"{len(names)} column names .* for 2 columns"):
            dsb.to_mindspore([(1.0, 2)], column_names=names)


def test_t22_generators_in_a_sample_are_refused() -> None:
    """A generator inside a sample is an error naming it."""
    error = refused((1.0, (i for i in range(3))))
    assert (error.column, error.got) == ("label", "generator")
    assert "list" in error.hint


def test_t23_objects_no_column_can_hold_are_refused() -> None:
    """An object that is no value is an error naming its type."""
    error = refused({"lock": threading.Lock()})
    assert (error.column, error.got) == ("lock", "_thread.lock")


class OneBuffer(torch.utils.data.Dataset):
    """Fills one buffer again and again and returns it."""

    def __init__(self) -> None:
        self.buffer = np.zeros(1, np.float32)

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Any:
        self.buffer[:] = index
        return self.buffer


def test_t24_reused_buffer_is_copied() -> None:
    """A dataset that returns one buffer again and again delivers what the buffer held at each return."""
    assert firsts(rows(dsb.to_mindspore(OneBuffer()))) == [[i] for i in range(6)]
    assert firsts(rows(dsb.to_mindspore(OneBuffer()).batch(6))) == [[[i] for i in range(6)]]
    assert firsts(rows(dsb.to_mindspore(Stream(OneBuffer()[i] for i in range(6))))) == [[i] for i in range(6)]
    assert [row[0][0] for row in list(dsb.wrap(OneBuffer()))] == list(range(6))


@pytest.mark.parametrize("output", ["mindspore", "numpy"])
def test_t24_reused_buffer_is_copied_by_a_loader_without_batches(output: str) -> None:
    """batch_size=None collates nothing, and still hands out nothing that the dataset writes to."""
    kept = list(dsb.DataLoader(OneBuffer(), batch_size=None, output=output))
    assert [float(sample[0]) for sample in kept] == list(range(6))


def test_t25_consumers_cannot_write_into_the_dataset() -> None:
    """Rows and batches are the consumer's own: writing into them leaves the dataset as it was."""
    base = np.ones((2, 3), np.float32)
    for row in list(dsb.wrap([base[0], base[1]])):
        row[0][:] = 9
    for (array,) in rows(dsb.to_mindspore([base[0], base[1]])):
        array[:] = 9
    for tensor in dsb.DataLoader(Items(list(base)), batch_size=None):
        tensor[0] = 9
    for tensor in dsb.DataLoader(Items(list(base)), batch_size=2):
        tensor[0] = 9
    for tensor in dsb.DataLoader(torch.utils.data.TensorDataset(torch.from_numpy(base)), batch_size=None):
        tensor[0][0] = 9
    assert (base == 1).all()


def test_t26_a_mindspore_map_goes_on_from_our_rows() -> None:
    """Rows go on through .map and .batch over several epochs."""
    dataset = dsb.to_mindspore([(torch.full((2,), float(i)), i) for i in range(4)])
    dataset = dataset.map(lambda x: x * 2, ["data"]).batch(2)
    wanted = [[[0, 0], [2, 2]], [[4, 4], [6, 6]]]
    assert [firsts(epoch) for epoch in epochs(dataset, 2)] == [wanted, wanted]
