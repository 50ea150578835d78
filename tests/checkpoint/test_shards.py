"""Checkpoints in several files: parts of all formats, what does not fit, and how to cut a list of tensors."""

from __future__ import annotations

import json
import random
from collections import OrderedDict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_safetensors_format import Outline, bits, damaged, some, store

from dsbridge.checkpoint.formats import shards
from dsbridge.checkpoint.formats.mindspore_ckpt import MindSporeWriter
from dsbridge.checkpoint.formats.registry import open_checkpoint
from dsbridge.checkpoint.formats.safetensors_format import SafetensorsWriter
from dsbridge.errors import CheckpointError

ARRAYS = {f"layer.{n}.weight": some("float32", (n + 1, 3), n) for n in range(6)}


def write(folder: Path, arrays: dict[str, np.ndarray], most: int, writer: Any = SafetensorsWriter, **metadata: Any) -> Path:
    """Cut and write a sharded checkpoint; the path of its index."""
    outlines = [Outline(name, a.dtype.name, a.shape) for name, a in arrays.items()]
    groups = shards.grouped([a.nbytes for a in arrays.values()], most)
    names = [f"model-{n:05d}-of-{len(groups):05d}.safetensors" for n in range(1, len(groups) + 1)]
    parts = {name: [outlines[at] for at in group] for name, group in zip(names, groups, strict=True)}
    for file, held in parts.items():
        (folder / file).write_bytes(store(writer(), {o.name: arrays[o.name] for o in held}, {"format": "pt"}))
    index = folder / "model.safetensors.index.json"
    index.write_text(shards.index_text(parts, metadata))
    return index


def index_of(folder: Path, weight_map: Any, **metadata: Any) -> Path:
    """An index by hand."""
    path = folder / "model.index.json"
    path.write_text(json.dumps({"metadata": metadata, "weight_map": weight_map}))
    return path


def part(folder: Path, name: str, **arrays: np.ndarray) -> None:
    """A part by hand."""
    (folder / name).write_bytes(store(SafetensorsWriter(), arrays))


def test_the_directory_and_the_index_are_the_same_checkpoint(tmp_path: Path) -> None:
    """All tensors of all parts, in the index's order, bit for bit; metadata of index and parts."""
    index = write(tmp_path, ARRAYS, 100, total_parameters=63)
    assert len(list(tmp_path.glob("model-0*-of-0*.safetensors"))) == 4
    for path in (tmp_path, index):
        checkpoint = open_checkpoint(path)
        assert checkpoint.format == "shards of safetensors"
        assert list(checkpoint.tensors) == list(ARRAYS)
        assert {n: bits(s.read()) for n, s in checkpoint.tensors.items()} == {n: bits(a) for n, a in ARRAYS.items()}
        assert checkpoint.metadata == {"total_parameters": 63, "total_size": checkpoint.nbytes, "format": "pt"}
        assert len(checkpoint.report) == 0


def test_parts_of_other_formats_are_opened_by_their_content(tmp_path: Path) -> None:
    """MindSpore's .ckpt and torch's .bin under one index."""
    (tmp_path / "one.bin").write_bytes(store(MindSporeWriter(), {"a": some("int8", (3,))}))
    torch.save(OrderedDict(b=torch.arange(3)), tmp_path / "two.bin")
    checkpoint = open_checkpoint(index_of(tmp_path, {"b": "two.bin", "a": "one.bin"}))
    assert list(checkpoint.tensors) == ["b", "a"]
    assert checkpoint.tensors["b"].read().tolist() == [0, 1, 2]
    assert "mindspore-ckpt" in checkpoint.format and "torch" in checkpoint.format


def test_ties_within_a_bin_part_survive_and_others_are_cut(tmp_path: Path) -> None:
    """A tied lm_head is in a .bin; a tie to a name that the index does not have there is none."""
    shared = torch.arange(6.0)
    torch.save(OrderedDict(embed=shared, head=shared), tmp_path / "one.bin")
    tensors = open_checkpoint(index_of(tmp_path, {"embed": "one.bin", "head": "one.bin"})).tensors
    assert tensors["head"].tied_to == "embed"
    checkpoint = open_checkpoint(index_of(tmp_path, {"head": "one.bin"}))
    assert checkpoint.tensors["head"].tied_to == ""
    assert [(f.code, f.where) for f in checkpoint.report] == [("not-in-index", "embed")]


def test_missing_parts_are_named(tmp_path: Path) -> None:
    """An unfinished download."""
    index = write(tmp_path, ARRAYS, 100)
    (tmp_path / "model-00002-of-00004.safetensors").unlink()
    with pytest.raises(CheckpointError, match="1 of 4 parts are not there: model-00002-of-00004.safetensors") as caught:
        open_checkpoint(index)
    assert caught.value.missing == ["model-00002-of-00004.safetensors"]


def test_a_tensor_absent_from_its_part_is_an_error(tmp_path: Path) -> None:
    """Tied weights are left out of safetensors by some writers: then the index must not name them."""
    part(tmp_path, "one", a=some("int8", (2,)))
    with pytest.raises(CheckpointError, match="tensor 'b' is not in one, where it should be") as caught:
        open_checkpoint(index_of(tmp_path, {"a": "one", "b": "one"}))
    assert caught.value.missing == ["b"]


def test_tensors_the_index_does_not_name_are_findings(tmp_path: Path) -> None:
    """They are left out, and said; of a name in two parts the index decides."""
    part(tmp_path, "one", a=some("int8", (2,)), x=some("int8", (2,)))
    part(tmp_path, "two", a=some("int8", (2,), 1), b=some("int8", (2,)))
    checkpoint = open_checkpoint(index_of(tmp_path, {"a": "two", "b": "two", "x": "one"}, total_size=7))
    assert bits(checkpoint.tensors["a"].read()) == bits(some("int8", (2,), 1))
    assert [(f.code, f.where) for f in checkpoint.report] == [("not-in-index", "a"), ("total-size", "total_size")]


def test_metadata_that_differs_between_parts_is_a_finding(tmp_path: Path) -> None:
    """The first is kept; findings of parts are kept with the part's name."""
    for name, value in (("one", "pt"), ("two", "ms")):
        data = store(SafetensorsWriter(), {name: some("int8", (2,))}, {"format": value, "remove_redundancy": "True"})
        (tmp_path / name).write_bytes(data)
    checkpoint = open_checkpoint(index_of(tmp_path, {"one": "one", "two": "two"}))
    assert checkpoint.metadata["format"] == "pt"
    assert [f.code for f in checkpoint.report] == ["one-rank", "one-rank", "other-metadata"]
    assert [f.where for f in checkpoint.report][:2] == ["one: remove_redundancy", "two: remove_redundancy"]


def test_what_is_no_tensor_in_a_part_is_a_finding(tmp_path: Path) -> None:
    """A .bin can hold anything."""
    torch.save(OrderedDict(a=torch.arange(3), epoch=3), tmp_path / "one.bin")
    checkpoint = open_checkpoint(index_of(tmp_path, {"a": "one.bin"}))
    assert [(f.code, f.where) for f in checkpoint.report] == [("not-a-tensor", "one.bin: epoch")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"weight_map": {"a": "../one"}}', "'../one', which is no file beside the index"),
        ('{"weight_map": {"a": "/etc/passwd"}}', "which is no file beside the index"),
        ('{"weight_map": {"a": ""}}', "which is no file beside the index"),
        ('{"weight_map": {"a": "."}}', "which is no file beside the index"),
        ('{"weight_map": {"a": "x\\u0000y"}}', "which is no file beside the index"),
        ('{"weight_map": {"a": 3}}', "which is no file beside the index"),
        ('{"weight_map": ["a"]}', "without a weight_map"),
        ('{"weight_map": {"a": "one", "a": "two"}}', "the key 'a' is there twice"),
        ('{"weight_map": ', "not sound JSON"),
        ('{"a":' * 100_000, "not sound JSON"),
        ('{"weight_map": {"a": "self.json"}}', "the part self.json is an index itself"),
        ('{"weight_map": {"a": "folder"}}', "1 of 1 parts are not there"),
    ],
)
def test_an_index_that_makes_no_sense_is_refused(text: str, message: str, tmp_path: Path) -> None:
    """Nothing outside of the folder is opened, and an index that names itself ends."""
    (tmp_path / "folder").mkdir()
    path = tmp_path / "self.json"
    path.write_text(text)
    with pytest.raises(CheckpointError, match=message) as caught:
        open_checkpoint(path)
    assert str(path) in str(caught.value)


def test_two_indexes_in_a_directory_are_asked_about(tmp_path: Path) -> None:
    """safetensors and .bin side by side are common."""
    write(tmp_path, ARRAYS, 100)
    index_of(tmp_path, {})
    with pytest.raises(CheckpointError, match="2 indexes: model.index.json, model.safetensors.index.json"):
        open_checkpoint(tmp_path)


def test_groups_keep_order_and_size() -> None:
    """Groups of at most N bytes; a larger thing has one of its own; nothing is lost or doubled."""
    rng = random.Random(0)
    for _ in range(200):
        most = rng.randrange(1, 200)
        sizes = [2 * rng.randrange(0, 80) for _ in range(rng.randrange(0, 20))]
        groups = shards.grouped(sizes, most)
        assert [place for group in groups for place in group] == list(range(len(sizes)))
        assert all(groups) or not sizes  # none is empty
        held = [[sizes[place] for place in group] for group in groups]
        assert all(sum(group) <= most or len([size for size in group if size]) == 1 for group in held)
        assert all(sum(a) + b[0] > most for a, b in pairwise(held))


def test_150_damaged_indexes(tmp_path: Path) -> None:
    """An error, or some of the tensors as they were."""
    index = write(tmp_path, ARRAYS, 100)
    data, refused = index.read_bytes(), 0
    for seed in range(150):
        index.write_bytes(damaged(data, seed, len(data)))
        try:
            checkpoint = open_checkpoint(index)
        except CheckpointError:
            refused += 1
        else:
            for name, stored in checkpoint.tensors.items():
                assert bits(stored.read()) == bits(ARRAYS[name])
            assert len(checkpoint.tensors) == len(ARRAYS) or "not-in-index" in checkpoint.report
    assert refused > 90
