"""torch.distributed.checkpoint directories: a .metadata pickle that says which bytes of which *.distcp are what.

Each piece of a tensor is a zip of torch.save's inside of a .distcp file. Source: torch/distributed/checkpoint/{metadata,
filesystem}.py of torch 2.13, read and measured.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dsbridge.checkpoint.formats.pickles import load
from dsbridge.checkpoint.formats.torch_tree import MAX_DEPTH
from dsbridge.checkpoint.formats.torch_words import VOCABULARY
from dsbridge.checkpoint.formats.torch_zip import read_zip
from dsbridge.checkpoint.stored import Checkpoint, Span, Stored
from dsbridge.errors import CheckpointError
from dsbridge.report import Report

_CONVERT = "python -m torch.distributed.checkpoint.format_utils dcp_to_torch DIRECTORY FILE.pth, on one machine"
_KNOWN = ("torch.distributed.checkpoint.", "torch.distributed.tensor.")


class Dcp:
    """A directory that ``torch.distributed.checkpoint.save`` wrote, of all its ranks.

    Tensors in one piece, or in pieces along the first dimension, are read by byte ranges; other pieces are refused.

    >>> READER.matches(Path("/"), b"")
    False
    """

    name = "torch-dcp"

    def matches(self, path: Path, head: bytes) -> bool:
        """Whether it is a directory with a .metadata."""
        return path.is_dir() and (path / ".metadata").is_file()

    def read(self, path: Path, *, trust: bool = False) -> Checkpoint:
        """The tensors under their flat keys, the tree as it was saved; ``CheckpointError`` for damage and for missing ranks."""
        data, where = (path / ".metadata").read_bytes(), str(path / ".metadata")
        loaded = load(io.BytesIO(data), len(data), where, VOCABULARY)
        checkpoint = Checkpoint(path, self.name, {}, None, {}, Report("checkpoint"))
        if strange := [name for name in loaded.unknown if not name.startswith(_KNOWN)]:
            what = f"{', '.join(strange[:20])}: nothing of them was run, they are stubs"
            checkpoint.report.add("unknown-global", "warning", path.name, what)
        try:
            values = _values(checkpoint, loaded.value.state, trust)
            paths = loaded.value.state.get("planner_data") or {}
            items = [(paths.get(name, (name,)), value) for name, value in values.items()]
            if any(len(path) > MAX_DEPTH or not all(type(part) in (str, int) for part in path) for path, _ in items):
                raise ValueError("a path of too many or of strange parts")
            checkpoint.tree = _nested(items) if items else {}
        except (TypeError, ValueError, KeyError, AttributeError, IndexError) as exc:
            what = f"not what torch writes there ({type(exc).__name__}: {str(exc)[:80]})"
            raise CheckpointError(f"{where}: {what}", hint="the file is damaged") from exc
        return checkpoint


READER = Dcp()


@dataclass(frozen=True, slots=True)
class _Piece:
    """A block of a tensor (or all of an object): where it begins in it, and in which bytes of which file it is."""

    start: tuple[int, ...]
    file: Path
    offset: int
    length: int


def _values(checkpoint: Checkpoint, metadata: dict[str, Any], trust: bool) -> dict[str, Any]:
    """What is stored under every flat key: ``Stored`` or plain content; tensors also go to ``checkpoint.tensors``."""
    pieces = _pieces(checkpoint.path, metadata["storage_data"])
    values: dict[str, Any] = {}
    for name, kind in metadata["state_dict_metadata"].items():
        if name not in pieces:
            raise CheckpointError(
                f"{checkpoint.path}: {name[:80]!r} is described but stored nowhere", hint="the file is damaged"
            )
        if kind.name.endswith(".TensorStorageMetadata"):
            values[name] = checkpoint.tensors[name] = _tensor(name, kind.state, pieces[name], trust)
            continue
        part = _read(pieces[name][0], trust)
        values[name] = part.tree
        for inner, tensor in part.tensors.items():
            full = name if inner == "tensor" else f"{name}.{inner}"
            if full in checkpoint.tensors or full in metadata["state_dict_metadata"].keys() - {name}:
                raise CheckpointError(f"{checkpoint.path}: two tensors have the flat name {full!r}")
            checkpoint.tensors[full] = replace(tensor, name=full, tied_to=tensor.tied_to and f"{name}.{tensor.tied_to}")
        for found in part.report:
            checkpoint.report.add(found.code, found.severity, name, found.message, found.hint)
    return values


def _pieces(directory: Path, storage_data: dict[Any, Any]) -> dict[str, list[_Piece]]:
    found: dict[str, list[_Piece]] = {}
    missing: dict[str, None] = {}
    for index, info in storage_data.items():
        name, place = index.state["fqn"], info.state
        file = place["relative_path"]
        if file in ("", ".", "..") or "/" in file or "\\" in file or "\0" in file:
            raise CheckpointError(f"{directory}: {name!r} is said to be in {file[:80]!r}, outside of the directory")
        if place.get("transform_descriptors"):
            raise CheckpointError(f"{directory}: {name!r} is stored compressed or transformed", hint=_CONVERT)
        if not (directory / file).is_file():
            missing[file] = None
        piece = _Piece(tuple(index.state.get("offset") or ()), directory / file, place["offset"], place["length"])
        if any(type(number) is not int or number < 0 for number in (piece.offset, piece.length, *piece.start)):
            raise CheckpointError(f"{directory}: the place of {name!r} makes no sense", hint="the file is damaged")
        found.setdefault(name, []).append(piece)
    if missing:
        names = ", ".join(list(missing)[:8])
        raise CheckpointError(
            f"{directory}: {names} missing, so it is a part of the ranks' only", hint="copy the files of all ranks"
        )
    return found


def _read(piece: _Piece, trust: bool) -> Checkpoint:
    if piece.offset + piece.length > piece.file.stat().st_size:
        what = f"ends at {piece.file.stat().st_size}, before byte {piece.offset + piece.length}"
        raise CheckpointError(f"{piece.file} {what}", hint="the file was not written or copied to its end")
    return read_zip(piece.file, "torch-zip", piece.offset, piece.length, trust=trust)


def _tensor(name: str, described: dict[str, Any], pieces: list[_Piece], trust: bool) -> Stored:
    """One tensor of pieces along the first dimension, which follow each other without a gap."""
    shape, dtype = tuple(described["size"]), described["properties"].state[0].removeprefix("torch.")
    spans: list[Span] = []
    row = 0
    whole: Stored | None = None
    for piece in sorted(pieces, key=lambda piece: piece.start):
        part = _read(piece, trust).tree
        if not isinstance(part, Stored) or part.dtype != dtype:
            got = part.dtype if isinstance(part, Stored) else "no tensor"
            raise CheckpointError(
                f"{piece.file}, byte {piece.offset}: {got} where {name!r} of {dtype} is due", hint="it is damaged"
            )
        if part.shape == shape and not any(piece.start) and len(pieces) == 1:
            whole = part
            break
        if (
            not shape
            or part.shape[1:] != shape[1:]
            or piece.start != (row, *[0] * (len(shape) - 1))
            or part.strides is not None
        ):
            what = f"a piece {list(part.shape)} at {list(piece.start)}, expected whole rows of {list(shape)} from {row} on"
            raise CheckpointError(f"{piece.file}: tensor {name!r} has {what}", hint=f"run {_CONVERT}, then read FILE.pth")
        spans += part.spans
        row += part.shape[0]
    if whole is None and row != shape[0]:
        raise CheckpointError(f"tensor {name!r} has {row} rows of {shape[0]}", hint="copy the files of all ranks")
    return replace(whole, name=name) if whole else Stored(name, dtype, shape, tuple(spans))


def _nested(items: list[tuple[tuple[Any, ...], Any]]) -> Any:
    """The values where they were before torch flattened them; numbers in a path are places in a list."""
    if len(items) == 1 and not items[0][0]:
        return items[0][1]
    groups: dict[Any, list[tuple[tuple[Any, ...], Any]]] = {}
    for path, value in items:  # an empty path here is a value where others are inside: an IndexError, which read() words
        groups.setdefault(path[0], []).append((path[1:], value))
    inside = {key: _nested(group) for key, group in groups.items()}
    places = list(range(len(inside)))
    return [inside[at] for at in places] if inside and list(map(repr, inside)) == list(map(repr, places)) else inside
