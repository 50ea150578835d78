"""torch.distributed.checkpoint directories, by byte ranges: equal to what torch makes of them; parts are refused."""

from __future__ import annotations

import pickle
import random
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from damage import damaged
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

from dsbridge.checkpoint.formats.dcp import READER
from dsbridge.checkpoint.stored import Stored
from dsbridge.errors import CheckpointError

pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is .*single process")


def state() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(3)
    return {
        "model": {
            "w": torch.randn(4, 3, generator=generator),
            "b": torch.randn(5, generator=generator).to(torch.bfloat16),
            "z": torch.zeros(0, 3),
            "s": torch.tensor(4),
            "t": torch.randn(2, 3, generator=generator).t(),
        },
        "step": 3,
        "optim": {"state": {0: {"step": torch.tensor(1.0)}}, "groups": [{"lr": 0.1, "betas": (0.9, 0.99)}]},
    }


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    dcp.save(state(), checkpoint_id=str(tmp_path / "c"), no_dist=True)
    return tmp_path / "c"


def bits(tensor: torch.Tensor) -> bytes:
    flat = tensor.contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""


def same(got: Any, want: Any) -> None:
    if isinstance(want, torch.Tensor):
        assert isinstance(got, Stored) and f"torch.{got.dtype}" == str(want.dtype) and got.shape == tuple(want.shape)
        assert got.read().tobytes() == bits(want)
    elif isinstance(want, dict):
        assert list(got) == list(want)
        _ = [same(got[key], want[key]) for key in want]
    elif isinstance(want, (list, tuple)):
        assert type(got) is type(want) and len(got) == len(want)
        _ = [same(a, b) for a, b in zip(got, want, strict=True)]
    else:
        assert got == want


def test_it_is_what_torch_makes_of_it(directory: Path) -> None:
    """The tree equals dcp_to_torch_save's, bit by bit; tensors have their flat keys."""
    assert READER.matches(directory, b"")
    got = READER.read(directory)
    dcp_to_torch_save(directory, directory.parent / "all.pth")
    same(got.tree, torch.load(directory.parent / "all.pth"))
    assert list(got.tensors) == ["model.w", "model.b", "model.z", "model.s", "model.t", "optim.state.0.step"]
    assert got.format == "torch-dcp" and not len(got.report)


def change(directory: Path, act: Any) -> None:
    """Change the .metadata as torch reads it."""
    held = pickle.loads((directory / ".metadata").read_bytes())
    act(held)
    (directory / ".metadata").write_bytes(pickle.dumps(held))


def shard(directory: Path, dim: int) -> None:
    """Make of model.w what two ranks would have saved: two pieces along a dimension, in two files."""
    from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, MetadataIndex

    halves = state()["model"]["w"].chunk(2, dim) if dim == 0 else state()["model"]["w"].split([2, 1], 1)

    def act(held: Any) -> None:
        old = next(index for index in held.storage_data if index.fqn == "model.w")
        info = held.storage_data.pop(old)
        chunks, start = [], 0
        for rank, half in reversed(list(enumerate(halves))):
            file = directory / f"__{rank + 7}_0.distcp"
            torch.save(half.clone(), file)
            start = sum(other.shape[dim] for other in halves[:rank])
            offset = torch.Size([start, 0] if dim == 0 else [0, start])
            chunks.append(ChunkStorageMetadata(offset, half.shape))
            held.storage_data[MetadataIndex("model.w", offset)] = type(info)(file.name, 0, file.stat().st_size)
        held.state_dict_metadata["model.w"].chunks = chunks

    change(directory, act)


def test_rows_of_several_ranks_are_joined(directory: Path) -> None:
    """Spans in two files, in the order of the rows, not of the directory."""
    shard(directory, 0)
    got = READER.read(directory).tensors["model.w"]
    same(got, state()["model"]["w"])
    assert [Path(span.path).name for span in got.spans] == ["__7_0.distcp", "__8_0.distcp"]


def test_other_pieces_are_refused_with_the_command(directory: Path) -> None:
    shard(directory, 1)
    with pytest.raises(CheckpointError, match=r"'model.w' has a piece \[4, 2\] at \[0, 0\].*dcp_to_torch"):
        READER.read(directory)


def test_a_missing_rank_is_named(directory: Path) -> None:
    shard(directory, 0)
    (directory / "__8_0.distcp").unlink()
    with pytest.raises(CheckpointError, match=r"__8_0.distcp missing.*copy the files of all ranks"):
        READER.read(directory)


def test_a_gap_between_the_pieces_is_refused(directory: Path) -> None:
    """A piece that the .metadata forgot must not become a shorter or shifted tensor."""
    shard(directory, 0)

    def act(held: Any) -> None:
        held.storage_data.pop(next(index for index in held.storage_data if index.fqn == "model.w" and index.offset[0] == 2))

    change(directory, act)
    with pytest.raises(CheckpointError, match="'model.w' has 2 rows of 4"):
        READER.read(directory)


def test_files_outside_of_the_directory_are_not_read(directory: Path) -> None:
    (directory.parent / "secret").write_bytes((directory / "__0_0.distcp").read_bytes())

    def act(held: Any) -> None:
        for info in held.storage_data.values():
            info.relative_path = "../secret"

    change(directory, act)
    with pytest.raises(CheckpointError, match="outside of the directory"):
        READER.read(directory)


def test_compressed_pieces_are_refused(directory: Path) -> None:
    def act(held: Any) -> None:
        for info in held.storage_data.values():
            info.transform_descriptors = ["stream.zstd"]

    change(directory, act)
    with pytest.raises(CheckpointError, match="compressed or transformed"):
        READER.read(directory)


class Runs:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> Any:
        return eval, (f"open({self.path!r}, 'w').close()",)


def test_a_malicious_metadata_does_nothing(directory: Path, tmp_path: Path) -> None:
    """A payload in .metadata is neither run nor silent."""
    change(directory, lambda held: setattr(held, "storage_meta", Runs(tmp_path / "ran")))
    got = READER.read(directory)
    assert not (tmp_path / "ran").exists() and "builtins.eval" in str(got.report)
    pickle.loads((directory / ".metadata").read_bytes())
    assert (tmp_path / "ran").exists()


def test_seeded_corruptions(directory: Path) -> None:
    """200 damaged directories: an error or a result, never another exception, crash or hang (.metadata has no checksum)."""
    rng, refused, begin = random.Random(11), 0, time.monotonic()
    whole = {file: (directory / file).read_bytes() for file in (".metadata", "__0_0.distcp")}
    for number in range(200):
        file = (".metadata", "__0_0.distcp")[number % 2]
        data = damaged(whole[file], rng)
        (directory / file).write_bytes(data)
        try:
            got = READER.read(directory)
            _ = [tensor.read() for tensor in got.tensors.values()]
        except CheckpointError:
            refused += 1
        (directory / file).write_bytes(whole[file])
    assert refused > 80
    assert time.monotonic() - begin < 60
