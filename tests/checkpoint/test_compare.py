"""A converted file against its source: equal, or what differs and where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from mindspore import nn

import dsbridge as dsb
from dsbridge.checkpoint.compare import compare
from dsbridge.checkpoint.formats.registry import open_checkpoint
from dsbridge.checkpoint.load_torch import load_torch
from dsbridge.errors import CheckpointError


def models() -> tuple[Any, Any]:
    model = torch.nn.Sequential(torch.nn.Conv1d(3, 4, 3), torch.nn.BatchNorm1d(4), torch.nn.Linear(5, 2))
    return model, nn.SequentialCell(nn.Conv1d(3, 4, 3, pad_mode="pad", has_bias=True), nn.BatchNorm1d(4), nn.Dense(5, 2))


@pytest.fixture
def converted(tmp_path: Path) -> tuple[Path, Path, dict[str, Any]]:
    torch.manual_seed(0)
    model, network = models()
    live = {"model": model, "network": network}
    torch.save(model.state_dict(), tmp_path / "a.pth")
    dsb.checkpoint.convert(tmp_path / "a.pth", tmp_path / "b.safetensors", **live, progress=False)
    return tmp_path / "a.pth", tmp_path / "b.safetensors", live


def changed(path: Path, name: str, index: Any, value: Any) -> None:
    """One element of one tensor of a safetensors file, in place."""
    tensor = open_checkpoint(path).tensors[name]
    array = tensor.read()
    array[index] = value
    with open(path, "r+b") as file:
        file.seek(tensor.spans[0].offset)
        file.write(array.tobytes())


@pytest.mark.parametrize("suffix", ["ckpt", "safetensors", "pth", "safetensors.index.json"])
def test_what_convert_wrote_is_equal(tmp_path: Path, suffix: str) -> None:
    model, network = models()
    torch.save({"state_dict": model.state_dict(), "epoch": 3}, tmp_path / "a.pth")
    live = {"model": model, "network": network}
    dsb.checkpoint.convert(tmp_path / "a.pth", tmp_path / f"b.{suffix}", **live, progress=False)
    report = compare(tmp_path / "a.pth", tmp_path / f"b.{suffix}", **live)
    assert report.ok and report.equal == report.tensors == 8 and report.nbytes > 200
    back = tmp_path / "back.pth"
    dsb.checkpoint.convert(tmp_path / f"b.{suffix}", back, **live, progress=False)
    assert compare(tmp_path / f"b.{suffix}", back, **live).ok


def test_the_first_element_that_differs_is_named(converted: Any) -> None:
    source, target, live = converted
    changed(target, "0.weight", (1, 2, 0, 1), 7.5)
    changed(target, "0.weight", (3, 0, 0, 0), 8.5)
    report = compare(source, target, **live)
    assert not report.ok and report.equal == report.tensors - 1
    value = live["model"][0].weight[1, 2, 1].item()
    assert [finding.where for finding in report if finding.code == "differs"] == ["0.weight"]
    assert f"element [1, 2, 0, 1] is 7.5, {np.float32(value)!s} is expected; 2 of 36 differ" in str(report)


def test_tensors_of_many_chunks(tmp_path: Path) -> None:
    """Equal chunks are let go; a difference in the last byte of the last one is seen."""
    big = torch.arange(3_000_001, dtype=torch.uint8)
    torch.save({"w": big}, tmp_path / "a.pth")
    dsb.checkpoint.convert(tmp_path / "a.pth", tmp_path / "b.safetensors", progress=False)
    assert compare(tmp_path / "a.pth", tmp_path / "b.safetensors").nbytes == 3_000_001
    changed(tmp_path / "b.safetensors", "w", -1, int(big[-1]) ^ 1)
    assert "element [3000000] is" in str(compare(tmp_path / "a.pth", tmp_path / "b.safetensors"))


def test_missing_surplus_and_other_dtypes(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2), "b": torch.ones(3), "c": torch.tensor(1.0, dtype=torch.bfloat16)}, tmp_path / "a.pth")
    torch.save(
        {"a": torch.ones(2).half(), "c": torch.tensor(2.0, dtype=torch.bfloat16), "d": torch.ones(1)}, tmp_path / "b.pth"
    )
    report = compare(tmp_path / "a.pth", tmp_path / "b.pth")
    said = {finding.where: finding.message for finding in report if finding.severity == "error"}
    assert said == {
        "a": "float16[2], float32[2] is expected",
        "b": "it is not in the target",
        "c": f"element [] is {ml_dtypes.bfloat16(2)!s}, {ml_dtypes.bfloat16(1)!s} is expected; 1 of 1 differ",
        "d": "the target holds it, the plan does not write it",
    }


def test_loading_into_torch_is_strict(tmp_path: Path, converted: Any) -> None:
    source, _, live = converted
    other, _ = models()
    assert load_torch(source, other).ok
    assert all(torch.equal(a, b) for a, b in zip(other.state_dict().values(), live["model"].state_dict().values(), strict=True))
    torch.save({"module.0.weight": torch.ones(4, 3, 3), "module.extra": torch.ones(1)}, tmp_path / "bad.pth")
    before = other[0].weight.clone()
    with pytest.raises(CheckpointError, match=r"8 missing: 0.bias.*1 unexpected: module.extra") as caught:
        load_torch(tmp_path / "bad.pth", other)
    assert caught.value.unmatched == ["module.extra"] and torch.equal(before, other[0].weight)
    torch.save({**other.state_dict(), "2.bias": torch.ones(3)}, tmp_path / "bad.pth")
    with pytest.raises(CheckpointError, match=r"1 of another shape or dtype: 2.bias \(float32\[3\], not float32\[2\]\)"):
        load_torch(tmp_path / "bad.pth", other)


def test_a_tied_weight_may_be_there_once(tmp_path: Path) -> None:
    model = torch.nn.ModuleDict({"embed": torch.nn.Embedding(5, 3), "head": torch.nn.Linear(3, 5, bias=False)})
    model["head"].weight = model["embed"].weight
    torch.save({"embed.weight": torch.full((5, 3), 2.0)}, tmp_path / "a.pth")
    assert load_torch(tmp_path / "a.pth", model).ok and float(model["head"].weight[4, 2].detach()) == 2
