"""torch's zip files: what torch itself writes comes back bit by bit, and damage is an error or an equal result."""

from __future__ import annotations

import os
import random
import time
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from damage import damaged

from dsbridge.checkpoint.convert import convert
from dsbridge.checkpoint.formats.torch_words import Refused
from dsbridge.checkpoint.formats.torch_zip import READER, entries
from dsbridge.checkpoint.stored import Checkpoint
from dsbridge.errors import CheckpointError
from dsbridge.schema.dtypes import TABLE

DTYPES = [row.name for row in TABLE if row.torch]


def bits(tensor: torch.Tensor) -> bytes:
    """The bytes of a contiguous copy, whatever the dtype."""
    flat = tensor.detach().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""


def random_bits(shape: tuple[int, ...], dtype: str, seed: int = 0) -> torch.Tensor:
    """Every kind of value, NaN payloads and -0.0 included."""
    kind = getattr(torch, dtype)
    count = int(np.prod(shape)) * kind.itemsize
    raw = np.random.default_rng(seed).integers(0, 2 if dtype == "bool" else 256, count, dtype=np.uint8)
    return torch.from_numpy(raw).view(kind).reshape(shape) if count else torch.empty(shape, dtype=kind)


def save(value: Any, path: Path) -> Checkpoint:
    torch.save(value, path)
    assert READER.matches(path, path.read_bytes()[:4096])
    return READER.read(path)


def same(stored: Any, tensor: torch.Tensor) -> None:
    """Dtype, shape and every bit, read whole and in chunks."""
    assert f"torch.{stored.dtype}" == str(tensor.dtype) and stored.shape == tuple(tensor.shape)
    assert stored.read().shape == stored.shape
    assert stored.read().tobytes() == bits(tensor) == b"".join(bytes(chunk) for chunk in stored.chunks(7))


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_and_shape(dtype: str, tmp_path: Path) -> None:
    """0-d stays (), zero-size tensors stay, NaN payloads and -0.0 keep their bits (bfloat16 on numpy 2, too)."""
    state = OrderedDict(
        (str(shape), random_bits(shape, dtype)) for shape in [(), (0,), (0, 4), (3, 0), (1,), (2, 3), (5, 1, 2)]
    )
    got = save(state, tmp_path / "a.pth")
    assert got.format == "torch-zip" and list(got.tensors) == list(state) == list(got.tree) and not len(got.report)
    for name, tensor in state.items():
        same(got.tensors[name], tensor)
        assert got.tensors[name].strides is None


def test_bfloat16_nan_payload_and_minus_zero(tmp_path: Path) -> None:
    pattern = torch.tensor([0x7F81, -0x8000, 0x7FFF, 0x0001], dtype=torch.int16).view(torch.bfloat16)
    assert save({"w": pattern}, tmp_path / "a").tensors["w"].read().view(np.uint16).tolist() == [0x7F81, 0x8000, 0x7FFF, 1]


def test_views_of_one_storage(tmp_path: Path) -> None:
    """Slices, transposed, expanded, channels_last: strided over the bytes that they touch; contiguous ones are not strided."""
    base = random_bits((6, 8), "float32")
    image = random_bits((2, 3, 4, 5), "float32").contiguous(memory_format=torch.channels_last)
    state = {
        "rows": base[2:4],
        "block": base[1:3, 2:4],
        "transposed": base.t(),
        "expanded": base[:1].expand(4, 8),
        "scalar expanded": base[0, 0].expand(3, 2),
        "every other": base[::2, ::3],
        "channels last": image,
        "one": base[3, 3],
        "empty": base[3:3],
        "column": base[:, 2:3],
        "cell": base[2:3, 2:3],  # strides of a dimension of size 1 say nothing
    }
    got = save(state, tmp_path / "a").tensors
    for name, tensor in state.items():
        same(got[name], tensor)
    assert {name for name in got if got[name].strides is None} == {"rows", "one", "empty", "cell"}
    assert got["expanded"].strides == (0, 1) and got["expanded"].spans[0].length == 32
    assert got["block"].spans[0].length == (8 + 2) * 4


def test_tied_tensors(tmp_path: Path) -> None:
    """The same storage, offset, shape and strides, also under another path; a view of another shape is not tied."""
    base = random_bits((2, 3), "float32")
    got = save({"a": base, "b": {"c": base}, "d": base.view(2, 3), "e": base.view(3, 2), "f": base.clone()}, tmp_path / "a")
    assert {name: tensor.tied_to for name, tensor in got.tensors.items()} == {"a": "", "b.c": "a", "d": "a", "e": "", "f": ""}
    assert got.nbytes == 3 * 24


def test_lightning_like(tmp_path: Path) -> None:
    """Its nesting, with optimizer state under numbers: the tree keeps types, the names are joined by dots."""
    weight = random_bits((2, 2), "float32")
    value = {
        "epoch": 3,
        "global_step": 40,
        "pytorch-lightning_version": "2.6.6",
        "state_dict": OrderedDict([("model.0.weight", weight), ("model.1.num_batches_tracked", torch.tensor(7))]),
        "optimizer_states": [
            {
                "state": {0: {"step": torch.tensor(4.0), "exp_avg": weight + 1}},
                "param_groups": [{"lr": 0.1, "betas": (0.9, 0.999)}],
            }
        ],
        "lr_schedulers": [],
        "hyper_parameters": {
            "lr": 0.1,
            "name": None,
            "dtype": torch.float16,
            "size": weight.shape,
            "device": torch.device("cpu"),
        },
    }
    got = save(value, tmp_path / "last.ckpt")
    assert list(got.tensors) == [
        "state_dict.model.0.weight",
        "state_dict.model.1.num_batches_tracked",
        "optimizer_states.0.state.0.step",
        "optimizer_states.0.state.0.exp_avg",
    ]
    assert got.tree["optimizer_states"][0]["param_groups"] == [{"lr": 0.1, "betas": (0.9, 0.999)}]
    assert got.tree["optimizer_states"][0]["state"][0]["step"] is got.tensors["optimizer_states.0.state.0.step"]
    assert got.tree["hyper_parameters"] == {"lr": 0.1, "name": None, "dtype": "torch.float16", "size": (2, 2), "device": "cpu"}
    assert type(got.tree["state_dict"]) is OrderedDict
    same(got.tensors["optimizer_states.0.state.0.exp_avg"], weight + 1)


def test_a_module_saved_whole(tmp_path: Path) -> None:
    """Its classes are unknown and stay stubs; its tensors have their state_dict's names; its optimizer's too."""
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Sequential(torch.nn.BatchNorm1d(3)))
    got = save(model, tmp_path / "a")
    assert sorted(got.tensors) == sorted(model.state_dict())
    for name, tensor in model.state_dict().items():
        same(got.tensors[name], tensor)
    (finding,) = got.report
    assert finding.code == "unknown-global" and "torch.nn.modules.batchnorm.BatchNorm1d" in finding.message
    trusted = READER.read(tmp_path / "a", trust=True)
    assert type(trusted.tree) is torch.nn.Sequential and sorted(trusted.tensors) == sorted(model.state_dict())


def test_state_dict_versions_are_metadata(tmp_path: Path) -> None:
    """nn.Module.state_dict's ``_metadata`` is kept, not dropped."""
    got = save({"model": torch.nn.BatchNorm1d(2).state_dict()}, tmp_path / "a")
    assert got.metadata == {"model._metadata": {"": {"version": 2}}}


def test_parameters_and_subclasses(tmp_path: Path) -> None:
    """nn.Parameter, one with attributes (said), and a Tensor's subclass."""
    extra = torch.nn.Parameter(torch.ones(2))
    extra.tag = "x"  # type: ignore[attr-defined]
    got = save({"p": torch.nn.Parameter(torch.ones(2)), "x": extra, "s": torch.ones(3).as_subclass(Named)}, tmp_path / "a")
    assert list(got.tensors) == ["p", "x", "s"]
    assert [(found.code, found.where) for found in got.report] == [("unknown-global", "a"), ("dropped-attributes", "x")]


class Named(torch.Tensor):
    """A user's subclass."""


class Runs:
    """Writes a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


def test_a_malicious_checkpoint_does_nothing(tmp_path: Path) -> None:
    """The tensors come out, the payload is named and does not run; torch.load(weights_only=False) would have run it."""
    ran = tmp_path / "ran"
    got = save({"w": torch.ones(2), "evil": Runs(str(ran))}, tmp_path / "a")
    assert not ran.exists() and list(got.tensors) == ["w"] and "posix.system" in str(got.report)
    torch.load(tmp_path / "a", weights_only=False)
    assert ran.exists()


def test_what_is_no_dense_tensor_is_refused_by_name(tmp_path: Path) -> None:
    """Sparse, meta, conjugate and negative views, quantised: a finding each, and nothing among the tensors."""
    with pytest.warns(UserWarning, match="quantize"):
        quantised = torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)
    value = {
        "sparse": torch.eye(2).to_sparse(),
        "meta": torch.ones(2, device="meta"),
        "conj": torch.ones(2, dtype=torch.complex64).conj(),
        "neg": torch._neg_view(torch.ones(2)),
        "quantised": quantised,
        "fine": torch.ones(2),
    }
    got = save(value, tmp_path / "a")
    assert list(got.tensors) == ["fine"] and not got.report.ok
    assert {found.where: found.code for found in got.report} == {
        "sparse": "sparse-tensor",
        "meta": "meta-tensor",
        "conj": "lazy-view",
        "neg": "lazy-view",
        "quantised": "quantised-tensor",
    }
    assert isinstance(got.tree["sparse"], Refused)


class FakeShard:
    """Pickles as torch.distributed's DTensor does."""

    def __reduce__(self) -> Any:
        from torch._tensor import _rebuild_from_type_v2

        return _rebuild_from_type_v2, (torch.Tensor, DTensor, (), {})


class DTensor:
    """Stands for torch.distributed.tensor.DTensor, which needs a process group."""


def test_one_ranks_part_is_refused_by_name(tmp_path: Path) -> None:
    torch.save({"model": {"w": FakeShard()}}, tmp_path / "a")
    with pytest.raises(CheckpointError, match=r"'model.w' is a DTensor, .* one rank's part.*full_tensor"):
        READER.read(tmp_path / "a")


def test_a_tensor_alone_and_a_list(tmp_path: Path) -> None:
    assert list(save(torch.ones(2), tmp_path / "a").tensors) == ["tensor"]
    assert list(save([torch.ones(2), (torch.ones(1),)], tmp_path / "a").tensors) == ["0", "1.0"]


def test_two_tensors_of_one_flat_name(tmp_path: Path) -> None:
    torch.save({"a.b": torch.ones(2), "a": {"b": torch.ones(3)}}, tmp_path / "a")
    with pytest.raises(CheckpointError, match="two tensors have the flat name 'a.b'"):
        READER.read(tmp_path / "a")


def test_an_expanded_tensor_that_claims_terabytes(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(1).expand(1 << 40)}, tmp_path / "a")
    with pytest.raises(CheckpointError, match="claims 4398046511104 bytes by repeating 4"):
        READER.read(tmp_path / "a")


def repacked(path: Path, change: Any = lambda name, data: data, method: int = zipfile.ZIP_STORED) -> None:
    """Write the zip again with its entries changed (None: left out)."""
    with zipfile.ZipFile(path) as old:
        held = [(info.filename, old.read(info)) for info in old.infolist()]
    with zipfile.ZipFile(path, "w", method) as new:
        for name, data in held:
            if (changed := change(name, data)) is not None:
                new.writestr(name, changed)


REFUSED = {
    "compressed": (lambda path: repacked(path, method=zipfile.ZIP_DEFLATED), "is compressed .method 8.*zip -0"),
    "encrypted": (
        lambda path: path.write_bytes(path.read_bytes().replace(b"PK\1\2\0\0\0\0\x08\x08", b"PK\1\2\0\0\0\0\x09\x08")),
        "encrypted",
    ),
    "big-endian": (
        lambda path: repacked(path, lambda name, data: b"big" if name.endswith("byteorder") else data),
        "byte order b'big'",
    ),
    "no storage": (
        lambda path: repacked(path, lambda name, data: None if name.endswith("data/0") else data),
        "data/0 is not there",
    ),
    "short storage": (
        lambda path: repacked(path, lambda name, data: data[:-4] if name.endswith("data/0") else data),
        "has 8 bytes, expected 12",
    ),
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-30]), "no directory"),
    "trailing": (lambda path: path.write_bytes(path.read_bytes() + b"x"), "bytes after the end"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_the_reason(name: str, tmp_path: Path) -> None:
    torch.save({"w": torch.ones(3)}, tmp_path / "a")
    act, message = REFUSED[name]
    act(tmp_path / "a")
    with pytest.raises(CheckpointError, match=message):
        READER.read(tmp_path / "a")


def test_repacked_with_python_is_read(tmp_path: Path) -> None:
    """Another writer's alignment and order change nothing."""
    torch.save({"w": torch.arange(3.0)}, tmp_path / "a")
    repacked(tmp_path / "a")
    same(READER.read(tmp_path / "a").tensors["w"], torch.arange(3.0))


def test_torchscript_is_refused(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2)}, tmp_path / "a")
    with zipfile.ZipFile(tmp_path / "a", "a") as file:
        file.writestr("a/constants.pkl", b"\x80\x02).")
    with pytest.raises(CheckpointError, match=r"TorchScript.*torch.jit.load"):
        READER.read(tmp_path / "a")


def test_other_zips_are_not_matched(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=np.ones(2))
    assert not READER.matches(tmp_path / "a.npz", (tmp_path / "a.npz").read_bytes()[:4096])


def test_zip64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The zip64 directory and sizes, which Python's zipfile is made to write for a small file."""
    torch.save({"w": torch.arange(3.0)}, tmp_path / "a")
    for limit in ("ZIP64_LIMIT", "ZIP_FILECOUNT_LIMIT"):
        monkeypatch.setattr(zipfile, limit, 2)
    repacked(tmp_path / "a")
    monkeypatch.undo()
    assert b"PK\6\6" in (tmp_path / "a").read_bytes()
    same(READER.read(tmp_path / "a").tensors["w"], torch.arange(3.0))


def test_checksums_are_compared_as_tensors_are_read(tmp_path: Path) -> None:
    """A flipped bit is found by whoever reads it, by the tensor; a file without checksums says so and is not an error."""
    got = save({"w": torch.arange(600_000.0), "t": torch.ones(3, 2).t()}, tmp_path / "a")
    assert all(tensor.spans[0].crc for tensor in got.tensors.values())
    data = bytearray((tmp_path / "a").read_bytes())
    for name in got.tensors:
        flipped = bytearray(data)
        flipped[got.tensors[name].spans[0].offset + 9] ^= 4
        (tmp_path / "a").write_bytes(flipped)
        damaged = READER.read(tmp_path / "a").tensors
        for use in (damaged[name].read, lambda: list(damaged[name].chunks())):  # noqa: B023
            with pytest.raises(CheckpointError, match=f"of tensor '{name}': CRC-32"):
                use()
        with pytest.raises(CheckpointError, match="CRC-32"):
            convert(tmp_path / "a", tmp_path / "b.safetensors", progress=False, read_back=False)
        assert not (tmp_path / "b.safetensors").exists()
        assert [list(tensor.chunks()) for other, tensor in damaged.items() if other != name]
    torch.serialization.set_crc32_options(False)
    try:
        got = save({"w": torch.arange(64.0)}, tmp_path / "b")
    finally:
        torch.serialization.set_crc32_options(True)
    assert "no-crc" in got.report and not got.tensors["w"].spans[0].crc


def test_a_damaged_pickle_is_found_without_asking(tmp_path: Path) -> None:
    """Its checksum is always compared: a flipped bit there could turn (2, 3) into (3, 2)."""
    save({"w": torch.ones(2, 3)}, tmp_path / "a")
    data = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(data.replace(b"K\x02K\x03\x86", b"K\x03K\x02\x86", 1))
    with pytest.raises(CheckpointError, match="data.pkl' is not what its checksum says"):
        READER.read(tmp_path / "a")


def test_entries_are_where_python_finds_them(tmp_path: Path) -> None:
    torch.save({"w": torch.arange(64.0), "e": torch.ones(0)}, tmp_path / "a")
    with open(tmp_path / "a", "rb") as file, zipfile.ZipFile(tmp_path / "a") as other:
        held = entries(file, "a")
        assert list(held) == other.namelist()
        for name, entry in held.items():
            file.seek(entry.offset)
            assert file.read(entry.length) == other.read(name)


def test_seeded_corruptions(tmp_path: Path) -> None:
    """200 damaged files, read and checked: an error or an equal result; never another exception, crash or hang."""
    value = {
        "w": random_bits((4, 5), "float32"),
        "b": {"t": random_bits((3,), "bfloat16"), "n": 3},
        "v": random_bits((2, 2), "int64").t(),
    }
    path = tmp_path / "a"
    want = save(value, path)
    contents = {name: tensor.read().tobytes() for name, tensor in want.tensors.items()}
    whole, rng, refused, begin = path.read_bytes(), random.Random(7), 0, time.monotonic()
    for _ in range(200):
        data = damaged(whole, rng)
        path.write_bytes(data)
        try:
            READER.matches(path, bytes(data[:4096]))
            got = READER.read(path)
            _ = [tensor.read() for tensor in got.tensors.values()]
        except CheckpointError:
            refused += 1
            continue
        assert list(got.tensors) == list(want.tensors) and got.tree["b"]["n"] == 3
        for name, tensor in got.tensors.items():
            assert (tensor.dtype, tensor.shape) == (want.tensors[name].dtype, want.tensors[name].shape)
            assert tensor.read().tobytes() == contents[name]
    assert refused > 100
    assert time.monotonic() - begin < 60
