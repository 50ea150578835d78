"""A plan turned round: the rows that lead from what was written back to the sources."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from dsbridge.checkpoint.ops import Const, Drop, reverse, spelled
from dsbridge.checkpoint.rows import Row
from dsbridge.checkpoint.trees import Leaf
from dsbridge.report import Report


def inverted(rows: Iterable[Row], sources: Mapping[str, Leaf], report: Report) -> list[Row]:
    """The rows of the way back; ``sources``: the originals by name. What cannot come back is "missing" and a finding.

    >>> w = Leaf("w", "module.w", (2,), "float32")
    >>> row = Row(("module.w",), ("v",), (), ((2,),), ("float32",), "renamed")
    >>> inverted([row], {"module.w": w}, Report("back"))[0].targets
    ('w',)
    """
    rows = list(rows)
    by_source = {row.sources: row for row in rows if row.targets}
    return [back for row in rows for back in _back(row, sources, by_source, report)]


def _back(row: Row, sources: Mapping[str, Leaf], by_source: Mapping[tuple[str, ...], Row], report: Report) -> list[Row]:
    leaves = [sources[name] for name in row.sources]
    names = tuple(leaf.path for leaf in leaves)
    shapes, dtypes = tuple(leaf.shape for leaf in leaves), tuple(leaf.dtype for leaf in leaves)
    if row.status in ("unmatched", "ambiguous"):
        return [Row((), names, (), shapes, dtypes, "missing", row.rule, note=row.note)] if names else []
    if row.status == "missing":
        return []  # the plan never wrote it, so there is nothing to bring back
    if row.status == "dropped":
        return [_restored(leaf, row, report) for leaf in leaves]
    if row.status == "const":
        return [Row(row.targets, (), (Drop(),), (), (), "dropped", row.rule, note="a constant")]
    if row.status == "tied":
        return _untied(row, leaves, sources, by_source, report)
    steps = reverse(row.operations, shapes)
    if steps is None:
        report.add(
            "no-inverse",
            "error",
            names[0],
            f"{', '.join(map(spelled, row.operations))} has no inverse",
            "keep the original file",
        )
        return [Row(row.targets, names, (), shapes, dtypes, "missing", row.rule, note="the operations have no inverse")]
    status = row.status if row.status not in ("exact", "renamed") else "exact" if row.targets == names else "renamed"
    return [Row(row.targets, names, steps, shapes, dtypes, status, row.rule)]


def _restored(leaf: Leaf, row: Row, report: Report) -> Row:
    if leaf.path.rpartition(".")[2] != "num_batches_tracked":
        report.add("dropped", "error", leaf.path, "was dropped on the way, so it cannot come back", "keep the original file")
        return Row((), (leaf.path,), (), (leaf.shape,), (leaf.dtype,), "missing", row.rule, note="dropped on the way")
    step = Const(0, leaf.shape, leaf.dtype)
    report.add("num-batches-tracked", "info", leaf.path, "comes back as 0: MindSpore keeps no such count")
    return Row((), (leaf.path,), (step,), (leaf.shape,), (leaf.dtype,), "const", row.rule, note="MindSpore keeps no count")


def _untied(
    row: Row, leaves: Sequence[Leaf], sources: Mapping[str, Leaf], by_source: Mapping[tuple[str, ...], Row], report: Report
) -> list[Row]:
    """Tied sources come back from where the first of them went; tied targets are not needed."""
    if not leaves:
        return []
    root = by_source.get(row.sources) if not row.targets else None
    first = next((leaf for leaf in sources.values() if leaf.path == leaves[0].tied_to), None)
    root = root or (by_source.get((first.name,)) if first else None)
    if root is None:  # the file had it once, the network twice
        return [Row(row.targets, (), (Drop(),), (), (), "dropped", row.rule, note="the same tensor comes back from elsewhere")]
    steps = reverse(root.operations, tuple(leaf.shape for leaf in leaves))
    if steps is None:
        return [Row(root.targets, (leaves[0].path,), (), (leaves[0].shape,), (leaves[0].dtype,), "missing", note="no inverse")]
    return [Row(root.targets, (leaves[0].path,), steps, (leaves[0].shape,), (leaves[0].dtype,), "tied", row.rule)]
