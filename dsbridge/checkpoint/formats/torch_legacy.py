"""The older of torch's two formats: pickles, then raw storages. Source: torch/serialization.py of torch 2.13."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dsbridge.checkpoint.formats.pickles import load
from dsbridge.checkpoint.formats.torch_tree import Collector
from dsbridge.checkpoint.formats.torch_words import VOCABULARY, StorageRef, persistent_storage, word
from dsbridge.checkpoint.stored import Checkpoint, Span
from dsbridge.errors import CheckpointError

MAGIC = 0x1950A86A20F9469CFC6C


class TorchLegacy:
    """torch.save(..., _use_new_zipfile_serialization=False), and all files before torch 1.6. It has no checksums.

    >>> READER.matches(Path("x.ckpt"), b"PK")
    False
    """

    name = "torch-legacy"

    def matches(self, path: Path, head: bytes) -> bool:
        """Whether a pickle of torch's magic number begins the file."""
        return head[:1] == b"\x80" and MAGIC.to_bytes(10, "little") in head[:32]

    def read(self, path: Path, *, trust: bool = False) -> Checkpoint:
        """The tensors as spans of the raw storages behind the pickles; raises ``CheckpointError`` for what is damaged."""
        storages: dict[str, StorageRef] = {}
        spans: dict[str, Span] = {}

        def persistent(identity: Any) -> Any:
            found = persistent_storage(identity)
            if not isinstance(found, StorageRef):
                return found
            root = storages.setdefault(found.key, found)
            view = identity[5] if len(identity) > 5 else None
            if view is None:
                return root
            _key, start, count = view
            if type(start) is not int or type(count) is not int or not 0 <= start <= start + count <= root.count:
                raise ValueError("a storage's view outside of it")
            return StorageRef(root.key, root.dtype, count, root.location, start)

        size, where = path.stat().st_size, str(path)
        with open(path, "rb") as file:
            header = [load(file, size, where, VOCABULARY).value for _ in range(3)]
            if header[:2] != [MAGIC, 1001] or not isinstance(header[2], dict) or header[2].get("little_endian") is not True:
                raise CheckpointError(f"{path}: the header is not torch's, or a big-endian machine's", hint="save it again")
            loaded = load(file, size, where, VOCABULARY, persistent, trust)
            keys = load(file, size, where, VOCABULARY).value
            at = file.tell()
            for key in keys if isinstance(keys, list) else [None]:
                root = storages.get(key) if isinstance(key, str) else None
                file.seek(at)
                count = int.from_bytes(file.read(8), "little", signed=True)
                if root is None or count != root.count or at + 8 + root.nbytes(root.count) > size:
                    what = f"has {count} elements, expected {root.count if root else 'none'}, the file ends at {size}"
                    raise CheckpointError(f"{path}, offset {at}: storage {word(key)} {what}", hint="the file is damaged")
                spans[root.key] = Span(where, at + 8, root.nbytes(root.count))
                at += 8 + root.nbytes(root.count)
        if missing := [key for key in storages if key not in spans]:
            raise CheckpointError(f"{path}: storage {missing[0][:40]} has no data in the file", hint="the file is damaged")
        collector = Collector(where, lambda ref: spans[ref.key])
        if at != size:
            collector.report.add("trailing-bytes", "warning", path.name, f"{size - at} bytes behind the storages: not read")
        return collector.checkpoint(path, self.name, loaded, trust)


READER = TorchLegacy()
