"""What ``inspect`` says of a file, and how two of them differ."""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from test_safetensors_format import some, store

from dsbridge.checkpoint.formats.mindspore_ckpt import MindSporeWriter
from dsbridge.checkpoint.formats.safetensors_format import SafetensorsWriter
from dsbridge.checkpoint.inspect import CheckpointReport, TensorLine, describe, difference, inspect
from dsbridge.checkpoint.stored import Checkpoint, Stored
from dsbridge.errors import CheckpointError

ARRAYS = {"a.weight": some("float32", (2, 3)), "a.step": some("int64", ()), "b": some("bfloat16", (0,))}


def test_tensors_totals_and_metadata_of_a_file(tmp_path: Path) -> None:
    """Everything is in the table and in the JSON."""
    path = tmp_path / "m"
    path.write_bytes(store(SafetensorsWriter(), ARRAYS, {"format": "pt"}))
    report = inspect(path)
    assert (report.format, report.nbytes, report.ok, report.metadata) == ("safetensors", 32, True, {"format": "pt"})
    assert set(report.tensors) == {
        TensorLine("a.weight", "float32", (2, 3), 24),
        TensorLine("a.step", "int64", (), 8),
        TensorLine("b", "bfloat16", (0,), 0),
    }
    assert str(report).splitlines() == [
        f"{path}: safetensors, 3 tensors, 32 bytes",
        "  a.step    int64[]        8",
        "  a.weight  float32[2, 3]  24",
        "  b         bfloat16[0]    0",
        "metadata:",
        "  format  pt",
    ]
    data = json.loads(json.dumps(report.to_dict()))
    assert data["tensors"][1] == {"name": "a.weight", "dtype": "float32", "shape": [2, 3], "nbytes": 24, "tied_to": ""}
    assert (data["ok"], data["nbytes"], data["metadata"], data["findings"]) == (True, 32, {"format": "pt"}, [])


def test_a_training_checkpoint_of_torch_is_summarised(tmp_path: Path) -> None:
    """Epoch and optimizer are seen without loading; ties are named; nothing is counted twice."""
    shared = torch.ones(4)
    content = {
        "epoch": 3,
        "state_dict": OrderedDict(embed=shared, head=shared),
        "optimizer_states": [
            {"state": {0: {"step": torch.tensor(5.0), "exp_avg": torch.ones(4)}}, "param_groups": [{"lr": 0.1}]}
        ],
        "betas": [0.9, 0.999],
        "name": "x" * 100,
    }
    torch.save(content, tmp_path / "last.ckpt")
    report = inspect(tmp_path / "last.ckpt")
    assert report.other == {
        "epoch": "3",
        "state_dict": "OrderedDict of 2: 2 tensors, 0 other values",
        "optimizer_states": "list of 1: 2 tensors, 1 other values",
        "betas": "[0.9, 0.999]",
        "name": "x" * 60 + "... (100 characters)",
    }
    assert report.nbytes == 16 + 4 + 16
    assert "tied to state_dict.embed" in str(report)
    assert "other content:\n  epoch" in str(report)


def test_trees_that_hold_themselves_or_are_wide_end() -> None:
    """A pickle can make both."""
    loop: list[Any] = [1]
    loop.append(loop)
    stored = Stored("w", "int8", (0,), ())
    tree: dict[Any, Any] = {"loop": loop, "w": stored, "pair": (loop, loop), 3: {4: stored}, "none": None, "empty": {}}
    tree["self"] = tree
    other = describe(Checkpoint(Path("m"), "torch-zip", {}, tree=tree)).other
    assert other["loop"] == "[1, [...]]"
    assert other["pair"] == "tuple of 2: 0 tensors, 1 other values"
    assert other["3"] == "dict of 1: 1 tensors, 0 other values"
    assert (other["none"], other["empty"]) == ("None", "{}")
    assert "w" not in other and "self" in other
    wide = describe(Checkpoint(Path("m"), "torch-zip", {}, tree=list(range(5000)))).other
    assert len(wide) == 1001 and wide["..."] == "and 4,000 more"
    assert describe(Checkpoint(Path("m"), "torch-zip", {}, tree="text")).other == {"(all of it)": "text"}
    assert describe(Checkpoint(Path("m"), "torch-zip", {"w": stored}, tree=stored)).other == {}


def test_names_from_a_file_cannot_break_the_table() -> None:
    """Line breaks and terminal escapes are printed as such."""
    name = "a\nb\x1b[31m\udc80"
    tensors = {name: Stored(name, "int8", (0,), ())}
    text = str(describe(Checkpoint(Path("m"), "x", tensors, tree={name: "\x1b[0m"}, metadata={"k": "a\nb"})))
    assert "\x1b" not in text and len(text.splitlines()) == 6
    assert r"a\nb\x1b[31m\udc80" in text


def test_long_tables_are_cut_and_say_so() -> None:
    """The JSON never is."""
    report = CheckpointReport("m", "x", tuple(TensorLine(str(n), "int8", (1,), 1) for n in range(1234)), 1234)
    assert report.text(2).splitlines() == [
        "m: x, 1,234 tensors, 1,234 bytes",
        "  0  int8[1]  1",
        "  1  int8[1]  1",
        "  ... and 1,232 more",
    ]
    assert report.text(0).splitlines() == ["m: x, 1,234 tensors, 1,234 bytes", "  ... and 1,234 more"]
    assert len(report.text().splitlines()) == 1235
    assert len(report.to_dict()["tensors"]) == 1234


def test_findings_make_it_not_ok_unless_they_are_notes() -> None:
    """A warning counts; both are printed."""
    checkpoint = Checkpoint(Path("m"), "x", {})
    checkpoint.report.add("note", "info", "here", "fine")
    assert describe(checkpoint).ok
    checkpoint.report.add("unknown-global", "warning", "there", "a stub")
    assert not describe(checkpoint).ok
    assert "warning unknown-global [there]: a stub" in str(describe(checkpoint))
    assert [f["code"] for f in describe(checkpoint).to_dict()["findings"]] == ["note", "unknown-global"]


def test_two_checkpoints_of_different_formats_are_compared_by_headers(tmp_path: Path) -> None:
    """Order and format do not matter; names, shapes and dtypes do; values are not looked at, and that is said."""
    full = {name: array for name, array in ARRAYS.items() if array.size}
    (tmp_path / "a").write_bytes(store(SafetensorsWriter(), full))
    (tmp_path / "b").write_bytes(store(MindSporeWriter(), dict(reversed(full.items()))))
    same = difference(inspect(tmp_path / "a"), inspect(tmp_path / "b"))
    assert same.equal and same.alike == 2 and "values were not compared" in str(same)
    other = {"a.weight": some("float16", (3, 2)), "c": some("int8", (1,))}
    (tmp_path / "b").write_bytes(store(MindSporeWriter(), other))
    found = difference(inspect(tmp_path / "a"), inspect(tmp_path / "b"))
    assert not found.equal
    assert (found.alike, found.only_first, found.only_second) == (0, ("a.step",), ("c",))
    assert found.shapes == (("a.weight", (2, 3), (3, 2)),)
    assert found.dtypes == (("a.weight", "float32", "float16"),)
    assert len(str(found).splitlines()) == 5 and ", 3 differ" in str(found)
    assert found.text(1).splitlines()[-1] == "  ... and 3 more"
    data = json.loads(json.dumps(found.to_dict()))
    assert data["equal"] is False and data["shapes"] == [["a.weight", [2, 3], [3, 2]]]


def test_what_cannot_be_read_raises(tmp_path: Path) -> None:
    """There is no report without a checkpoint."""
    with pytest.raises(CheckpointError):
        inspect(tmp_path / "none")
