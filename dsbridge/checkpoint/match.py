"""Which source goes where on equal paths: the class rules of the table, and equal names for users' own modules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from dsbridge.checkpoint.draft import Draft
from dsbridge.checkpoint.layers import LayerRule, refusal, rule_for, rule_from, rules_into
from dsbridge.checkpoint.ops import Const, through
from dsbridge.checkpoint.rows import Operation
from dsbridge.checkpoint.trees import Leaf, Node, Tree, joined
from dsbridge.errors import CheckpointError

_PLAIN = ("mindspore.nn.cell.Cell", "mindspore.nn.SequentialCell", "mindspore.nn.CellList", "mindspore.nn.CellDict")
_TORCH_PLAIN = tuple(f"torch.nn.{name}" for name in ("Module", "Sequential", "ModuleList", "ModuleDict"))


@dataclass(frozen=True, slots=True)
class Step:
    """What a layer rule does with one parameter: ``source`` ("" for a constant) and ``target`` ("" to drop) are paths.

    >>> Step("fc.weight", "fc.weight").operations
    ()
    """

    source: str
    target: str
    operations: tuple[Operation, ...] = ()
    note: str = ""


@dataclass(slots=True)
class Found:
    """A rule tried on one torch module and one cell: its steps, and whether they cover both sides and all shapes fit.

    >>> Found(None, [], True).steps
    []
    """

    rule: LayerRule | None
    steps: list[Step]
    complete: bool
    filled: bool = False

    def key(self) -> tuple[tuple[str, str, tuple[Operation, ...]], ...]:
        """What tells it from another rule's: where the values go and what is done to them."""
        return tuple((step.source, step.target, step.operations) for step in self.steps)


def owned(draft: Draft) -> dict[str, list[str]]:
    """The free sources' names by the path of the module they belong to.

    >>> from dsbridge.report import Report
    >>> owned(Draft({}, {}, Report("plan")))
    {}
    """
    by: dict[str, list[str]] = {}
    for path in draft.groups:
        owner, _, name = path.rpartition(".")
        by.setdefault(owner, []).append(name)
    return by


def try_rule(rule: LayerRule | None, at: str, names: Sequence[str], cell: Node, draft: Draft, torch: Node | None) -> Found:
    """What a rule (None: same names) makes of the torch module at path ``at`` with free sources ``names`` for a cell.

    ``torch``: the live module if known; a constant is only for what it lacks.
    """
    rule = rule or LayerRule("", "")
    steps: list[Step] = []
    fits = True
    for name in names:
        target = joined(cell.path, rule.names.get(name, name))
        operations = rule.operations.get(name, ())
        leaf = draft.leaves.get(target)
        if leaf is not None:
            steps.append(Step(joined(at, name), target, operations))
            fits = fits and _fits(draft, joined(at, name), operations, leaf)
        elif name in rule.dropped:
            steps.append(Step(joined(at, name), ""))
        else:
            fits = False
    done = {step.target for step in steps}
    filled = False
    for place, value in rule.constants.items():
        leaf = draft.leaves.get(joined(cell.path, place))
        lacked = torch is None or not any(rule.names.get(name, name) == place for name in torch.leaves)
        if leaf is not None and leaf.path not in done and lacked and (done or torch is not None):
            note = rule.note if "moving" in place else ""
            steps.append(Step("", leaf.path, (Const(value, leaf.shape, leaf.dtype),), note))
            filled = True
    done = {step.target for step in steps}
    complete = fits and all(leaf.path in done for leaf in cell.leaves.values() if leaf.path in draft.leaves)
    return Found(rule if rule.torch else None, steps, complete and bool(done), filled)


def _fits(draft: Draft, source: str, operations: tuple[Operation, ...], leaf: Leaf) -> bool:
    try:
        return through(operations, (draft.groups[source].shape,)) == (leaf.shape,)
    except CheckpointError:
        return False


def carry_out(draft: Draft, found: Found, rule: str, *, guessed: bool = False) -> None:
    """Make the rows of a rule that was tried."""
    for step in found.steps:
        sources, targets = [step.source] if step.source else [], [step.target] if step.target else []
        draft.take(sources, targets, step.operations if targets else (), rule, guessed=guessed, note=step.note)


@dataclass(slots=True)
class Paths:
    """Equal paths, allowing for children that a rule renames: from a cell's path to the torch module's.

    >>> Paths(None, Tree("mindspore", (Node("", ("my.Net",), {}), Node("fc", ("mindspore.nn.Dense",), {})))).torch("fc")
    'fc'
    """

    model: Tree | None
    cells: Tree
    known: dict[str, str] = field(default_factory=lambda: {"": ""})

    def torch(self, path: str) -> str:
        """The torch path for a cell's path."""
        if path not in self.known:
            parent, _, child = path.rpartition(".")
            above = self.torch(parent)
            back = {new: old for rule in self.rules(above, parent) for old, new in rule.children.items()}
            self.known[path] = joined(above, back.get(child, child))
        return self.known[path]

    def rules(self, torch: str, cell: str) -> tuple[LayerRule, ...]:
        """The rules that can be meant: one or none for known classes, all that end in the cell's class otherwise."""
        node = self.cells.by_path.get(cell)
        if node is None:
            return ()
        if self.model is None:
            return rules_into(node.classes)
        module = self.model.by_path.get(torch)
        rule = rule_for(module.classes, node.classes) if module else None
        return (rule,) if rule else ()


def by_class(draft: Draft, model: Tree | None, cells: Tree) -> None:
    """Class rules where paths are equal; without a model, whatever rule into the cell's class is the only one that fits."""
    paths = Paths(model, cells)
    by = owned(draft)
    open_: list[tuple[Node, list[Found]]] = []
    votes: dict[str, Counter[str]] = {}
    for cell in cells.nodes:
        at = paths.torch(cell.path)
        names = [name for name in by.get(at, ()) if joined(at, name) in draft.groups]
        module = model.by_path.get(at) if model else None
        if (model is not None and module is None) or not (names or _constant(module, cell)):
            continue
        rules = paths.rules(at, cell.path)
        if not rules:
            _same_names(draft, at, names, cell, module)
            continue
        tried = [try_rule(rule, at, names, cell, draft, module) for rule in rules]
        if model is not None:
            carry_out(draft, tried[0], str(rules[0]))
            continue
        whole = list({found.key(): found for found in reversed(tried) if found.complete}.values())
        if len(whole) > 1:
            open_.append((cell, whole[::-1]))
        elif whole:
            rule = whole[0].rule
            if len({found.key() for found in tried}) > 1 and rule is not None:
                votes.setdefault(rule.cell, Counter())[rule.torch] += 1
            carry_out(draft, whole[0], f"{rule} (by its names)", guessed=whole[0].filled)
        else:
            carry_out(draft, max(tried, key=lambda found: len(found.steps)), f"{rules[0]} (by its names)")
    _vote(draft, open_, votes)


def _constant(module: Node | None, cell: Node) -> bool:
    """A torch module without parameters, to a cell that has some: only known classes can tell."""
    return module is not None and rule_for(module.classes, cell.classes) is not None


def _vote(draft: Draft, open_: list[tuple[Node, list[Found]]], votes: dict[str, Counter[str]]) -> None:
    """Square weights fit as they are and transposed: what all others of that cell class are decides, else it is a guess."""
    for cell, whole in open_:
        rules = [found.rule for found in whole if found.rule]
        cast = votes.get(rules[0].cell, Counter())
        chosen = next((found for found in whole if found.rule and set(cast) == {found.rule.torch}), None)
        if chosen is None:
            others = ", ".join(rule.torch for rule in rules)
            draft.report.add("layout", "warning", cell.path, f"fits as {others}", "pass the torch model, or a rule")
            carry_out(draft, whole[0], f"{rules[0]} (one of {len(rules)} that fit)", guessed=True)
        else:
            what = f"taken as {chosen.rule.torch}, as all others of its class" if chosen.rule else ""
            draft.report.add("layout", "info", cell.path, what, "pass the torch model to be sure")
            carry_out(draft, chosen, f"{chosen.rule} (as all others)")


def _own(classes: Sequence[str], prefixes: tuple[str, ...], plain: tuple[str, ...]) -> bool:
    """Whether no class of the framework, beside its containers, is among the bases."""
    return not any(name.startswith(prefixes) and name not in plain for name in classes)


def own_cell(cell: Node) -> bool:
    """Whether a cell's class is the user's own.

    >>> own_cell(Node("", ("my.Net", "mindspore.nn.cell.Cell"), {}))
    True
    """
    return _own(cell.classes, ("mindspore.nn.", "mindspore.mint."), _PLAIN)


def own_module(module: Node) -> bool:
    """Whether a torch module's class is the user's own.

    >>> own_module(Node("", ("torch.nn.Linear", "torch.nn.Module"), {}))
    False
    """
    return _own(module.classes, ("torch.nn.",), _TORCH_PLAIN)


def _same_names(draft: Draft, at: str, names: Sequence[str], cell: Node, module: Node | None) -> None:
    """No rule for the classes: equal names and shapes do, but a square matrix may be transposed where they differ in kind."""
    reason = refusal(module.classes, module.leaves) if module else ""
    kind = module is None or own_module(module)
    if module is not None and not own_cell(cell) and (reason or not kind):
        reason = reason or f"no rule for {module.classes[0]} -> {cell.classes[0]}"
        draft.report.add("unsupported-layer", "error", at, reason, "write a rule for its parameters")
        draft.notes.update({joined(at, name): reason for name in names})
        return
    for name in names:
        leaf = draft.leaves.get(joined(cell.path, name))
        if leaf is None or leaf.shape != draft.groups[joined(at, name)].shape:
            if reason:
                draft.report.add("unsupported-layer", "error", at, reason, "write a rule for its parameters")
                draft.notes[joined(at, name)] = reason
            continue
        alike = kind and own_cell(cell)
        draft.take([joined(at, name)], [leaf.path], (), "same path and name", guessed=not alike and _square(leaf.shape))


def _square(shape: tuple[int, ...]) -> bool:
    sizes = [size for size in shape if size > 1]
    return len(set(sizes)) < len(sizes)


def refuse_absent(draft: Draft, model: Tree) -> None:
    """Say why, for sources of modules (or inside of modules) that have no counterpart and that nothing took."""
    for at, names in owned(draft).items():
        for above in _and_above(at):
            module = model.by_path.get(above)
            reason = refusal(module.classes, names) if module else ""
            if reason:
                draft.report.add("unsupported-layer", "error", above, reason, "write a cell and a rule for its parameters")
                draft.notes.update({joined(at, name): reason for name in names})


def _and_above(path: str) -> list[str]:
    parts = path.split(".") if path else []
    return [".".join(parts[:end]) for end in range(len(parts), -1, -1)]


def to_usual(draft: Draft, model: Tree) -> None:
    """Without a network: the names that the usual counterparts in mindspore.nn have."""
    for at, names in owned(draft).items():
        module = model.by_path.get(at)
        rule = rule_from(module.classes) if module else None
        if module is None or refusal(module.classes, names):
            continue
        for name in names:
            if rule and name in rule.dropped:
                draft.take([joined(at, name)], [], (), str(rule))
                continue
            place, operations = (rule.names.get(name, name), rule.operations.get(name, ())) if rule else (name, ())
            draft.take([joined(at, name)], [joined(_usual(model, at), place)], operations, str(rule or "same path and name"))


def _usual(model: Tree, path: str) -> str:
    """The path with children called as the usual counterparts call them."""
    parts: list[str] = []
    for at, child in enumerate(path.split(".") if path else ()):
        node = model.by_path.get(".".join(path.split(".")[:at]))
        rule = rule_from(node.classes) if node else None
        parts.append(rule.children.get(child, child) if rule else child)
    return ".".join(parts)
