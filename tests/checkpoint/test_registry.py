"""Opening by content: suffixes are never looked at, unknown content is described, nothing heavy is imported."""

from __future__ import annotations

import importlib
import os
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from test_safetensors_format import some, store

from dsbridge.checkpoint.formats import registry
from dsbridge.checkpoint.formats.mindspore_ckpt import MindSporeWriter
from dsbridge.checkpoint.formats.registry import open_checkpoint
from dsbridge.checkpoint.formats.safetensors_format import SafetensorsWriter
from dsbridge.errors import CheckpointError


def test_every_listed_reader_is_there() -> None:
    """All modules of ``READERS`` import and have a READER with a name of its own."""
    names = [importlib.import_module(f"dsbridge.checkpoint.formats.{module}").READER.name for module in registry.READERS]
    assert len(set(names)) == len(registry.READERS)


def test_the_suffix_is_never_looked_at(tmp_path: Path) -> None:
    """A Lightning .ckpt, a MindSpore .ckpt and safetensors, each under each suffix."""
    arrays = {"w": some("float32", (2, 3))}
    for suffix in (".ckpt", ".pth", ".safetensors", ".bin", "", ".json"):
        for name, data in (
            ("safetensors", store(SafetensorsWriter(), arrays)),
            ("mindspore-ckpt", store(MindSporeWriter(), arrays)),
        ):
            path = tmp_path / f"m{suffix}"
            path.write_bytes(data)
            checkpoint = open_checkpoint(str(path))
            assert checkpoint.format == name
            assert checkpoint.tensors["w"].read().tobytes() == arrays["w"].tobytes()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_torch_or_lightning_ckpt_is_not_taken_for_mindspores(zipped: bool, tmp_path: Path) -> None:
    """MindSpore's loader says "may be corrupted" of it."""
    path = tmp_path / "last.ckpt"
    content = {"epoch": 3, "state_dict": OrderedDict(w=torch.ones(2, 3)), "pytorch-lightning_version": "2.6.6"}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    checkpoint = open_checkpoint(path)
    assert "torch" in checkpoint.format
    assert checkpoint.tensors["state_dict.w"].read().tolist() == np.ones((2, 3)).tolist()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer.*git lfs pull"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"GGUF\x03\x00\x00\x00", "GGUF"),
        (b"\x93NUMPY\x01\x00", "numpy array"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"<!DOCTYPE html>", "web page"),
        (b"\x80\x04N.", "a pickle that is no torch checkpoint"),
        (b"hello, world", "begins with b'hello, world', which is none of safetensors, .*mindspore-ckpt.*shards"),
        (b"{}", "JSON without a weight_map"),
        (b"[1, 2]", "which is none of"),
        (bytes(20), "which is none of"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_unknown_content_is_described(content: bytes, message: str, tmp_path: Path) -> None:
    """What the first bytes look like, and what is known."""
    path = tmp_path / "m.ckpt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        open_checkpoint(path)
    assert str(path) in str(caught.value)


def test_what_is_not_there_or_no_file_is_an_error(tmp_path: Path) -> None:
    """Missing paths, directories without an index, pipes (which would block)."""
    with pytest.raises(CheckpointError, match="No such file"):
        open_checkpoint(tmp_path / "none")
    with pytest.raises(CheckpointError, match="in it: nothing"):
        open_checkpoint(tmp_path)
    (tmp_path / "b.bin").write_bytes(b"x")
    (tmp_path / "a.bin").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="in it: a.bin, b.bin. Hint: name one of its files"):
        open_checkpoint(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CheckpointError, match="neither a file nor a directory"):
        open_checkpoint(tmp_path / "pipe")


def test_neither_framework_is_imported(tmp_path: Path, run_python) -> None:  # type: ignore[no-untyped-def]
    """Opening, reading and describing: numpy and ml_dtypes are all."""
    for name, writer in (("a", SafetensorsWriter()), ("b", MindSporeWriter())):
        (tmp_path / name).write_bytes(store(writer, {"w": some("bfloat16", (2,))}))
    done = run_python(
        """
        import sys
        from dsbridge.checkpoint.formats.registry import open_checkpoint, readers
        from dsbridge.checkpoint.inspect import inspect
        for name in "ab":
            assert open_checkpoint(name).tensors["w"].read().shape == (2,)
            inspect(name).text()
        list(readers())
        print([m for m in ("torch", "mindspore", "safetensors", "google.protobuf", "pyarrow") if m in sys.modules])
        """
    )
    assert done.stdout == "[]\n", done.stderr
