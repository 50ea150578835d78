"""A checkpoint's names as a tree: what each module holds, in tensors and bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from dsbridge.checkpoint.inspect import CheckpointReport, TensorLine
from dsbridge.styles import aligned, printable


@dataclass(slots=True)
class Node:
    """A part of the names: what lies below, or a tensor."""

    children: dict[str, Node] = field(default_factory=dict)
    line: TensorLine | None = None
    tensors: int = 0
    nbytes: int = 0


def grow(lines: Iterable[TensorLine]) -> Node:
    """The tree of names split at dots; tied tensors count once, where their bytes are.

    >>> grow([TensorLine("a.w", "int8", (2,), 2), TensorLine("a.b", "int8", (1,), 1)]).children["a"].nbytes
    3
    """
    root = Node()
    for line in lines:
        nodes = [root]
        for part in line.name.split("."):
            nodes.append(nodes[-1].children.setdefault(part, Node()))
        nodes[-1].line = line
        for node in nodes:
            node.tensors += 1
            node.nbytes += 0 if line.tied_to else line.nbytes
    return root


def text(report: CheckpointReport, depth: int | None = None, limit: int | None = None) -> str:
    """The tree of a checkpoint, at most ``limit`` lines of it; how many were left out is said.

    >>> print(text(CheckpointReport("a", "safetensors", (TensorLine("fc.w", "int8", (2,), 2),), 2)))
    a: safetensors, 1 tensor, 2 bytes
      fc.w  int8[2]  2
    """
    lines = aligned([(printable(name), kind, size) for name, kind, size in rows(grow(report.tensors), depth)])
    left = len(lines) - len(lines[:limit])
    findings = [str(report.report)] if len(report.report) else []
    return "\n".join([report.title, *lines[:limit], *([f"  ... and {left:,} more"] if left else []), *findings])


def rows(root: Node, depth: int | None = None) -> Iterator[tuple[str, str, str]]:
    """(indented name, what it is, bytes) from the top down; below ``depth`` levels modules are only summed up.

    A module with one child is written with it on one line.

    >>> tree = grow([TensorLine("a.b.w", "int8", (2,), 2), TensorLine("c", "int8", (1,), 1)])
    >>> list(rows(tree))
    [('a.b.w', 'int8[2]', '2'), ('c', 'int8[1]', '1')]
    """
    yield from _rows(root, 0, depth)


def _rows(node: Node, level: int, depth: int | None) -> Iterator[tuple[str, str, str]]:
    for name, child in node.children.items():
        while len(child.children) == 1 and child.line is None:
            ((part, child),) = child.children.items()
            name = f"{name}.{part}"
        indented = "  " * level + name
        if child.line is not None:
            tied = child.line.tied_to
            yield indented, child.line.kind, f"tied to {tied}" if tied else f"{child.line.nbytes:,}"
        if child.children:
            if child.line is None:
                plural = "" if child.tensors == 1 else "s"
                yield indented, f"{child.tensors:,} tensor{plural}", f"{child.nbytes:,}"
            if depth is None or level + 1 < depth:
                yield from _rows(child, level + 1, depth)
