"""500 seeded corruptions of each format: an error, or a result; where the format carries a check, an equal one."""

from __future__ import annotations

import random
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import mindspore
import numpy as np
import pytest
import torch
import torch.distributed.checkpoint as dcp
from damage import damaged

import dsbridge as dsb
from dsbridge.checkpoint.formats.registry import open_checkpoint
from dsbridge.errors import CheckpointError


def state() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "w": torch.randn(4, 5, generator=generator),
        "h": torch.randn(3, generator=generator).bfloat16(),
        "n": torch.tensor(7),
        "t": torch.randint(0, 9, (2, 3), generator=generator).t(),
    }


def torch_zip(folder: Path) -> Path:
    torch.save(state(), folder / "a")
    return folder / "a"


def legacy(folder: Path) -> Path:
    torch.save(state(), folder / "a", _use_new_zipfile_serialization=False)
    return folder / "a"


def lightning(folder: Path) -> Path:
    torch.save({"epoch": 3, "pytorch-lightning_version": "2.6", "state_dict": state(), "loops": {}}, folder / "a")
    return folder / "a"


def converted(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        dsb.checkpoint.convert(torch_zip(folder), folder / name, progress=False)
        (folder / "a").unlink()
        return folder / name

    return make


def parts(folder: Path) -> Path:
    torch_zip(folder)
    dsb.checkpoint.convert(folder / "a", folder / "m.safetensors.index.json", max_shard_size=60, progress=False)
    (folder / "a").unlink()
    return folder


def distributed(folder: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that there is one process
        dcp.save(state(), checkpoint_id=folder / "d", no_dist=True)
    return folder / "d"


def with_crc(folder: Path) -> Path:
    tensors = [
        {"name": name, "data": mindspore.Tensor.from_numpy(t.float().contiguous().numpy())} for name, t in state().items()
    ]
    mindspore.save_checkpoint(tensors, str(folder / "a.ckpt"), crc_check=True)
    (folder / "a.ckpt").chmod(0o644)
    return folder / "a.ckpt"


MAKE: dict[str, tuple[Callable[[Path], Path], bool]] = {
    "torch zip": (torch_zip, True),
    "torch legacy": (legacy, False),
    "Lightning": (lightning, True),
    "safetensors": (converted("a.safetensors"), False),
    "parts under an index": (parts, False),
    "distributed": (distributed, False),
    "MindSpore .ckpt": (converted("a.ckpt"), False),
    "MindSpore .ckpt with crc": (with_crc, True),
}
"""How a file is made, and whether its format carries a check of the tensors."""


def held(path: Path) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    tensors = open_checkpoint(path).tensors
    return {name: (t.dtype, t.shape, np.ascontiguousarray(t.read()).tobytes()) for name, t in tensors.items()}


@pytest.mark.parametrize("name", MAKE)
def test_500_corruptions(name: str, tmp_path: Path) -> None:
    make, checked = MAKE[name]
    path = make(tmp_path)
    files = sorted(file for file in ([path] if path.is_file() else path.iterdir()))
    whole, expected = {file: file.read_bytes() for file in files}, held(path)
    rng, refused, begin = random.Random(5), 0, time.monotonic()
    for number in range(500):
        file = files[number % len(files)]
        data = damaged(whole[file], rng)
        file.write_bytes(data)
        try:
            got = held(path)
        except CheckpointError:
            refused += 1
        else:
            lost_its_check = (
                b"crc_num" not in data if name.endswith("crc") else False
            )  # cut between two entries: whole, without
            if checked and not lost_its_check:
                assert got == expected, f"{name}, {number}: silently another result"
            assert sum(len(tensor[2]) for tensor in got.values()) <= 2 * sum(map(len, whole.values()))
        file.write_bytes(whole[file])
    assert refused > 125
    assert time.monotonic() - begin < 100
    assert held(path) == expected


def test_damage_is_seen(tmp_path: Path) -> None:
    """The judge itself: a flipped bit of a tensor without a checksum is another result."""
    path = converted("a.safetensors")(tmp_path)
    expected, data = held(path), bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert held(path) != expected
