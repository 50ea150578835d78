"""Plans carried out: bytes copied or transformed, refused, read back, whole or not at all, in little memory."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from dsbridge.checkpoint.execute import Job, contiguous_chunks, execute
from dsbridge.checkpoint.formats.mindspore_ckpt import MindSporeWriter
from dsbridge.checkpoint.formats.registry import open_checkpoint
from dsbridge.checkpoint.formats.safetensors_format import SafetensorsWriter
from dsbridge.checkpoint.formats.torch_writer import TorchWriter
from dsbridge.checkpoint.rows import DOUBTFUL, Row
from dsbridge.checkpoint.stored import Checkpoint, Span, Stored
from dsbridge.errors import CheckpointError
from dsbridge.schema.dtypes import TABLE, lookup, numpy_dtype


class PlainWriter:
    """A format for tests: length of a header, the header as JSON, the bytes."""

    def begin(self, file: Any, outlines: Iterable[Any], metadata: Mapping[str, str]) -> None:
        self.file, self.outlines = file, list(outlines)
        head = json.dumps([[one.name, one.dtype, list(one.shape)] for one in self.outlines] + [dict(metadata)]).encode()
        file.write(struct.pack("<Q", len(head)) + head)
        self.left = [one.name for one in self.outlines]

    def write(self, name: str, chunks: Iterable[bytes | memoryview]) -> None:
        assert name == self.left.pop(0)
        for chunk in chunks:
            self.file.write(chunk)

    def end(self) -> None:
        assert not self.left


def open_plain(path: Path) -> Checkpoint:
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        *heads, metadata = json.loads(file.read(length))
    at, tensors = 8 + length, {}
    for name, dtype, shape in heads:
        nbytes = int(np.prod(shape, dtype=np.int64)) * numpy_dtype(dtype).itemsize
        tensors[name] = Stored(name, dtype, tuple(shape), (Span(str(path), at, nbytes),))
        at += nbytes
    return Checkpoint(path, "plain", tensors, metadata=metadata)


def put_plain(path: Path, arrays: dict[str, np.ndarray]) -> Checkpoint:
    heads = [[name, lookup(array.dtype).name, list(array.shape)] for name, array in arrays.items()]
    head = json.dumps([*heads, {}]).encode()
    path.write_bytes(struct.pack("<Q", len(head)) + head + b"".join(array.tobytes() for array in arrays.values()))
    return open_plain(path)


@dataclass(frozen=True)
class Step:
    """An operation given by two functions."""

    on_shapes: Any
    on_arrays: Any
    moves_bytes: bool = True

    def shapes(self, shapes: Any) -> Any:
        return self.on_shapes(shapes)

    def apply(self, arrays: Any) -> Any:
        return self.on_arrays(arrays)

    def inverse(self, shapes: Any) -> None:
        return None


TRANSPOSE = Step(lambda s: (s[0][::-1],), lambda a: (a[0].T,))
EXPAND = Step(lambda s: ((*s[0], 1),), lambda a: (a[0][..., None],), moves_bytes=False)
CONCAT = Step(None, lambda a: (np.concatenate(a),))
HALVES = Step(None, lambda a: tuple(np.split(a[0], 2)))


def row(sources: str, targets: str, *steps: Step, made: Any = (), status: str = "renamed", **more: Any) -> Row:
    """A row with names divided by spaces; ``made``: (dtype, shape) of each target."""
    dtypes, shapes = zip(*made, strict=True) if made else ((), ())
    return Row(tuple(sources.split()), tuple(targets.split()), steps, shapes, dtypes, status, **more)


def copies(checkpoint: Checkpoint, prefix: str = "") -> list[Row]:
    return [row(n, prefix + n, made=[(t.dtype, t.shape)]) for n, t in checkpoint.tensors.items()]


def run(rows: list[Row], checkpoint: Checkpoint, target: Path, writer: Any = None, **options: Any) -> Any:
    options.setdefault("open_checkpoint", open_plain)
    return execute(Job(rows, checkpoint, **options), writer or PlainWriter(), target)


@pytest.fixture
def source(tmp_path: Path) -> Checkpoint:
    rng = np.random.default_rng(0)
    arrays = {"a": rng.standard_normal((4, 6)), "b": rng.standard_normal((4, 6)), "n": np.array(7), "e": np.zeros((0, 3))}
    return put_plain(tmp_path / "source", {name: array.astype("f4") for name, array in arrays.items()})


def test_every_dtype_is_copied_bit_for_bit(tmp_path: Path) -> None:
    """0-d, zero-size, NaN payloads and -0.0 included."""
    rng = np.random.default_rng(1)
    arrays = {}
    for dtype in TABLE:
        if dtype.numpy.kind in "US":
            continue
        for shape in ((), (3, 5), (0, 2)):
            raw = rng.integers(0, 2 if dtype.name == "bool" else 256, (*shape, dtype.numpy.itemsize), np.uint8)
            arrays[f"{dtype.name}.{len(shape)}d"] = raw.view(dtype.numpy).reshape(shape)
    odd = np.array([0x7FC1, 0xFFA5, 0x8000, 0x0001], np.uint16).view(ml_dtypes.bfloat16)
    arrays["payloads"] = odd
    checkpoint = put_plain(tmp_path / "source", arrays)
    report = run(copies(checkpoint, "x."), checkpoint, tmp_path / "target", metadata={"epoch": "3"})
    written = open_plain(tmp_path / "target")
    assert written.metadata == {"epoch": "3"}
    for name, array in arrays.items():
        got = written.tensors["x." + name].read()
        assert (got.dtype, got.shape, got.tobytes()) == (array.dtype, array.shape, array.tobytes()), name
    assert report.ok and report.tensors == len(arrays) and report.counts == {"renamed": len(arrays)}


def test_operations_are_applied(source: Checkpoint, tmp_path: Path) -> None:
    rows = [
        row("a", "t", TRANSPOSE, EXPAND, made=[("float32", (6, 4, 1))]),
        row("a b", "ab", CONCAT, made=[("float32", (8, 6))]),
        row("b", "b0 b1", HALVES, made=[("float32", (2, 6))] * 2),
        row("n", "n1", EXPAND, made=[("float32", (1,))]),
        row("", "ones", Step(None, lambda a: (np.ones(3, np.int64),)), made=[("int64", (3,))], status="const"),
        row("e", "", status="dropped"),
    ]
    report = run(rows, source, tmp_path / "target")
    got = {name: stored.read() for name, stored in open_plain(tmp_path / "target").tensors.items()}
    a, b = source.tensors["a"].read(), source.tensors["b"].read()
    expected = {"t": a.T[..., None], "ab": np.concatenate([a, b]), "b0": b[:2], "b1": b[2:], "n1": np.array([7.0], "f4")}
    assert list(got) == ["t", "ab", "b0", "b1", "n1", "ones"]
    for name, array in {**expected, "ones": np.ones(3, np.int64)}.items():
        assert np.array_equal(got[name], array) and got[name].dtype == array.dtype, name
    assert [(f.code, f.where) for f in report] == [("const", "ones"), ("dropped", "e")]


def test_strided_sources_are_gathered(source: Checkpoint, tmp_path: Path) -> None:
    """A slice, an expanded and a channels_last tensor as torch stores them."""
    span = source.tensors["a"].spans
    views = {
        "slice": Stored("slice", "float32", (2, 3), span, (12, 2)),
        "expanded": Stored("expanded", "float32", (5, 6), span, (0, 1)),
        "last": Stored("last", "float32", (1, 2, 4, 3), span, (24, 1, 6, 2)),
    }
    checkpoint = Checkpoint(source.path, "plain", views)
    run(copies(checkpoint), checkpoint, tmp_path / "target")
    flat = source.tensors["a"].read().reshape(-1)
    for name, stored in open_plain(tmp_path / "target").tensors.items():
        strides = [4 * step for step in views[name].strides or ()]
        assert np.array_equal(stored.read(), np.lib.stride_tricks.as_strided(flat, views[name].shape, strides)), name


def test_tied_rows_are_written_once_or_twice_as_the_plan_says(source: Checkpoint, tmp_path: Path) -> None:
    tied = replace(source.tensors["a"], name="head", tied_to="a")
    checkpoint = Checkpoint(source.path, "plain", {"a": source.tensors["a"], "head": tied})
    made = [("float32", (4, 6))]
    for targets, count in (("", 1), ("head", 2)):
        rows = [row("a", "a", made=made, status="exact"), row("head", targets, made=made if targets else (), status="tied")]
        report = run(rows, checkpoint, tmp_path / "target")
        assert (report.tensors, [f.code for f in report]) == (count, ["tied"])
        written = open_plain(tmp_path / "target").tensors
        assert {stored.read().tobytes() for stored in written.values()} == {source.tensors["a"].read().tobytes()}


def test_duplicate_targets_are_refused_before_anything_is_written(source: Checkpoint, tmp_path: Path) -> None:
    """MindSpore lets the last one win."""
    rows = [row("a", "w", made=[("float32", (4, 6))]), row("b", "w", made=[("float32", (4, 6))])]
    with pytest.raises(CheckpointError, match=r"two rows write the tensor 'w' \(one of them from b\).*Hint"):
        run(rows, source, tmp_path / "target")
    assert os.listdir(tmp_path) == ["source"]


@pytest.mark.parametrize("status", DOUBTFUL)
def test_doubtful_rows_are_refused(source: Checkpoint, tmp_path: Path, status: str) -> None:
    rows = [
        row("a", "w", made=[("float32", (4, 6))], status=status, candidates=("w1", "w2"), note="why"),
        *[row("b", f"w{i}", made=[("float32", (4, 6))], status=status) for i in range(30)],
        row("n", "n", made=[("float32", ())], status="exact"),
    ]
    first = rf"31 of 32 rows of the plan are open: 31 {status}\n  {status}: a -> w \(why\); nearest: w1, w2\n"
    match = first + r"(.*\n){19}  ... and 11 more"
    for accept in (False, True):
        if accept and status == "guessed":
            report = run(rows, source, tmp_path / "target", accept_guesses=True)
            assert report.ok and "guessed" in report and report.counts == {"guessed": 31, "exact": 1}
            continue
        with pytest.raises(CheckpointError, match=match) as caught:
            run(rows, source, tmp_path / "target", accept_guesses=accept)
        assert caught.value.candidates["w"] == ["w1", "w2"]
        assert len(caught.value.unmatched) == (31 if status == "unmatched" else 0)
        assert len(caught.value.missing) == (31 if status == "missing" else 0)
        assert not (tmp_path / "target").exists()


def test_sources_that_are_not_there_are_refused(source: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"lacks 1 tensors of the plan: zz.*Hint"):
        run([row("zz", "w", made=[("float32", (1,))])], source, tmp_path / "target")


def test_sources_no_row_mentions_are_said(source: Checkpoint, tmp_path: Path) -> None:
    report = run(copies(source)[:2], source, tmp_path / "target")
    assert [(f.code, f.severity, f.where) for f in report] == [("not-in-plan", "warning", "e"), ("not-in-plan", "warning", "n")]


def test_a_metadata_key_equal_to_a_tensor_name_is_refused(source: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="metadata keys are names of tensors: a, b"):
        run(copies(source), source, tmp_path / "target", metadata={"b": "1", "a": "2", "c": "3"})


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        (row("a", "w", made=[("float32", (6, 4))]), r"makes float32\[4, 6\] of a, the plan says float32\[6, 4\]"),
        (row("a", "w", made=[("float16", (4, 6))]), r"makes float32\[4, 6\] of a, the plan says float16"),
        (row("a", "w", TRANSPOSE, made=[("float32", (4, 6))]), r"tensor 'w': rule 'r' makes float32\[6, 4\]"),
        (row("n", "w", EXPAND, made=[("float32", ())]), r"makes float32\[1\] of n, the plan says float32\[\]"),
        (row("a", "w v", TRANSPOSE, made=[("float32", (6, 4))] * 2), "makes 1 tensors for 2: w, v"),
    ],
)
def test_rows_that_do_not_make_what_they_say_keep_the_old_file(
    source: Checkpoint, tmp_path: Path, wrong: Row, match: str
) -> None:
    (tmp_path / "target").write_bytes(b"old")
    with pytest.raises(CheckpointError, match=match):
        run([replace(wrong, rule="r")], source, tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == ["source", "target"]


class Flipping(PlainWriter):
    """Writes one wrong bit into the last byte of a tensor."""

    def write(self, name: str, chunks: Iterable[bytes | memoryview]) -> None:
        data = bytearray(b"".join(chunks))
        if name == "b":
            data[-1] ^= 1
        super().write(name, [data])


class Losing(PlainWriter):
    """Leaves zero-size tensors out, as MindSpore's .ckpt does."""

    def begin(self, file: Any, outlines: Iterable[Any], metadata: Mapping[str, str]) -> None:
        super().begin(file, [one for one in outlines if one.name != "e"], metadata)

    def write(self, name: str, chunks: Iterable[bytes | memoryview]) -> None:
        if name != "e":
            super().write(name, chunks)


class Reshaping(PlainWriter):
    """Turns 0-d into 1-d, as np.ascontiguousarray does."""

    def begin(self, file: Any, outlines: Iterable[Any], metadata: Mapping[str, str]) -> None:
        super().begin(file, [replace(one, shape=one.shape or (1,)) for one in outlines], metadata)


@pytest.mark.parametrize(("writer", "name"), [(Flipping, "b"), (Losing, "e"), (Reshaping, "n")])
def test_reading_back_finds_every_difference(source: Checkpoint, tmp_path: Path, writer: Any, name: str) -> None:
    (tmp_path / "target").write_bytes(b"old")
    with pytest.raises(CheckpointError, match=f"1 tensors read back differ from what was to be written: {name}"):
        run(copies(source), source, tmp_path / "target", writer())
    assert (tmp_path / "target").read_bytes() == b"old"
    report = run(copies(source), source, tmp_path / "target", writer(), read_back=False)
    assert "not read back" in str(report) and report.to_dict()["read_back"] is False


def test_target_equal_to_a_part_of_the_source_is_refused(source: Checkpoint, tmp_path: Path) -> None:
    """The source of shards is an index; its parts are sources, too."""
    index = Checkpoint(tmp_path / "index.json", "index", source.tensors)
    before = source.path.read_bytes()
    with pytest.raises(CheckpointError, match="is the source itself"):
        run(copies(index), index, source.path)
    assert source.path.read_bytes() == before


def test_a_source_that_ends_early_keeps_the_old_file(source: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"old")
    os.truncate(source.path, source.path.stat().st_size - 30)
    for rows in (copies(source), [row("b", "t", TRANSPOSE, made=[("float32", (6, 4))])]):
        with pytest.raises(CheckpointError, match="ends inside of tensor"):
            run(rows, source, tmp_path / "target")
    assert sorted(os.listdir(tmp_path)) == ["source", "target"]
    assert (tmp_path / "target").read_bytes() == b"old"


def test_progress_goes_to_stderr(source: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(copies(source), source, tmp_path / "quiet")
    assert capsys.readouterr() == ("", "")
    run(copies(source), source, tmp_path / "target", progress=True)
    out, err = capsys.readouterr()
    assert out == "" and "B/s" in err


def test_chunks_are_the_bytes_in_c_order() -> None:
    rng = np.random.default_rng(2)
    array = rng.integers(0, 9, (5, 7, 3)).astype(ml_dtypes.bfloat16)
    for view in (
        array,
        array.T,
        array[::2, :, ::-1],
        array[1],
        np.broadcast_to(array[0], (4, 7, 3)),
        array[:, :0].T,
        array[0, 0, 0],
    ):
        view = np.asarray(view)
        for size in (1, 4, 60, 1 << 20):
            chunks = [bytes(chunk) for chunk in contiguous_chunks(view, size)]
            assert b"".join(chunks) == view.tobytes()
            assert all(len(chunk) <= max(size, 2) for chunk in chunks)


MEMORY = """
    import sys
    from pathlib import Path
    sys.path.insert(0, sys.argv[1])
    import numpy as np
    from test_execute import HALVES, TRANSPOSE, PlainWriter, copies, open_plain, row, run
    from dsbridge.checkpoint.stored import Checkpoint, Span, Stored

    def anonymous():
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("RssAnon")) / 1024

    class Watching(PlainWriter):
        peak = 0.0
        def write(self, name, chunks):
            def watched():
                for chunk in chunks:
                    Watching.peak = max(Watching.peak, anonymous())
                    yield chunk
            super().write(name, watched())

    def opened(path):
        Watching.peak = max(Watching.peak, anonymous())
        return open_plain(path)

    path = Path("big")
    with open(path, "wb") as file:
        block = np.random.default_rng(0).bytes(1 << 20)
        for _ in range(300):
            file.write(block)
    tensors = {f"t{i}": Stored(f"t{i}", "float32", (25, 1 << 20), (Span("big", i * 100 << 20, 100 << 20),)) for i in range(3)}
    checkpoint = Checkpoint(path, "raw", tensors)
    small = Checkpoint(path, "raw", {"s": Stored("s", "float32", (4, 4), (Span("big", 0, 64),))})
    half = ("float32", (50, 1 << 18))
    moved = [row(n, n, TRANSPOSE, made=[("float32", (1 << 20, 25))]) for n in tensors]
    for rows, source in ((copies(small), small), (copies(checkpoint), checkpoint), (moved[:1], checkpoint)):
        Watching.peak, before = 0.0, anonymous()
        run(rows, source, Path("out"), Watching(), open_checkpoint=opened)
        print(round(Watching.peak - before))
"""


def test_memory_grows_by_one_tensor_at_most(run_python: Any) -> None:
    """Three tensors of 100 MiB: copies need none of it, a transposition one tensor and no second copy; RssAnon in MiB."""
    done = run_python(MEMORY, str(Path(__file__).parent))
    assert done.returncode == 0, done.stderr
    _, streamed, transposed = map(int, done.stdout.split())
    assert streamed <= 8
    assert 90 <= transposed <= 100 + 64


KILLED = """
    import os, random, signal, sys
    from pathlib import Path
    sys.path.insert(0, sys.argv[1])
    from test_execute import TRANSPOSE, copies, np, open_plain, put_plain, row, run
    from dsbridge.checkpoint import atomic, execute, stored

    os.mkdir("out")
    target = Path("out/a.ckpt")
    rng = np.random.default_rng(0)
    source = put_plain(Path("source"), {f"t{i}": rng.standard_normal((60, 50)) for i in range(12)})
    moved = [row(n, "m." + n, TRANSPOSE, made=[("float64", (50, 60))]) for n in list(source.tensors)[:6]]
    convert = lambda: run([*copies(source), *moved], source, target)
    convert()
    new = target.read_bytes()
    old = b"old" * 10_000
    modules = (atomic.__file__, execute.__file__, stored.__file__, sys.modules["test_execute"].__file__)

    def child(last, answer=None):
        pid = os.fork()
        if pid:
            return os.waitpid(pid, 0)[1]
        lines = 0
        def trace(frame, event, argument):
            nonlocal lines
            if frame.f_code.co_filename not in modules:
                return None
            lines += event == "line"
            if lines == last:
                os.kill(os.getpid(), signal.SIGKILL)
            return trace
        sys.settrace(trace)
        convert()
        sys.settrace(None)
        if answer is not None:
            os.write(answer, b"%d" % lines)
        os._exit(0)

    readable, writable = os.pipe()
    child(-1, writable)
    total = int(os.read(readable, 20))
    results = {old: 0, new: 0}
    for seed in range(50):
        target.write_bytes(old)
        status = child(random.Random(seed).randint(1, total))
        assert os.WTERMSIG(status) == signal.SIGKILL, status
        content = target.read_bytes()
        assert content in results, (seed, len(content))
        results[content] += 1
        if seed % 5 == 4:
            convert()
            assert target.read_bytes() == new and os.listdir("out") == ["a.ckpt"], os.listdir("out")
    print(*results.values())
"""


def test_sigkill_in_the_middle_of_a_conversion_50_seeded_times(run_python: Any) -> None:
    """The old target is intact or the new one whole; no stray file survives the next run."""
    done = run_python(KILLED, str(Path(__file__).parent))
    assert done.returncode == 0, done.stderr
    old, new = map(int, done.stdout.split())
    assert old + new == 50 and old >= 40


@pytest.mark.parametrize("writer", [SafetensorsWriter, MindSporeWriter, TorchWriter])
def test_the_real_formats(source: Checkpoint, tmp_path: Path, writer: Any) -> None:
    """Written by the format's own writer and read back by its own reader."""
    checkpoint = Checkpoint(source.path, "plain", {n: t for n, t in source.tensors.items() if n != "e"})
    rows = [*copies(checkpoint), row("a", "t", TRANSPOSE, made=[("float32", (6, 4))])]
    run(rows, checkpoint, tmp_path / "target", writer(), open_checkpoint=open_checkpoint)
    again = open_checkpoint(tmp_path / "target")
    for key, stored in checkpoint.tensors.items():
        assert np.array_equal(again.tensors[key].read(), stored.read()) and again.tensors[key].shape == stored.shape
    assert np.array_equal(again.tensors["t"].read(), checkpoint.tensors["a"].read().T)
