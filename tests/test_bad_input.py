"""What a user does wrong, and the error that says so: type, place and message."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import traceback
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from helpers import Items, SizedStream, Stream, rows

import dsbridge as dsb


def read_into(seen: list[float], dataset: Any) -> None:
    """Append the scalar rows of a MindSpore dataset to ``seen`` as they come."""
    for row in dataset.create_tuple_iterator(num_epochs=1, output_numpy=True):
        seen.append(row[0].item())


# --- samples that change


@pytest.mark.parametrize(
    ("first", "later", "column", "message"),
    [
        ((1.0, 2), (1, 2), "data", "dtype differs from the first sample's (expected float64, got int64)"),
        ((1.0, 2), (1.0,), None, "nested differently from the first sample (expected 2 values, got 1 values)"),
        ((1.0, 2), None, None, "expected tuple, got NoneType"),
        ((1.0, 2), [1.0, 2], None, "expected tuple, got list"),
        ({"a": 1}, {"b": 1}, None, "expected keys ['a'], got keys ['b'], missing ['a'], extra ['b']"),
        ({"a": 1}, {"a": 1, "c": 2}, None, "extra ['c']"),
        ({"a": {"b": 1}}, {"a": {"c": 1}}, "a", "missing ['b'], extra ['c']"),
        ({"a": 1, "b": {"c": 1}}, {"a": 1, "b": 3}, "b", "expected dict, got int"),
        (1.0, (1.0, 2), "data", "got tuple"),
        (
            np.zeros(2),
            np.zeros((2, 2)),
            "data",
            "rank differs from the first sample's (expected 1 dimensions, got shape (2, 2))",
        ),
        ("text", 5, "data", "expected str, got int64"),
        (torch.zeros(2), torch.zeros(2).half(), "data", "expected float32, got float16"),
    ],
)
def test_a_sample_unlike_the_first_is_named(first: Any, later: Any, column: str | None, message: str) -> None:
    """A later sample of another nesting, dtype or rank: index, column, expected, got and a hint."""
    for read in (lambda data: dsb.wrap(data)[2], lambda data: rows(dsb.to_mindspore(data))):
        with pytest.raises(dsb.SampleError) as caught:
            read(Items([first, first, later]))
        assert (caught.value.index, caught.value.column) == (2, column)
        assert str(caught.value).startswith("sample 2")
        assert message in str(caught.value)
        assert caught.value.hint


def test_a_wrong_sample_of_a_stream_is_named_by_position() -> None:
    """For an iterable the index is the position."""
    with pytest.raises(dsb.SampleError, match=r"sample 2, column 'data': dtype differs .*expected float64, got int64"):
        rows(dsb.to_mindspore(Stream([1.0, 2.0, 3])))


def test_a_value_that_fits_no_asked_dtype_is_named() -> None:
    """A cast never changes an integer silently."""
    with pytest.raises(
        dsb.SampleError, match=r"sample 1, column 'data': value does not fit.*int8 within \[-128, 127\], got 300"
    ):
        dsb.wrap([3, 300], dtypes={"data": "int8"})[1]
    with pytest.raises(dsb.SampleError, match=r"sample 0, column 'data': does not fit in int64"):
        dsb.wrap([2**70])


def test_a_ragged_column_without_collate_names_the_samples() -> None:
    """A batch that does not stack: column, both positions, both shapes, the batch's indices, a hint."""
    samples = [(np.zeros(n, np.float32), n) for n in (3, 3, 4)]
    loader = dsb.DataLoader(samples, batch_size=3)
    for read in (lambda: list(loader), lambda: rows(dsb.to_mindspore(samples, batch_size=3))):
        with pytest.raises(dsb.SampleError) as caught:
            read()
        text = str(caught.value)
        assert "column 'data': samples 0 and 2 of the batch differ in shape" in text
        assert "float32[3]" in text
        assert "float32[4]" in text
        assert "collate_fn" in caught.value.hint
        assert caught.value.dsb_index == [0, 1, 2]
        assert "[0, 1, 2]" in text


def test_what_no_collate_knows_is_named() -> None:
    """An object in a batch raises torch's TypeError, with the column and the batch's indices."""
    with pytest.raises(TypeError, match=r"found <class 'object'> in column 'label'.*dataset index \[0, 1\]"):
        list(dsb.DataLoader([(1, object()), (2, object())], batch_size=2))
    with pytest.raises(dsb.SampleError, match=r"sample 1 of the batch has another length than the first.*expected 2.*got 3"):
        list(dsb.DataLoader([[1, 2], [1, 2, 3]], batch_size=2))


# --- empty datasets


def test_an_empty_dataset_works() -> None:
    """Zero rows through wrap, DataLoader and to_mindspore, with a finding that says so."""
    source = dsb.wrap([])
    assert (len(source), list(source), len(source.schema)) == (0, [], 0)
    assert "empty" in source.report
    assert list(dsb.DataLoader([], batch_size=2)) == []
    assert len(dsb.DataLoader([], batch_size=2)) == 0
    assert rows(dsb.to_mindspore(dsb.DataLoader([], batch_size=2))) == []
    assert dsb.to_mindspore([], column_names=["x", "y"]).get_col_names() == ["x", "y"]


def test_an_index_of_an_empty_dataset_is_an_index_error() -> None:
    """source[0] of an empty source is an IndexError, as of an empty list."""
    with pytest.raises(IndexError):
        dsb.wrap([])[0]


# --- iterables


def test_a_one_shot_iterator_used_twice_is_an_error() -> None:
    """The second pass over a used-up iterator says what happened instead of giving nothing."""
    source = dsb.wrap(iter([1, 2]))
    assert len(list(source)) == 2
    message = r"one-shot iterator was used up by the first epoch \(got list_iterator\).*generator function"
    with pytest.raises(dsb.SampleError, match=message):
        list(source)
    dataset = dsb.to_mindspore(iter([1, 2]))
    assert len(rows(dataset)) == 2
    with pytest.raises(dsb.SampleError, match=message):
        rows(dataset)


def test_an_infinite_dataset_has_no_size() -> None:
    """Sizes of an endless dataset are errors at once, where MindSpore would count for ever."""

    def endless() -> Any:
        while True:
            yield 1.0

    dataset = dsb.to_mindspore(endless)
    for pipeline in (dataset, dsb.to_mindspore(endless).batch(2), dsb.to_mindspore(endless).map(lambda x: x, ["data"])):
        with pytest.raises(dsb.SchemaError, match=r"number of rows in an epoch is unknown.*__len__"):
            pipeline.get_dataset_size()
    with pytest.raises(TypeError, match="no len"):
        len(dsb.wrap(endless))
    iterator = dataset.create_tuple_iterator(num_epochs=1, output_numpy=True)
    assert [next(iterator)[0].item() for _ in range(5)] == [1.0] * 5


@pytest.mark.parametrize(("said", "real"), [(5, 3), (3, 5)], ids=["too long", "too short"])
def test_a_wrong_length_of_a_stream_is_named(said: int, real: int) -> None:
    """An error with both numbers, at the end of the epoch; a DataLoader follows torch."""
    data = SizedStream([float(i) for i in range(real)], said)
    message = rf"__len__ says {said} samples, but it delivered {real}.*correct __len__"
    with pytest.raises(dsb.SchemaError, match=message):
        list(dsb.wrap(data))
    delivered: list[float] = []
    with pytest.raises(dsb.SchemaError, match=message):
        read_into(delivered, dsb.to_mindspore(data))
    assert delivered == [float(i) for i in range(len(delivered))]
    assert len(delivered) <= real
    with pytest.raises(dsb.SchemaError, match=rf"promises {said} batches, but it delivered {real}"):
        rows(dsb.to_mindspore(torch.utils.data.DataLoader(data)))
    loader = dsb.DataLoader(data)
    assert len(loader) == said
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert len(list(loader)) == real
    assert any("Length of IterableDataset" in str(w.message) for w in caught) == (real > said)


def test_a_length_too_long_for_the_indices_is_an_index_error() -> None:
    """A map-style dataset that has less than it says: its own IndexError, placed; one that has more is cut."""
    for read in (lambda d: rows(dsb.to_mindspore(d)), lambda d: list(dsb.DataLoader(d))):
        with pytest.raises(IndexError, match=r"out of range .*dataset index 3"):
            read(Items([1.0, 2.0, 3.0], length=5))
        assert len(read(Items([1.0, 2.0, 3.0], length=2))) == 2


# --- exceptions inside the dataset


class TwoArguments(Exception):
    """An exception whose constructor takes two arguments, which naive copies of it break."""

    def __init__(self, path: str, code: int) -> None:
        super().__init__(f"{path} has code {code}")
        self.path, self.code = path, code


class Failing(torch.utils.data.Dataset):
    """Raises a fresh exception for index 2."""

    def __init__(self, make: Any) -> None:
        self.make = make

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Any:
        if index == 2:
            self.decode()
        return np.float32(index)

    def decode(self) -> None:
        raise self.make()


FAILURES = {
    "ValueError": lambda: ValueError("bad pixel"),
    "TwoArguments": lambda: TwoArguments("a.png", 7),
    "KeyError": lambda: KeyError("k"),
    "FileNotFoundError": lambda: FileNotFoundError(2, "gone", "a.png"),
    "UnicodeDecodeError": lambda: UnicodeDecodeError("utf8", b"\xff", 0, 1, "bad"),
    "MemoryError": lambda: MemoryError(),
    "AssertionError": lambda: AssertionError(),
}
READERS = {
    "wrap": lambda data: [dsb.wrap(data)[i] for i in range(4)],
    "loader": lambda data: list(dsb.DataLoader(data, batch_size=2)),
    "to_mindspore": lambda data: rows(dsb.to_mindspore(data)),
    "to_mindspore of a loader": lambda data: rows(dsb.to_mindspore(dsb.DataLoader(data, batch_size=2))),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("failure", FAILURES)
def test_an_exception_of_the_dataset_keeps_what_it_is(failure: str, reader: str) -> None:
    """Type, attributes and traceback stay; the index is in dsb_index and in the text of the exception."""
    make = FAILURES[failure]
    with pytest.raises(type(make())) as caught:
        READERS[reader](Failing(make))
    exc = caught.value
    assert type(exc).__name__ == failure
    assert exc.dsb_index == 2
    assert "decode" in [frame.name for frame in traceback.extract_tb(exc.__traceback__)]
    shown = "".join(traceback.format_exception(exc))
    assert "raise self.make()" in shown
    if sys.version_info >= (3, 11) or failure != "UnicodeDecodeError":  # a C class keeps it in a note
        assert "dataset index 2" in shown
    if failure == "TwoArguments":
        assert (exc.path, exc.code) == ("a.png", 7)
        assert "a.png has code 7" in str(exc)
    if failure == "FileNotFoundError":
        assert (exc.errno, exc.filename) == (2, "a.png")


def test_samples_before_the_bad_one_are_delivered() -> None:
    """Batches before the failure arrive, and a loader goes on behind it, as torch does.

    In MindSpore an error overtakes the rows in the queue (measured: up to 2 of ours, up to 6 of 6 without us).
    """
    seen: list[float] = []
    with pytest.raises(ValueError, match="bad pixel"):
        read_into(seen, dsb.to_mindspore(Items([*map(float, range(8)), ValueError("bad pixel")])))
    assert seen == [float(i) for i in range(len(seen))]
    assert len(seen) >= 8 - 3
    iterator = iter(dsb.DataLoader(Failing(FAILURES["ValueError"])))
    assert [int(next(iterator)) for _ in range(2)] == [0, 1]
    with pytest.raises(ValueError, match="position 2"):
        next(iterator)
    assert int(next(iterator)) == 3


def test_behind_mindspore_operations_the_original_text_is_kept() -> None:
    """Behind .batch() MindSpore makes a RuntimeError of it, whose text holds type, message, index and traceback."""
    with pytest.raises(RuntimeError) as caught:
        rows(dsb.to_mindspore(Failing(FAILURES["TwoArguments"])).batch(2))
    text = str(caught.value)
    for part in ("TwoArguments: a.png has code 7", "dataset index 2", "in decode", "raise self.make()"):
        assert part in text


@pytest.mark.parametrize("reader", READERS)
def test_stop_iteration_inside_a_dataset_is_an_error(reader: str) -> None:
    """StopIteration in __getitem__ never ends the epoch early: a SampleError naming the sample."""
    with pytest.raises(
        dsb.SampleError, match=r"sample 2: StopIteration raised while loading a sample.*end the epoch early"
    ) as e:
        READERS[reader](Failing(StopIteration))
    assert (e.value.index, e.value.dsb_index) == (2, 2)
    assert isinstance(e.value.__cause__, StopIteration)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_keyboard_interrupt_passes_through_untouched(kind: type[BaseException], reader: str) -> None:
    """KeyboardInterrupt and SystemExit are no failures of a sample: they pass as they are."""
    original = kind("stop")
    with pytest.raises(kind) as caught:
        READERS[reader](Failing(lambda: original))
    assert caught.value is original
    assert caught.value.args == ("stop",)
    assert not hasattr(caught.value, "dsb_index")


def test_on_error_never_swallows_an_interrupt() -> None:
    """on_error="skip" skips failures, not Ctrl-C."""
    with pytest.raises(KeyboardInterrupt):
        list(dsb.DataLoader(Failing(KeyboardInterrupt), on_error="skip"))


@pytest.mark.parametrize("read", ["dsb.DataLoader(Slow())", "dsb.to_mindspore(Slow()).create_dict_iterator(num_epochs=1)"])
def test_ctrl_c_ends_the_process_cleanly(read: str) -> None:
    """SIGINT in the middle of an epoch is a KeyboardInterrupt at once, and finally blocks run."""
    code = f"""
    import time
    import numpy as np
    import dsbridge as dsb

    class Slow:
        def __len__(self): return 1000
        def __getitem__(self, i):
            time.sleep(0.05)
            return np.float32(i)

    try:
        for n, _ in enumerate({read}):
            if n == 2:
                print("running", flush=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    finally:
        print("finally", flush=True)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "running\n"
            process.send_signal(signal.SIGINT)
            rest, _ = process.communicate(timeout=20)
        finally:
            process.kill()
    assert rest.split() == ["interrupted", "finally"]
    assert process.returncode == 0


# --- arguments


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a"], r"1 column names \['a'\] for 2 columns"),
        (["a", "b", "c"], "3 column names .* for 2 columns"),
        ("a,b", r"1 column names \['a,b'\] for 2 columns"),
        (["a", "a"], "duplicate"),
        (["a", ""], "non-empty strings"),
        (["a", 3], "non-empty strings"),
        (7, "list of non-empty strings, got 7"),
        ({"a": 1, "b": 2}, "list of non-empty strings"),
    ],
)
def test_wrong_column_names(names: Any, message: str) -> None:
    """column_names that do not fit: SchemaError (a ValueError) when the source is made."""
    for make in (dsb.wrap, dsb.to_mindspore):
        with pytest.raises(dsb.SchemaError, match=message):
            make([(1.0, 2)], column_names=names)


def test_column_names_that_collide_are_named() -> None:
    """A nested key and a dotted key that give the same name: SchemaError saying how to rename."""
    with pytest.raises(dsb.SchemaError, match=r"'a.b' appears twice.*column_names="):
        dsb.wrap([{"a": {"b": 1}, "a.b": 2}])
    assert dsb.wrap([{"a": {"b": 1}, "a.b": 2}], column_names=["x", "y"]).column_names == ["x", "y"]


def test_an_index_column_must_have_a_name_of_its_own() -> None:
    """index_column with the name of a column is an error, for rows and batches."""
    for data in ([(1.0, 2)], Stream([(1.0, 2)]), torch.utils.data.DataLoader([(1.0, 2)])):
        with pytest.raises(dsb.SchemaError, match="index_column 'label' is the name of another column"):
            dsb.to_mindspore(data, index_column="label")
    for wrong in (3, ""):
        with pytest.raises(dsb.SchemaError, match="index_column"):
            dsb.to_mindspore([1.0], index_column=wrong)


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        (3, TypeError, r"cannot wrap int: a dataset has __getitem__ or __iter__"),
        (None, TypeError, "cannot wrap NoneType"),
        (Items, TypeError, "Items is a class. Hint: pass an instance"),
        ({"train": [1]}, dsb.SchemaError, r"a dict is not a dataset; its keys are \['train'\]"),
        ("/no/such/file.parquet", FileNotFoundError, "file.parquet"),
    ],
)
def test_what_is_no_dataset(value: Any, kind: type[Exception], message: str) -> None:
    """Things that are no dataset say what a dataset is."""
    for make in (dsb.wrap, dsb.to_mindspore):
        with pytest.raises(kind, match=message):
            make(value)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"dtypes": "half"}, dsb.SchemaError, "dtypes must be 'keep', 'mindspore' or a dict"),
        ({"dtypes": {"nope": "int32"}}, dsb.SchemaError, r"unknown column\(s\) \['nope'\]; there are \['data'\]"),
        ({"dtypes": {"data": "int7"}}, dsb.SchemaError, "unknown dtype 'int7'"),
        ({"num_shards": 2}, ValueError, "num_shards and shard_id go together"),
        ({"num_shards": 2, "shard_id": 2}, ValueError, r"shard_id must be in \[0, 2\), got 2"),
        ({"sampler": [0], "shuffle": True}, ValueError, "sampler is mutually exclusive with shuffle"),
        ({"seed": 1}, ValueError, "seed without shuffle=True has no effect"),
        ({"num_epochs": 0}, ValueError, "num_epochs must be a positive int or None, got 0"),
        ({"num_epochs": 1.5}, ValueError, "num_epochs must be a positive int or None, got 1.5"),
    ],
)
def test_wrong_arguments_of_to_mindspore(options: dict[str, Any], kind: type[Exception], message: str) -> None:
    """Arguments that do not fit are refused when the pipeline is made."""
    with pytest.raises(kind, match=message):
        dsb.to_mindspore([1.0, 2.0], **options)


def test_a_loader_brings_its_own_order() -> None:
    """Order arguments beside a loader are refused, saying where to put them."""
    loader = torch.utils.data.DataLoader([1.0, 2.0])
    for options in ({"shuffle": True}, {"batch_size": 2}, {"num_shards": 2, "shard_id": 0}, {"sampler": [1]}):
        with pytest.raises(ValueError, match=r"a loader brings its own.*pass loader\.dataset"):
            dsb.to_mindspore(loader, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output": "jax"}, r"output must be one of .*'mindspore'.*, got 'jax'"),
        ({"rng": "numpy"}, "rng must be 'torch' or 'sample', got 'numpy'"),
        ({"on_error": "ignore"}, "on_error must be 'raise', 'skip' or a callable"),
        ({"seed": 1, "generator": torch.Generator()}, "mutually exclusive"),
        ({"on_worker_death": "cry"}, "on_worker_death"),
        ({"max_restarts": -1}, "max_restarts"),
        ({"batch_timeout": 0}, "batch_timeout"),
        ({"max_memory": 0}, "max_memory"),
        ({"batch_size": 0}, "batch_size should be a positive integer"),
        ({"shuffle": True, "sampler": [0]}, "sampler option is mutually exclusive"),
    ],
)
def test_wrong_arguments_of_the_loader(options: dict[str, Any], message: str) -> None:
    """The loader's own options are checked when it is made; torch's have torch's errors."""
    with pytest.raises(ValueError, match=message):
        dsb.DataLoader([1.0, 2.0], **options)


def test_from_torch_takes_torch_loaders_only() -> None:
    """Anything else is a TypeError naming what was given."""
    with pytest.raises(TypeError, match=r"expected a torch.utils.data.DataLoader, got list"):
        dsb.DataLoader.from_torch([1, 2])
