"""Conversion into parts under an index: whole, read back, and an old one untouched until the new one is there."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mindspore import nn
from safetensors.numpy import load_file

import dsbridge as dsb
from dsbridge.checkpoint import sharded
from dsbridge.checkpoint.formats.registry import open_checkpoint
from dsbridge.checkpoint.ops import Split
from dsbridge.checkpoint.rules import Rule, RuleSet
from dsbridge.errors import CheckpointError

INDEX = "model.safetensors.index.json"


@pytest.fixture
def state(tmp_path: Path) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    state = {f"layer.{n}.weight": torch.randn(n + 1, 5) for n in range(6)} | {
        "step": torch.tensor(7),
        "none": torch.zeros(0, 3),
    }
    torch.save(state, tmp_path / "a.pth")
    return state


def equal(path: Path, state: dict[str, torch.Tensor]) -> bool:
    tensors = open_checkpoint(path).tensors
    return list(tensors) == list(state) and all(np.array_equal(tensors[n].read(), state[n].numpy()) for n in state)


def test_parts_and_back(tmp_path: Path, state: Any) -> None:
    target = tmp_path / "out" / INDEX
    target.parent.mkdir()
    report = dsb.checkpoint.convert(tmp_path / "a.pth", target, max_shard_size=160, progress=False)
    assert report.read_back and report.tensors == len(state)
    names = [f"model-{n:05d}-of-00004.safetensors" for n in range(1, 5)]
    assert sorted(os.listdir(target.parent)) == [*names, INDEX]
    content = json.loads(target.read_text())
    assert content["metadata"]["total_size"] == sum(t.numel() * t.element_size() for t in state.values())
    for name, file in content["weight_map"].items():
        assert np.array_equal(load_file(target.parent / file)[name], state[name].numpy())
    assert all(sum(t.nbytes for t in open_checkpoint(target.parent / name).tensors.values()) <= 160 for name in names)
    for source in (target, target.parent):  # an index, or its folder
        dsb.checkpoint.convert(source, tmp_path / "back.pth", progress=False)
        assert equal(tmp_path / "back.pth", state)


def test_torch_parts(tmp_path: Path, state: Any) -> None:
    dsb.checkpoint.convert(
        tmp_path / "a.pth", tmp_path / "pytorch_model.bin.index.json", max_shard_size="0.2KB", progress=False
    )
    first = torch.load(tmp_path / "pytorch_model-00001-of-00003.bin", weights_only=True)
    assert torch.equal(first["layer.0.weight"], state["layer.0.weight"])
    assert equal(tmp_path / "pytorch_model.bin.index.json", state)


def test_a_row_stays_whole(tmp_path: Path) -> None:
    """What one rule writes is made at once, so it goes into one part."""
    torch.save({"qkv": torch.arange(12.0).reshape(6, 2), "z": torch.ones(2)}, tmp_path / "a.pth")
    rules = RuleSet((Rule(("qkv",), ("q", "k", "v"), (Split(0, (2, 2, 2)),)), Rule(("z",), ("z",), ())))
    dsb.checkpoint.convert(tmp_path / "a.pth", tmp_path / INDEX, rules=rules, max_shard_size=16, progress=False)
    parts = json.loads((tmp_path / INDEX).read_text())["weight_map"]
    assert parts["q"] == parts["k"] == parts["v"] != parts["z"]


def test_an_old_checkpoint_stays_until_the_new_one_is_whole(tmp_path: Path, state: Any, monkeypatch) -> None:
    target = tmp_path / INDEX
    convert = dsb.checkpoint.convert
    convert(tmp_path / "a.pth", target, max_shard_size=160, progress=False)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    torch.save({name: tensor + 1 for name, tensor in state.items()}, tmp_path / "a.pth")
    before["a.pth"] = (tmp_path / "a.pth").read_bytes()

    fill, calls = sharded.Job.fill, []

    def failing(*arguments: Any) -> None:
        calls.append(1)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        fill(*arguments)

    monkeypatch.setattr(sharded.Job, "fill", failing)
    with pytest.raises(CheckpointError, match="No space left on device"):
        convert(tmp_path / "a.pth", target, max_shard_size=160, progress=False)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    monkeypatch.undo()

    convert(tmp_path / "a.pth", target, max_shard_size=160, progress=False)
    assert equal(target, {name: tensor + 1 for name, tensor in state.items()})
    names = set(os.listdir(tmp_path)) - {"a.pth", INDEX}
    assert names == {f"model.v2-{n:05d}-of-00004.safetensors" for n in range(1, 5)}  # and the old parts are gone


def test_a_rename_that_fails_leaves_nothing_new(tmp_path: Path, state: Any, monkeypatch) -> None:
    target, renamed, replace = tmp_path / INDEX, [], os.replace

    def failing(source: Any, place: Any) -> None:
        renamed.append(place)
        if len(renamed) == 3:
            raise OSError(5, "Input/output error")
        replace(source, place)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(CheckpointError, match="Input/output error"):
        dsb.checkpoint.convert(tmp_path / "a.pth", target, max_shard_size=160, progress=False)
    assert os.listdir(tmp_path) == ["a.pth"] and len(renamed) == 3


def test_files_that_an_old_index_names_but_nobody_here_wrote_stay(tmp_path: Path, state: Any) -> None:
    (tmp_path / "thesis.safetensors").write_text("mine")
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": {"w": "thesis.safetensors"}}))
    dsb.checkpoint.convert(tmp_path / "a.pth", tmp_path / INDEX, progress=False)
    assert (tmp_path / "thesis.safetensors").read_text() == "mine" and equal(tmp_path / INDEX, state)


def test_the_source_may_not_be_overwritten_by_its_own_index(tmp_path: Path, state: Any) -> None:
    convert = dsb.checkpoint.convert
    convert(tmp_path / "a.pth", tmp_path / INDEX, max_shard_size=160, progress=False)
    with pytest.raises(CheckpointError, match="is the source itself"):
        convert(tmp_path / INDEX, tmp_path / INDEX, progress=False)
    assert equal(tmp_path / INDEX, state)


def test_a_network_in_parts_loads(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    network = nn.SequentialCell(nn.Dense(3, 4), nn.BatchNorm1d(4))
    torch.save(model.state_dict(), tmp_path / "a.pth")
    target = tmp_path / INDEX
    dsb.checkpoint.convert(tmp_path / "a.pth", target, model=model, network=network, max_shard_size=40, progress=False)
    dsb.checkpoint.load(target, network)
    assert np.array_equal(network[0].weight.asnumpy(), model[0].weight.detach().numpy())


@pytest.mark.parametrize("size", ["much", "", "-1GB", "0", 0, "1..2MB", "3 parsecs"])
def test_sizes_that_are_none(size: Any) -> None:
    with pytest.raises(CheckpointError, match="is no size"):
        sharded.size_of(size)


def test_what_is_refused(tmp_path: Path, state: Any) -> None:
    convert = dsb.checkpoint.convert
    with pytest.raises(CheckpointError, match="is for targets in parts"):
        convert(tmp_path / "a.pth", tmp_path / "b.safetensors", max_shard_size="1GB", progress=False)
    with pytest.raises(CheckpointError, match="no format is written to"):
        convert(tmp_path / "a.pth", tmp_path / "model.index.json", progress=False)
