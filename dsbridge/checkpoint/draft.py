"""A plan in the making: which sources and targets are free, and the rows made so far."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from dsbridge.checkpoint.align import nearest
from dsbridge.checkpoint.groups import Group
from dsbridge.checkpoint.ops import Cast, Const, Drop, through
from dsbridge.checkpoint.rows import Operation, Row
from dsbridge.checkpoint.trees import Leaf
from dsbridge.errors import CheckpointError
from dsbridge.report import Report


@dataclass(slots=True)
class Draft:
    """``groups`` and ``leaves``: the free sources and targets by path; ``take`` makes a row of some and removes them.

    ``spelling``: "name" or "path", which of a target's two names is written. ``open``: whether targets may be made up (no
    network is known). ``cast``: whether to cast to the targets' dtypes. ``notes``: why a source may stay free, by path.
    ``roots``: names in the file of tied sources, {name: name of the first}.

    >>> w = Leaf("w", "w", (2,), "float32")
    >>> draft = Draft({"w": Group("w", (w,))}, {"w": w}, Report("plan"))
    >>> draft.take(["w"], ["w"], (), "same path").status
    'exact'
    """

    groups: dict[str, Group]
    leaves: dict[str, Leaf]
    report: Report
    spelling: str = "name"
    open: bool = False
    cast: bool = True
    rows: list[Row] = field(default_factory=list)
    written: dict[str, tuple[Leaf, tuple[str, ...]]] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    notes: dict[str, str] = field(default_factory=dict)
    roots: dict[str, str] = field(default_factory=dict)

    def spelled(self, leaf: Leaf) -> str:
        """The name of a target that is written."""
        return leaf.name if self.spelling == "name" else leaf.path

    def take(
        self,
        sources: Sequence[str],
        targets: Sequence[str],
        operations: tuple[Operation, ...],
        rule: str,
        *,
        guessed: bool = False,
        note: str = "",
    ) -> Row:
        """Make a row of free sources and targets (paths); what does not fit together gets the status that says so."""
        groups = [self.groups.pop(path) for path in sources]
        names = tuple(leaf.name for group in groups for leaf in group.sources)
        self.used.update(_root(leaf) for group in groups for leaf in group.sources)
        note = "; ".join(part for part in (note, *(group.doubt for group in groups)) if part)
        if not targets:
            row = Row(names, (), (Drop(),), (), (), "dropped", rule, note=note)
            self.rows.append(row)
            return row
        try:
            made, shapes, dtypes = _made(groups, operations)
            if len(shapes) != len(targets):
                raise CheckpointError(f"{len(shapes)} tensors for {len(targets)} targets")
        except CheckpointError as exc:
            made, shapes, dtypes = (), (), ()
            note = f"{note}; {exc}" if note else str(exc)
        leaves = tuple(self._leaf(path, shapes, dtypes, at) for at, path in enumerate(targets))
        wanted = tuple(leaf.shape for leaf in leaves)
        if shapes and shapes != wanted:
            note = f"{note}; " * bool(note) + f"{_shapes(shapes)} would come, {_shapes(wanted)} is needed"
        casts = self._casts(leaves, dtypes)
        if self.cast and casts:
            made, dtypes = (*made, *casts), tuple(leaf.dtype for leaf in leaves)
        tests = (
            ("shape-mismatch", shapes != wanted),
            ("lossy", any(isinstance(step, Cast) and step.lossy for step in made)),
            ("guessed", guessed or any(group.doubt for group in groups)),
            ("const", not groups),
            ("tied", any(not group.operations and group.sources[0].path != group.path for group in groups)),
            ("transformed", bool(made)),
            ("exact", names == tuple(map(self.spelled, leaves))),
        )
        status = next((name for name, true in tests if true), "renamed")
        dtypes = dtypes or tuple(leaf.dtype for leaf in leaves)
        return self._write(Row(names, tuple(map(self.spelled, leaves)), made, wanted, dtypes, status, rule, note=note), leaves)

    def _leaf(self, path: str, shapes: tuple[tuple[int, ...], ...], dtypes: tuple[str, ...], at: int) -> Leaf:
        leaf = self.leaves.pop(path, None)
        if leaf is None:
            if not self.open:
                raise CheckpointError(f"the target {path!r} is not free")
            leaf = Leaf(path, path, shapes[at] if shapes else (), dtypes[at] if dtypes else "float32")
        return leaf

    def _casts(self, leaves: tuple[Leaf, ...], dtypes: tuple[str, ...]) -> tuple[Operation, ...]:
        wanted = {(leaf.dtype, dtype) for leaf, dtype in zip(leaves, dtypes, strict=False)}
        differing = {pair for pair in wanted if pair[0] != pair[1]}
        if len(wanted) == 1 or not differing:
            return tuple(Cast(to, source) for to, source in differing)
        self.report.add("mixed-dtypes", "warning", leaves[0].path, "the parts of one tensor go to several dtypes: not cast")
        return ()

    def _write(self, row: Row, leaves: tuple[Leaf, ...]) -> Row:
        """Add a row; a name that is written already is the same Parameter again, or an error."""
        sources = tuple(sorted({*row.sources}))
        before = [self.written[name] for name in row.targets if name in self.written]
        if before:
            leaf = leaves[0]
            same = len(leaves) == 1 and (leaf.tied_to or leaf.path) == (before[0][0].tied_to or before[0][0].path)
            if same and self._tied(sources, before[0][1]):
                note = f"the same Parameter as {before[0][0].path}, which is written"
                row = Row(row.sources, (), (), (), (), "tied", row.rule, note=note)
            else:
                what = "are one Parameter, but the sources are not tied" if same else "have one Parameter.name"
                note = f"{before[0][0].path} and {leaf.path} {what}; MindSpore would keep the last, silently"
                note += "" if same else " (spelling='path' tells them apart)"
                row = Row(row.sources, row.targets, row.operations, row.shapes, row.dtypes, "ambiguous", row.rule, note=note)
        else:
            self.written.update({name: (leaf, sources) for name, leaf in zip(row.targets, leaves, strict=True)})
        self.rows.append(row)
        return row

    def _tied(self, ours: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
        return [self.roots.get(name, name) for name in ours] == [self.roots.get(name, name) for name in theirs]

    def ambiguous(self, source: str, cells: Sequence[str], rule: str) -> None:
        """A row for a free source that could go into several cells."""
        group = self.groups.pop(source)
        names = tuple(leaf.name for leaf in group.sources)
        self.rows.append(Row(names, (), (), (), (), "ambiguous", rule, tuple(cells), "the cells are candidates"))

    def finish(self) -> None:
        """Rows for what is still free: tied to what is taken, or unmatched and missing with the nearest names."""
        free_groups, free_leaves = dict(self.groups), dict(self.leaves)
        for path, group in free_groups.items():
            names = tuple(leaf.name for leaf in group.sources)
            if all(_root(leaf) in self.used for leaf in group.sources):
                if not group.operations and group.sources[0].path != path:
                    continue  # not in the file: another path of a tensor that is
                self.rows.append(Row(names, (), (), (), (), "tied", note="the same tensor goes elsewhere"))
                continue
            others = (self.spelled(leaf) for leaf in free_leaves.values() if leaf.shape == group.shape)
            row = Row(names, (), (), (), (), "unmatched", candidates=nearest(path, others), note=self.notes.get(path, ""))
            self.rows.append(row)
        for leaf in free_leaves.values():
            self.rows.append(self._absent(leaf, free_groups.values()))
        self.groups, self.leaves = {}, {}

    def _absent(self, leaf: Leaf, free: Iterable[Group]) -> Row:
        name = self.spelled(leaf)
        root = next((row for row in self.rows if leaf.tied_to and self._root_name(leaf) in row.targets and row.fine), None)
        if root is not None and name in self.written:
            return Row(
                (), (), (), (), (), "tied", note=f"{leaf.path} is the same Parameter as {leaf.tied_to}, which is written"
            )
        if root is not None and len(root.targets) == 1:
            note = f"the same Parameter as {leaf.tied_to}"
            return Row(root.sources, (name,), root.operations, root.shapes, root.dtypes, "tied", root.rule, note=note)
        others = (group.path for group in free if group.shape == leaf.shape)
        return Row((), (name,), (), (leaf.shape,), (leaf.dtype,), "missing", candidates=nearest(leaf.path, others))

    def _root_name(self, leaf: Leaf) -> str:
        return leaf.name if self.spelling == "name" else leaf.tied_to


def _root(leaf: Leaf) -> str:
    return leaf.tied_to or leaf.path


def _shapes(shapes: tuple[tuple[int, ...], ...]) -> str:
    return ", ".join(str(list(shape)) for shape in shapes)


def _made(
    groups: Sequence[Group], operations: tuple[Operation, ...]
) -> tuple[tuple[Operation, ...], tuple[tuple[int, ...], ...], tuple[str, ...]]:
    """(operations, shapes, dtypes) of what the groups become."""
    if len(groups) > 1 and any(group.operations for group in groups):
        raise CheckpointError("a normalised weight cannot be joined with others in one rule")
    made = (*(groups[0].operations if groups else ()), *operations)
    shapes = through(made, tuple(leaf.shape for group in groups for leaf in group.sources))
    dtypes = sorted({group.dtype for group in groups})
    if len(dtypes) > 1:
        raise CheckpointError(f"the sources have dtypes {', '.join(dtypes)}")
    for step in made:
        if isinstance(step, (Cast, Const)):
            if isinstance(step, Cast) and dtypes != [step.source]:
                raise CheckpointError(f"a cast from {step.source}, but the source is {dtypes[0] if dtypes else 'nothing'}")
            dtypes = [step.dtype]
    return made, shapes, tuple(dtypes * len(shapes))
