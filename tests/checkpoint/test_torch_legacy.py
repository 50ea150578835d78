"""torch's legacy files: bit by bit what torch writes, nothing runs, and damage never crashes."""

from __future__ import annotations

import os
import random
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dsbridge.checkpoint.formats import torch_zip
from dsbridge.checkpoint.formats.torch_legacy import READER
from dsbridge.checkpoint.stored import Checkpoint
from dsbridge.errors import CheckpointError
from dsbridge.schema.dtypes import TABLE


def bits(tensor: torch.Tensor) -> bytes:
    flat = tensor.detach().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""


def random_bits(shape: tuple[int, ...], dtype: str) -> torch.Tensor:
    kind = getattr(torch, dtype)
    count = int(np.prod(shape)) * kind.itemsize
    raw = np.random.default_rng(1).integers(0, 2 if dtype == "bool" else 256, count, dtype=np.uint8)
    return torch.from_numpy(raw).view(kind).reshape(shape) if count else torch.empty(shape, dtype=kind)


def save(value: Any, path: Path, protocol: int = 2) -> Checkpoint:
    torch.save(value, path, _use_new_zipfile_serialization=False, pickle_protocol=protocol)
    head = path.read_bytes()[:4096]
    assert READER.matches(path, head) and not torch_zip.READER.matches(path, head)
    return READER.read(path)


@pytest.mark.parametrize("dtype", [row.name for row in TABLE if row.torch])
def test_every_dtype_and_shape(dtype: str, tmp_path: Path) -> None:
    """As spans of the file: 0-d and zero-size, NaN payloads; one storage's length is in the file and must agree."""
    state = OrderedDict((str(shape), random_bits(shape, dtype)) for shape in [(), (0,), (0, 4), (2, 3), (5, 1)])
    got = save(state, tmp_path / "a")
    assert list(got.tensors) == list(state) and not len(got.report) and got.format == "torch-legacy"
    for name, tensor in state.items():
        stored = got.tensors[name]
        assert stored.dtype == dtype and stored.shape == tuple(tensor.shape) and stored.read().tobytes() == bits(tensor)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_nested_views_and_ties(protocol: int, tmp_path: Path) -> None:
    """The tree, slices, transposed and expanded views, tied tensors, in all protocols that torch takes."""
    base = random_bits((4, 6), "bfloat16")
    value = {"epoch": 3, "model": {"w": base, "tied": base, "t": base.t(), "s": base[1:3, 2:4], "e": base[:1].expand(3, 6)}}
    got = save(value, tmp_path / "a", protocol)
    for name, tensor in value["model"].items():  # type: ignore[attr-defined]
        stored = got.tensors[f"model.{name}"]
        assert stored.shape == tuple(tensor.shape) and stored.read().tobytes() == bits(tensor)
    assert got.tree["epoch"] == 3 and got.tensors["model.tied"].tied_to == "model.w"
    assert got.tensors["model.e"].strides == (0, 1)


def test_a_whole_module_with_its_source(tmp_path: Path) -> None:
    """The legacy format keeps the class's source beside it; it is neither compared nor run."""
    model = torch.nn.Sequential(torch.nn.Linear(2, 3))
    got = save(model, tmp_path / "a")
    assert sorted(got.tensors) == ["0.bias", "0.weight"] and "unknown-global" in got.report
    assert got.tensors["0.weight"].read().tobytes() == bits(model[0].weight)


class Runs:
    """Writes a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


def test_a_malicious_checkpoint_does_nothing(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    got = save({"w": torch.ones(2), "evil": Runs(str(ran))}, tmp_path / "a")
    assert not ran.exists() and list(got.tensors) == ["w"] and "posix.system" in str(got.report)
    torch.load(tmp_path / "a", weights_only=False)
    assert ran.exists()


def test_trailing_bytes_are_said(tmp_path: Path) -> None:
    save({"w": torch.ones(2)}, tmp_path / "a")
    with open(tmp_path / "a", "ab") as file:
        file.write(b"more")
    (finding,) = READER.read(tmp_path / "a").report
    assert (finding.code, finding.severity) == ("trailing-bytes", "warning") and "4 bytes" in finding.message


def test_truncated_storage_is_named(tmp_path: Path) -> None:
    save({"w": torch.ones(200)}, tmp_path / "a")
    (tmp_path / "a").write_bytes((tmp_path / "a").read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"storage \d+ has 200 elements, .*the file ends at"):
        READER.read(tmp_path / "a")


def test_a_storage_of_another_length_is_named(tmp_path: Path) -> None:
    """The length before the data must be the one that the pickle says: else all that follows is shifted."""
    span = save({"w": torch.ones(2), "x": torch.ones(9)}, tmp_path / "a").tensors["w"].spans[0]
    data = bytearray((tmp_path / "a").read_bytes())
    data[span.offset - 8] = 3
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(CheckpointError, match="has 3 elements, expected 2"):
        READER.read(tmp_path / "a")


def test_big_endian_is_refused(tmp_path: Path) -> None:
    save({"w": torch.ones(2)}, tmp_path / "a")
    data = (tmp_path / "a").read_bytes()
    at = data.index(b"little_endian") + len("little_endianq\x02")
    (tmp_path / "a").write_bytes(data[:at] + data[at:].replace(b"\x88", b"\x89", 1))
    with pytest.raises(CheckpointError, match="big-endian"):
        READER.read(tmp_path / "a")


def test_seeded_corruptions(tmp_path: Path) -> None:
    """300 damaged files: an error or a result (the format has no checksum), never another exception, crash or hang.

    A flipped bit inside the storages changes tensor data only.
    """
    value = {
        "w": random_bits((4, 5), "float32"),
        "b": {"t": random_bits((3,), "uint16"), "n": 3},
        "v": random_bits((2, 2), "int64").t(),
    }
    path = tmp_path / "a"
    want = save(value, path)
    whole, rng, refused, begin = path.read_bytes(), random.Random(7), 0, time.monotonic()
    storages = min(span.offset for tensor in want.tensors.values() for span in tensor.spans)
    for _ in range(300):
        data, flipped = bytearray(whole), -1
        match rng.randrange(3):
            case 0:
                del data[rng.randrange(len(data)) :]
            case 1:
                flipped = rng.randrange(len(data))
                data[flipped] ^= 1 << rng.randrange(8)
            case _:
                at, other = rng.randrange(len(data)), rng.randrange(len(data))
                data[at:at] = data[other : other + rng.randrange(1, 200)]
        path.write_bytes(data)
        try:
            got = READER.read(path)
            _ = [tensor.read() for tensor in got.tensors.values()]
        except CheckpointError:
            refused += 1
            continue
        if flipped >= storages:
            assert got.tensors == want.tensors and got.tree == want.tree  # the same places; only what is there differs
    assert refused > 120
    assert time.monotonic() - begin < 60
