"""Opening a checkpoint of any format, by its content alone."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from pathlib import Path

from dsbridge.checkpoint.formats.base import Reader
from dsbridge.checkpoint.stored import Checkpoint
from dsbridge.errors import CheckpointError

READERS = ("safetensors_format", "torch_zip", "torch_legacy", "dcp", "mindspore_ckpt", "shards")
"""Modules of ``dsbridge.checkpoint.formats`` with a ``READER``, in the order in which they are asked."""

HEAD_BYTES = 4096
"""How much of a file's beginning ``Reader.matches`` sees."""

_KNOWN = (  # what people pass instead, and what to do about it
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself", "run git lfs pull"),
    (b"\x89HDF", "HDF5", "convert it with the library that wrote it"),
    (b"GGUF", "GGUF", "convert it to safetensors first"),
    (b"\x93NUMPY", "a numpy array without a name", ""),
    (b"\x1f\x8b", "gzip", "decompress it first"),
    (b"\x28\xb5\x2f\xfd", "zstandard", "decompress it first"),
    (b"PK", "a zip archive that torch did not write", ""),
    (b"\x80", "a pickle that is no torch checkpoint", "load it where it was made and torch.save a state dict"),
    (b"<", "a web page or XML", "download the file itself"),
)


def readers() -> Iterator[Reader]:
    """The readers of all formats, each imported when its turn comes; torch and mindspore are not imported.

    >>> next(readers()).name
    'safetensors'
    """
    for module in READERS:
        yield importlib.import_module(f"dsbridge.checkpoint.formats.{module}").READER


def open_checkpoint(path: str | os.PathLike[str], *, trust: bool = False) -> Checkpoint:
    """The checkpoint at a path, by its first bytes, or of a directory by what is in it; suffixes are never looked at.

    ``trust``: let a pickle build its own classes. Raises ``CheckpointError`` for what is not there, cannot be read, is
    damaged, encrypted, one rank's part or of no known format.

    >>> open_checkpoint("/dev/null")
    Traceback (most recent call last):
    ...
    dsbridge.errors.CheckpointError: /dev/null is neither a file nor a directory
    """
    path = Path(path)
    try:
        head = b"" if path.is_dir() else _head(path)
        for reader in readers():
            if reader.matches(path, head):
                return reader.read(path, trust=trust)
    except OSError as exc:
        raise CheckpointError(f"{path} cannot be read: {exc.strerror or exc}") from exc
    if path.is_dir():
        inside = sorted(entry.name for entry in path.iterdir())
        raise CheckpointError(
            f"{path} is a directory without an index or a .metadata; in it: {', '.join(inside[:8]) or 'nothing'}",
            hint="name one of its files" if inside else "",
        )
    what, hint = next(((what, hint) for begin, what, hint in _KNOWN if head.startswith(begin)), ("", ""))
    looks = f" ({what})" if what else ""
    known = ", ".join(reader.name for reader in readers())
    raise CheckpointError(f"{path} begins with {head[:16]!r}{looks}, which is none of {known}", hint=hint)


def _head(path: Path) -> bytes:
    if path.exists() and not path.is_file():
        raise CheckpointError(f"{path} is neither a file nor a directory")  # a pipe would block
    with open(path, "rb") as file:
        head = file.read(HEAD_BYTES)
    if not head:
        raise CheckpointError(f"{path} is empty")
    return head
