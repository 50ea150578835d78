"""The plan of a conversion: which tensor goes where, how sure that is, and the way back. Nothing is read or written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dsbridge.checkpoint.draft import Draft
from dsbridge.checkpoint.groups import Group, groups_of
from dsbridge.checkpoint.inverse import inverted
from dsbridge.checkpoint.match import by_class, refuse_absent, to_usual
from dsbridge.checkpoint.names import choose, normalise
from dsbridge.checkpoint.ops import Const, arguments, spelled
from dsbridge.checkpoint.propose import by_alignment
from dsbridge.checkpoint.rows import DOUBTFUL, FINE, Row
from dsbridge.checkpoint.rules import Rule, RuleSet
from dsbridge.checkpoint.stored import Checkpoint
from dsbridge.checkpoint.trees import Leaf, Tree
from dsbridge.checkpoint.user_rules import by_rules, registered
from dsbridge.errors import CheckpointError
from dsbridge.report import Finding, Report, Reported


@dataclass(slots=True)
class CheckpointPlan(Reported):
    """Rows for all sources and targets, and findings about them.

    ``sources``: what is converted, by its name in the file. ``paths``: {written name: structural path} of the targets.

    >>> w = Leaf("w", "w", (2,), "float32")
    >>> p = CheckpointPlan([Row(("w",), ("v",), (), ((2,),), ("float32",), "renamed", "a rule")], {"w": w}, Report("plan"))
    >>> p.ok, p.counts
    (True, {'renamed': 1})
    >>> p.inverse().rows[0].targets
    ('w',)
    """

    rows: list[Row]
    sources: dict[str, Leaf]
    report: Report
    paths: dict[str, str] = field(default_factory=dict)

    def _named(self, status: str, ends: str) -> list[str]:
        return [name for row in self.rows if row.status == status for name in getattr(row, ends)]

    @property
    def unmatched(self) -> list[str]:
        """Sources that nothing takes."""
        return self._named("unmatched", "sources")

    @property
    def missing(self) -> list[str]:
        """Targets that nothing fills."""
        return self._named("missing", "targets")

    @property
    def ambiguous(self) -> list[str]:
        """Sources with several candidates."""
        return self._named("ambiguous", "sources")

    @property
    def guessed(self) -> list[str]:
        """Sources whose place is only proposed."""
        return self._named("guessed", "sources")

    @property
    def counts(self) -> dict[str, int]:
        """How many rows there are of each status that occurs."""
        found = Counter(row.status for row in self.rows)
        return {status: found[status] for status in (*FINE, *DOUBTFUL) if found[status]}

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What the plan has to say beside its rows."""
        return self.report.findings

    @property
    def ok(self) -> bool:
        """Whether it can be carried out without asking: all rows are fine and no finding is an error."""
        return self.report.ok and all(row.fine for row in self.rows)

    @property
    def pairs(self) -> dict[str, str]:
        """{source: target} of the rows that lead from one tensor to one."""
        return {row.sources[0]: row.targets[0] for row in self.rows if len(row.sources) == len(row.targets) == 1}

    @property
    def module_paths(self) -> dict[str, str]:
        """{torch module: cell} where the rows place tensors under another path: ``paths=`` of ``audit`` and ``verify``."""
        found: dict[str, str] = {}
        for source, target in self.pairs.items():
            module = self.sources[source].path.rpartition(".")[0]
            cell = self.paths.get(target, target).rpartition(".")[0]
            if cell != module and not cell.startswith(f"{module}.") and module:
                found.setdefault(module, cell)
        return found

    @property
    def rules(self) -> RuleSet:
        """The plan as rules, one for each row; a guess is marked so and stays one until that line is deleted."""
        by_name = {leaf.name: leaf.path for leaf in self.sources.values()}
        kept = [row for row in self.rows if (row.fine or row.status == "guessed") and (row.targets or row.status == "dropped")]
        return RuleSet(tuple(_as_rule(row, by_name, self.paths) for row in kept if row.status != "tied"))

    def raise_if_failed(self, *, accept_guesses: bool = False) -> None:
        """Raise ``CheckpointError`` with counts, up to 20 rows and the nearest names, unless it can be carried out."""
        bad = [row for row in self.rows if not row.fine and not (accept_guesses and row.status == "guessed")]
        errors = [str(finding) for finding in self.findings if finding.severity == "error"]
        if not bad and not errors:
            return
        counts = ", ".join(f"{count} {status}" for status, count in Counter(row.status for row in bad).items())
        more = [f"  ... and {len(bad) - 20} more"] if len(bad) > 20 else []
        raise CheckpointError(
            "\n".join([f"the checkpoint cannot be converted: {counts or 'errors'}", *map(_line, bad[:20]), *more, *errors]),
            unmatched=self.unmatched,
            missing=self.missing,
            candidates={name: list(row.candidates) for row in bad for name in (row.sources or row.targets)[:1]},
            hint=_hint({row.status for row in bad}),
        )

    def to_dict(self) -> dict[str, Any]:
        """The plan as plain data, ready for ``json.dumps``."""
        return {
            "ok": self.ok,
            "counts": self.counts,
            "rows": [{**asdict(row), "operations": [_as_data(step) for step in row.operations]} for row in self.rows],
            "report": self.report.to_dict(),
        }

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {status}" for status, count in self.counts.items()) or "nothing to do"
        return "\n".join([f"plan: {counts}", *map(_line, self.rows), *(f"  {finding}" for finding in self.findings)])

    def inverse(self) -> CheckpointPlan:
        """The way back: from the targets' names to the sources' paths (without wrappers' prefixes)."""
        report = Report("way back")
        written = {
            name: Leaf(self.paths.get(name, name), name, shape, dtype)
            for row in self.rows
            if row.status != "missing"
            for name, shape, dtype in zip(row.targets, row.shapes, row.dtypes, strict=True)
        }
        rows = inverted(self.rows, self.sources, report)
        return CheckpointPlan(rows, written, report, {leaf.path: leaf.path for leaf in self.sources.values()})


def _hint(statuses: set[str]) -> str:
    hints = {
        "guessed": "look at the guesses, then accept_guesses=True (--accept-guesses) or write them as rules",
        "lossy": "change the network's dtype, or pass dtypes='keep'",
        "ambiguous": "say which by rules={source: target}",
    }
    return next((hint for status, hint in hints.items() if status in statuses), "write rules for them: rules={source: target}")


def _line(row: Row) -> str:
    steps = ", ".join(_brief(step) for step in row.operations)
    shapes = " ".join(f"{dtype}{list(shape)}" for shape, dtype in zip(row.shapes, row.dtypes, strict=True))
    parts = [
        f"  {row.status:14} {' + '.join(row.sources) or '-'} -> {' + '.join(row.targets) or '-'}",
        shapes,
        f"by {steps}" if steps else "",
        f"[{row.rule}]" if row.rule else "",
        f"nearest: {', '.join(row.candidates)}" if row.candidates else "",
        row.note,
    ]
    return "  ".join(part for part in parts if part)


def _brief(step: Any) -> str:
    if isinstance(step, Const) and isinstance(step.value, bytes):
        return f"const({len(step.value)} bytes)"
    return f"{spelled(step)}({', '.join(map(str, arguments(step).values()))})"


def _as_data(step: Any) -> dict[str, Any]:
    given = {key: value.hex() if isinstance(value, bytes) else value for key, value in arguments(step).items()}
    return {"name": spelled(step), **given}


def _as_rule(row: Row, by_name: Mapping[str, str], paths: Mapping[str, str]) -> Rule:
    steps = row.operations if row.targets else ()
    sources = tuple(by_name.get(name, name) for name in row.sources)
    return Rule(sources, tuple(paths.get(name, name) for name in row.targets), steps, row.status == "guessed")


def source_leaves(source: Checkpoint | Tree, report: Report, model: Tree | None, key: str = "") -> dict[str, Leaf]:
    """The sources by path: of a checkpoint's weights under their clean names, or of a live model.

    >>> from dsbridge.checkpoint.stored import Stored
    >>> stored = Stored("0._orig_mod.w", "float32", (0,), ())
    >>> source_leaves(Checkpoint(Path("x"), "safetensors", {stored.name: stored}), Report("plan"), None)["0.w"].name
    '0._orig_mod.w'
    """
    if isinstance(source, Tree):
        return dict(source.leaves)
    held = choose(source, report, key)
    clean = normalise(held, report, model.leaves if model else ())
    path_of = {stored.name: clean[name] for name, stored in held.items()}
    return {
        clean[name]: Leaf(clean[name], stored.name, stored.shape, stored.dtype, path_of.get(stored.tied_to, ""))
        for name, stored in held.items()
    }


def plan(
    source: Checkpoint | Tree,
    target: Tree | None,
    *,
    model: Tree | None = None,
    rules: RuleSet | Mapping[str, Any] | str | Path = "auto",
    key: str = "",
    spelling: str = "name",
    dtypes: str = "target",
    order: tuple[Sequence[str], Sequence[str]] | None = None,
) -> CheckpointPlan:
    """Plan how a torch checkpoint's tensors become a MindSpore network's parameters.

    ``target``: the network's tree, if there is one; ``model``: the torch model's. ``key``: the dict in the file that is meant.
    ``rules``: "auto", a TOML file, {source: target} or a ``RuleSet``; they come first, then class rules on equal paths,
    registered model maps, and an alignment of what is left, which is only proposed ("guessed"). ``spelling``: write the
    Parameter.name ("name") or the structural path ("path"). ``dtypes``: cast to the network's ("target") or "keep" them.
    ``order``: execution orders (module paths of both sides) for the alignment. Raises ``CheckpointError`` for a source that
    cannot be read as weights.

    >>> w = Leaf("fc.weight", "fc.weight", (2, 3), "float32")
    >>> from dsbridge.checkpoint.trees import Node
    >>> linear = Tree("torch", (Node("fc", ("torch.nn.Linear",), {"weight": w}),))
    >>> print(plan(linear, Tree("mindspore", (Node("fc", ("mindspore.nn.Dense",), {"weight": w}),)), model=linear))
    plan: 1 exact
      exact          fc.weight -> fc.weight  float32[2, 3]  [torch.nn.Linear -> mindspore.nn.Dense]
    """
    for name, value, known in (("spelling", spelling, ("name", "path")), ("dtypes", dtypes, ("target", "keep"))):
        if value not in known:
            raise CheckpointError(f"{name}={value!r}, expected one of {', '.join(known)}")
    report = Report("plan")
    model = model or (source if isinstance(source, Tree) else None)
    sources = source_leaves(source, report, model, key)
    roots = {leaf.name: sources[leaf.tied_to].name for leaf in sources.values() if leaf.tied_to in sources}
    leaves = dict(target.leaves) if target else {}
    draft = Draft(groups_of(sources, model, leaves), leaves, report, spelling, target is None, dtypes == "target", roots=roots)
    if "n_averaged" in draft.groups:
        draft.take(["n_averaged"], [], (), "AveragedModel's count")
    if model:
        _tie(draft, model)
    by_rules(draft, RuleSet.of(rules))
    if target is None:
        _without_network(draft, model)
    else:
        by_class(draft, model, target)
        if model:
            by_rules(draft, registered(model.nodes[0].classes, target.nodes[0].classes))
        by_alignment(draft, model, target, order)
    if model:
        refuse_absent(draft, model)
    draft.finish()
    paths = {draft.spelled(leaf): leaf.path for leaf in (target.leaves.values() if target else ())}
    return CheckpointPlan(draft.rows, {leaf.name: leaf for leaf in sources.values()}, report, paths)


def _tie(draft: Draft, model: Tree) -> None:
    """Tensors that the file holds under another of their names only (safetensors keeps one of tied ones)."""
    held: dict[str, Group] = {}
    for path, leaf in model.leaves.items():
        if path in draft.groups and not draft.groups[path].operations:
            held.setdefault(leaf.tied_to or path, draft.groups[path])
    for path, leaf in model.leaves.items():
        group = held.get(leaf.tied_to or path)
        if path not in draft.groups and group is not None:
            draft.groups[path] = Group(path, group.sources)


def _without_network(draft: Draft, model: Tree | None) -> None:
    if model is not None:
        to_usual(draft, model)
        return
    if any(path.endswith("running_mean") for path in draft.groups):
        hint = "give network=, model= or rules="
        draft.report.add("torch-names", "warning", "running_mean", "names stay torch's; nn.BatchNorm knows moving_mean", hint)
    for path in list(draft.groups):
        draft.take([path], [path], (), "kept")
