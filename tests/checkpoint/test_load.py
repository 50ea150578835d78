"""load is strict where MindSpore's own loader is silent: names, shapes, dtypes, before anything is changed."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import mindspore as ms
import ml_dtypes
import numpy as np
import pytest
from mindspore import nn

from dsbridge.checkpoint.load import load, places
from dsbridge.errors import CheckpointError
from dsbridge.frameworks.mindspore_tensors import from_numpy
from dsbridge.schema.dtypes import lookup


def save(path: Path, arrays: dict[str, Any]) -> Path:
    """A safetensors file of these arrays."""
    head, data = {}, b""
    for name, array in arrays.items():
        offsets = [len(data), len(data) + array.nbytes]
        head[name] = {"dtype": lookup(array.dtype).safetensors, "shape": list(array.shape), "data_offsets": offsets}
        data += array.tobytes()
    text = json.dumps(head).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


class Net(nn.Cell):
    """Names that differ from paths: a bare BatchNorm's, and those of cells that were built elsewhere; and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Dense(3, 2)
        self.bn = nn.BatchNorm2d(2)
        self.register_buffer("steps", from_numpy(np.zeros((), np.int64)))
        self.fc.weight.name, self.fc.bias.name = "dense.w", "dense.b"


def values(network: Any, by: str = "path", seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    found = {}
    for place in places(network):
        array = np.asarray(rng.integers(1, 99, place.shape)).astype(lookup(place.dtype).numpy)
        found[place.paths[0] if by == "path" else place.name] = array
    return found


def held(network: Any) -> list[bytes]:
    return [place.value.get_bytes() for place in places(network)]


@pytest.mark.parametrize("by", ["path", "name"])
def test_by_path_or_by_name(tmp_path: Path, by: str) -> None:
    """Parameter.name is not the structural path; a file uses either throughout."""
    network = Net()
    arrays = values(network, by)
    assert ("fc.weight" if by == "path" else "dense.w") in arrays
    report = load(save(tmp_path / "a", arrays), network)
    assert held(network) == [array.tobytes() for array in arrays.values()]
    assert report.ok and str(report).startswith(
        f"{tmp_path / 'a'}: 7 tensors loaded by {'path' if by == 'path' else 'Parameter.name'}"
    )
    assert {"dense.w", "dense.b"} < {place.name for place in places(network)}  # names stay


@pytest.mark.parametrize("cell", [nn.BatchNorm2d(3), nn.PReLU(3)], ids=["BatchNorm2d", "PReLU"])
def test_bare_cells_are_loaded_by_both_spellings(tmp_path: Path, cell: Any) -> None:
    """A bare BatchNorm's name 'mean' is the path 'moving_mean', a bare PReLU's 'a' is 'w'."""
    by_path, by_name = values(cell, seed=1), values(cell, "name", seed=2)
    assert set(by_path) != set(by_name)
    for number, arrays in enumerate((by_path, by_name)):
        load(save(tmp_path / str(number), arrays), cell)
        assert held(cell) == [array.tobytes() for array in arrays.values()]


def test_a_file_that_mixes_both_spellings_is_refused(tmp_path: Path) -> None:
    arrays = values(Net())
    arrays["dense.w"] = arrays.pop("fc.weight")
    with pytest.raises(
        CheckpointError,
        match=r"by path: 1 missing, 1 unexpected\n  missing: fc.weight \(in the file, of equal shape: dense.w\)",
    ):
        load(save(tmp_path / "a", arrays), Net())


def test_missing_and_unexpected_names_raise_and_change_nothing(tmp_path: Path) -> None:
    """MindSpore's load_param_into_net returns lists that nobody reads: BatchNorms silently stay at their initial values."""
    network = Net()
    before = held(network)
    arrays = values(network)
    for torchs, ours in (
        ("weight", "gamma"),
        ("bias", "beta"),
        ("running_mean", "moving_mean"),
        ("running_var", "moving_variance"),
    ):
        arrays[f"bn.{torchs}"] = arrays.pop(f"bn.{ours}")
    with pytest.raises(CheckpointError, match=r"4 missing, 4 unexpected\n(.*\n)*.*Hint") as caught:
        load(save(tmp_path / "a", arrays), network)
    assert sorted(caught.value.missing) == ["bn.beta", "bn.gamma", "bn.moving_mean", "bn.moving_variance"]
    assert sorted(caught.value.unmatched) == ["bn.bias", "bn.running_mean", "bn.running_var", "bn.weight"]
    assert caught.value.candidates["bn.moving_mean"][0] == "bn.running_mean"
    assert len(caught.value.candidates["bn.gamma"]) <= 3
    assert held(network) == before


@pytest.mark.parametrize(
    ("shape", "dtype", "words"),
    [
        ((3, 2), "f4", r"fc.weight: float32\[3, 2\] in the file, float32\[2, 3\] in the network"),
        ((2, 3, 1, 1), "f4", r"float32\[2, 3, 1, 1\]"),  # MindSpore loads these into (2, 3), even when strict
        ((6,), "f4", r"float32\[6\]"),
        ((2, 3), "f2", r"float16\[2, 3\] in the file, float32"),
        ((2, 3), "f8", r"float64\[2, 3\] in the file, float32"),
    ],
)
def test_other_shapes_and_dtypes_raise_and_change_nothing(tmp_path: Path, shape: Any, dtype: str, words: str) -> None:
    network = Net()
    before = held(network)
    arrays = {**values(network), "fc.weight": np.ones(shape, dtype)}
    with pytest.raises(CheckpointError, match=rf"1 tensors have another shape or dtype than the network's\n.*{words}.*Hint"):
        load(save(tmp_path / "a", arrays), network)
    assert held(network) == before


@pytest.mark.parametrize(("network", "file"), [((), (1,)), ((1,), ())])
def test_0d_is_not_1d(tmp_path: Path, network: Any, file: Any) -> None:
    cell = nn.Cell()
    cell.insert_param_to_cell("scale", ms.Parameter(from_numpy(np.ones(network, np.float32)), name="scale"))
    with pytest.raises(CheckpointError, match="another shape"):
        load(save(tmp_path / "a", {"scale": np.ones(file, np.float32)}), cell)
    load(save(tmp_path / "b", {"scale": np.full(network, 3, np.float32)}), cell)
    assert cell.scale.shape == network and float(cell.scale.asnumpy().item()) == 3


def test_bfloat16_is_loaded_bit_for_bit(tmp_path: Path) -> None:
    """NaN payloads and -0.0; everything of bfloat16 that touches numpy 2 fails in MindSpore itself."""
    cell = nn.Dense(4, 1, has_bias=False)
    cell.weight.set_dtype(ms.bfloat16)
    bits = np.array([[0x7FC1, 0xFFA5, 0x8000, 0x0001]], np.uint16)
    load(save(tmp_path / "a", {"weight": bits.view(ml_dtypes.bfloat16)}), cell)
    assert cell.weight.get_bytes() == bits.tobytes() and str(cell.weight.dtype) == "BFloat16"
    with pytest.raises(CheckpointError, match=r"float32\[1, 4\] in the file, bfloat16\[1, 4\]"):
        load(save(tmp_path / "b", {"weight": np.ones((1, 4), np.float32)}), cell)


class Tied(nn.Cell):
    """A head that is the embedding, at two paths."""

    def __init__(self) -> None:
        super().__init__()
        self.emb = nn.Embedding(5, 3)
        self.head = nn.Dense(3, 5, has_bias=False)
        self.head.weight = self.emb.embedding_table


def test_tied_parameters_need_one_tensor_and_take_equal_ones(tmp_path: Path) -> None:
    """Tied weights are missing in safetensors and present in a .bin."""
    w, other = np.arange(15, dtype="f4").reshape(5, 3), np.ones((5, 3), "f4")
    for names in (["emb.embedding_table"], ["head.weight"], ["emb.embedding_table", "head.weight"]):
        network = Tied()
        report = load(save(tmp_path / "a", dict.fromkeys(names, w)), network)
        assert held(network) == [w.tobytes()]
        assert ("tied" in report) == (len(names) == 2)
    with pytest.raises(CheckpointError, match="'emb.embedding_table' and 'head.weight' differ, and are one parameter"):
        load(save(tmp_path / "b", {"emb.embedding_table": w, "head.weight": other}), Tied())


def test_names_that_two_parameters_share_are_refused(tmp_path: Path) -> None:
    """MindSpore's files hold one of the two."""
    cell = nn.SequentialCell(nn.Dense(2, 2, has_bias=False), nn.Dense(2, 2, has_bias=False))
    cell[0].weight.name = cell[1].weight.name = "w"
    with pytest.raises(CheckpointError, match=r"1 names belong to two parameters each: w\. Hint"):
        load(save(tmp_path / "a", {"w": np.ones((2, 2), "f4")}), cell)
    load(save(tmp_path / "b", {"0.weight": np.ones((2, 2), "f4"), "1.weight": np.zeros((2, 2), "f4")}), cell)
    assert [place.value.asnumpy().sum() for place in places(cell)] == [4, 0]


def test_a_truncated_file_is_no_network(tmp_path: Path) -> None:
    path = save(tmp_path / "a", values(Net()))
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(CheckpointError):
        load(path, Net())


def test_what_mindspore_saves_is_loaded(tmp_path: Path) -> None:
    """save_checkpoint(cell) writes Parameter.name and leaves buffers out; so the buffer is missing, and said to be."""
    network, other = nn.SequentialCell(nn.Dense(3, 2), nn.BatchNorm2d(2)), nn.SequentialCell(nn.Dense(3, 2), nn.BatchNorm2d(2))
    for format in ("ckpt", "safetensors"):
        ms.save_checkpoint(network, str(tmp_path / f"a.{format}"), format=format)
        load(tmp_path / f"a.{format}", other)
        assert held(other) == held(network)
    ms.save_checkpoint(Net(), str(tmp_path / "b.ckpt"))
    with pytest.raises(CheckpointError, match="1 missing, 0 unexpected\n  missing: steps"):
        load(tmp_path / "b.ckpt", Net())


def test_a_compiled_optimizer_goes_on_with_what_was_loaded(tmp_path: Path) -> None:
    """MindSpore's own way (set_data) cuts it off: it would train storage that nobody reads."""
    network = nn.SequentialCell(nn.Dense(2, 1, has_bias=False))
    optimizer = nn.SGD(network.trainable_params(), learning_rate=1.0)
    weight = network.trainable_params()[0]
    step = lambda: optimizer((ms.Tensor(np.ones((1, 2), np.float32)),))  # noqa: E731
    step()
    path = tmp_path / "w.ckpt"
    ms.save_checkpoint([{"name": weight.name, "data": ms.Tensor(np.full((1, 2), 5, np.float32))}], str(path))
    load(path, network)
    assert weight.asnumpy().tolist() == [[5.0, 5.0]]
    step()
    assert weight.asnumpy().tolist() == [[4.0, 4.0]]
