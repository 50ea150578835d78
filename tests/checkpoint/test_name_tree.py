"""Names as a tree: sums, depth, limits, names that are no tree."""

from __future__ import annotations

from dsbridge.checkpoint.inspect import CheckpointReport, TensorLine
from dsbridge.checkpoint.name_tree import grow, rows, text

LINES = (
    TensorLine("layer.0.conv.weight", "float32", (4, 3), 48),
    TensorLine("layer.0.conv.bias", "float32", (4,), 16),
    TensorLine("layer.1.bn.gamma", "float32", (4,), 16),
    TensorLine("head.weight", "float32", (4, 3), 48, "layer.0.conv.weight"),
)
REPORT = CheckpointReport("m.ckpt", "mindspore-ckpt", LINES, 80)


def test_the_tree() -> None:
    """Each module with its tensors and bytes; chains on one line; tied bytes count once."""
    assert list(rows(grow(LINES))) == [
        ("layer", "3 tensors", "80"),
        ("  0.conv", "2 tensors", "64"),
        ("    weight", "float32[4, 3]", "48"),
        ("    bias", "float32[4]", "16"),
        ("  1.bn.gamma", "float32[4]", "16"),
        ("head.weight", "float32[4, 3]", "tied to layer.0.conv.weight"),
    ]


def test_depth_and_limit() -> None:
    """What is below the depth is summed up; what is beyond the limit is counted."""
    assert [row[0] for row in rows(grow(LINES), 1)] == ["layer", "head.weight"]
    assert text(REPORT, limit=2).splitlines()[-1] == "  ... and 4 more"
    assert text(REPORT).startswith("m.ckpt: mindspore-ckpt, 4 tensors, 80 bytes\n  layer ")


def test_a_name_that_is_also_a_module() -> None:
    """Both are shown; so are names with line breaks and empty parts."""
    lines = (TensorLine("w", "int8", (1,), 1), TensorLine("w.x", "int8", (1,), 1), TensorLine("a..b\n", "int8", (1,), 1))
    assert [row[0] for row in rows(grow(lines))] == ["w", "  x", "a..b\n"]
    assert "a..b\\n" in text(CheckpointReport("m", "safetensors", lines, 3))
    assert text(CheckpointReport("m", "safetensors", (), 0)) == "m: safetensors, 0 tensors, 0 bytes"
