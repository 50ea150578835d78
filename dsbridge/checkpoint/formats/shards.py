"""Checkpoints in several files under an index: ``{"metadata": {...}, "weight_map": {tensor name: file name}}``.

Source: what transformers' ``save_pretrained`` writes: ``*.index.json`` beside ``model-00001-of-00002.safetensors`` or ``.bin``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path, PurePosixPath
from typing import Any

from dsbridge.checkpoint.formats.base import Outline
from dsbridge.checkpoint.formats.registry import open_checkpoint
from dsbridge.checkpoint.formats.safetensors_format import unique_keys
from dsbridge.checkpoint.stored import Checkpoint, Stored
from dsbridge.errors import CheckpointError
from dsbridge.report import Finding, Report
from dsbridge.schema.dtypes import numpy_dtype

_MOST_INDEX_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class ShardsReader:
    """Reads an index, or a directory with one; each part by its own format's reader.

    >>> READER.matches(Path("any.suffix"), b' {"weight_map": {}}')
    True
    """

    name: str = "shards"

    def matches(self, path: Path, head: bytes) -> bool:
        """Whether it is a JSON object, or a directory that holds ``*.index.json``."""
        return bool(_indexes(path)) if path.is_dir() else head.lstrip(b" \t\r\n").startswith(b"{")

    def read(self, path: Path, *, trust: bool = False) -> Checkpoint:
        """All parts as one checkpoint, in the index's order. Parts that are missing or lack a tensor are errors."""
        index = _only_index(path) if path.is_dir() else path
        content, weight_map = _parse(index)
        report = Report(str(path))
        parts = _open_parts(index, weight_map, trust, report)
        tensors = {}
        for name, file in weight_map.items():
            if name not in parts[file].tensors:
                raise CheckpointError(
                    f"{index}: tensor {name!r} is not in {file}, where it should be",
                    missing=[name],
                    hint="index and parts are of different models; download them again",
                )
            stored = parts[file].tensors[name]
            here = weight_map.get(stored.tied_to) == file
            tensors[name] = stored if here or not stored.tied_to else replace(stored, tied_to="")
        for file, part in parts.items():
            for name in part.tensors:
                if weight_map.get(name) != file:
                    report.add("not-in-index", "warning", name, f"{file} holds it, the index does not name it there: left out")
        format_names = " and ".join(dict.fromkeys(part.format for part in parts.values()))
        checkpoint = Checkpoint(path, f"shards of {format_names or 'nothing'}", tensors, report=report)
        checkpoint.metadata = _metadata(content, parts, report)
        _check_total(checkpoint)
        return checkpoint


READER = ShardsReader()


def _indexes(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.index.json"))


def _only_index(directory: Path) -> Path:
    indexes = _indexes(directory)
    if len(indexes) != 1:
        names = ", ".join(index.name for index in indexes)
        raise CheckpointError(f"{directory} holds {len(indexes)} indexes: {names}", hint="name the one that is meant")
    return indexes[0]


def _parse(index: Path) -> tuple[dict[str, Any], dict[str, str]]:
    if index.stat().st_size > _MOST_INDEX_BYTES:
        raise CheckpointError(f"{index} has {index.stat().st_size} bytes, too many for an index")
    try:
        content = json.loads(index.read_bytes().decode(), object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as exc:
        raise CheckpointError(f"{index} is not sound JSON: {exc}") from exc
    weight_map = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(weight_map, dict):
        raise CheckpointError(f"{index} is JSON without a weight_map: no index of a checkpoint")
    for name, file in weight_map.items():
        plain = isinstance(file, str) and "\0" not in file and PurePosixPath(file).parts
        if not plain or PurePosixPath(file).is_absolute() or ".." in PurePosixPath(file).parts:
            raise CheckpointError(f"{index}: tensor {name!r} is said to be in {file!r}, which is no file beside the index")
    return content, weight_map


def _open_parts(index: Path, weight_map: dict[str, str], trust: bool, report: Report) -> dict[str, Checkpoint]:
    files = list(dict.fromkeys(weight_map.values()))
    missing = [file for file in files if not (index.parent / file).is_file()]
    if missing:
        raise CheckpointError(
            f"{index}: {len(missing)} of {len(files)} parts are not there: {', '.join(missing[:8])}",
            missing=missing,
            hint="an unfinished download; the parts must lie beside the index",
        )
    parts = {}
    for file in files:
        with open(index.parent / file, "rb") as stream:
            begin = stream.read(16)
        if begin[8:9] != b"{" and READER.matches(index.parent / file, begin):  # it could name itself
            raise CheckpointError(f"{index}: the part {file} is an index itself")
        parts[file] = open_checkpoint(index.parent / file, trust=trust)
        for finding in parts[file].report:
            report.add(*_placed(file, finding))
        tree = parts[file].tree
        for key in [key for key, value in tree.items() if not isinstance(value, Stored)] if isinstance(tree, Mapping) else []:
            report.add("not-a-tensor", "warning", f"{file}: {key}", "not a tensor of the top level: left out")
    return parts


def _placed(file: str, finding: Finding) -> tuple[str, str, str, str, str]:
    return finding.code, finding.severity, f"{file}: {finding.where}", finding.message, finding.hint


def _metadata(content: dict[str, Any], parts: dict[str, Checkpoint], report: Report) -> dict[str, Any]:
    """The index's own metadata, then that of the parts; the first one said counts, others are findings."""
    own = content.get("metadata") or {}
    merged: dict[str, Any] = dict(own) if isinstance(own, dict) else {"metadata": own}
    for file, part in parts.items():
        for key, value in part.metadata.items():
            if merged.setdefault(key, value) != value:
                report.add(
                    "other-metadata", "warning", f"{file}: {key}", f"{value!r} here, {merged[key]!r} before, which is kept"
                )
    return merged


def _check_total(checkpoint: Checkpoint) -> None:
    said = checkpoint.metadata.get("total_size")
    whole = sum(tensor.nbytes for tensor in checkpoint.tensors.values())
    if said is not None and said not in (checkpoint.nbytes, whole):
        message = f"the index says {said} bytes, the tensors have {whole}"
        checkpoint.report.add("total-size", "warning", "total_size", message)


def grouped(sizes: Iterable[int], most_bytes: int) -> list[list[int]]:
    """Places of things in order, in groups of at most ``most_bytes``; a larger one gets a group of its own.

    >>> grouped([2, 2, 1, 9], 4)
    [[0, 1], [2], [3]]
    """
    groups: list[list[int]] = [[]]
    room = most_bytes
    for place, size in enumerate(sizes):
        if size > room and groups[-1]:
            groups.append([])
            room = most_bytes
        groups[-1].append(place)
        room -= size
    return groups


def index_text(parts: Mapping[str, Iterable[Outline]], metadata: Mapping[str, Any] | None = None) -> str:
    """The text of an ``*.index.json`` over {file name: its tensors}; ``total_size`` is added to the metadata.

    >>> json.loads(index_text({"a.bin": [Stored("w", "int16", (0,), ())]}))
    {'metadata': {'total_size': 0}, 'weight_map': {'w': 'a.bin'}}
    """
    held = [(outline, file) for file, outlines in parts.items() for outline in outlines]
    total = sum(prod(outline.shape) * numpy_dtype(outline.dtype).itemsize for outline, _ in held)
    weight_map = {outline.name: file for outline, file in held}
    content = {"metadata": {**(metadata or {}), "total_size": total}, "weight_map": weight_map}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def parts_of(index: Path) -> list[Path]:
    """The files that an index names; none where there is no sound index.

    >>> parts_of(Path("no_such.index.json"))
    []
    """
    try:
        return [index.parent / file for file in dict.fromkeys(_parse(index)[1].values())]
    except (OSError, CheckpointError):
        return []
