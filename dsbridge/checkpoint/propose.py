"""Proposals for what no rule takes: one alignment of the two module trees, all of it guesses."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dsbridge.checkpoint.align import align
from dsbridge.checkpoint.draft import Draft
from dsbridge.checkpoint.layers import LayerRule, rule_for, rules_into
from dsbridge.checkpoint.match import Found, carry_out, own_cell, own_module, owned, try_rule
from dsbridge.checkpoint.trees import Node, Tree, joined
from dsbridge.report import Report

_LARGEST = 4_000_000
"""Pairs of modules up to which an alignment is tried (about 2 s)."""


def by_alignment(draft: Draft, model: Tree | None, cells: Tree, order: tuple[Sequence[str], Sequence[str]] | None) -> None:
    """Propose where the rest goes: modules that are left, in definition order (or ``order``), aligned by kind and shapes.

    Where both orders are known and disagree, the order of execution is proposed, and the report says so.
    """
    by = owned(draft)
    if model is None:
        modules = [Node(at, (), {}) for at in by]
    else:
        modules = [node for node in model.nodes if node.path in by]
    free = _free_cells(draft, cells)
    if len(modules) * len(free) > _LARGEST:
        draft.report.add("no-alignment", "warning", "", f"{len(modules)} modules and {len(free)} cells are too many to align")
        return
    left, right = modules, free
    certain, open_ = align(left, right, _fitting(draft, model, by))
    if order:
        as_defined = {(left[i].path, right[j].path) for i, j in certain}
        left, right = _ordered(modules, order[0]), _ordered(free, order[1])
        certain, open_ = align(left, right, _fitting(draft, model, by))
        _compare(draft.report, as_defined, {(left[i].path, right[j].path) for i, j in certain})
        _idle(draft.report, modules, free, order)
    rule = f"{'execution' if order else 'definition'} order"
    for i, j in certain:
        found = _best(draft, model, by, left[i], right[j])
        if found is not None:
            carry_out(draft, found, f"{rule}, {found.rule or 'same names'}", guessed=True)
    for i, places in open_.items():
        _ambiguous(draft, left[i].path, by[left[i].path], [right[j].path for j in places], rule)


def _compare(report: Report, as_defined: set[tuple[str, str]], as_run: set[tuple[str, str]]) -> None:
    other = sorted(as_run - as_defined)
    if other:
        shown = ", ".join(f"{module or 'the root'} -> {cell or 'the root'}" for module, cell in other[:3])
        message = f"the order of definition does not say so for {len(other)} of {len(as_run)} modules: {shown}"
        report.add("orders-disagree", "warning", "alignment", message, "check these rows with dsb.checkpoint.verify")


def _idle(report: Report, modules: list[Node], cells: list[Node], order: tuple[Sequence[str], Sequence[str]]) -> None:
    for side, nodes, ran in (("model", modules, order[0]), ("network", cells, order[1])):
        idle = [node.path or "the root" for node in nodes if node.path not in ran]
        if idle:
            message = f"{len(idle)} modules did not run on these inputs and come last: {', '.join(idle[:3])}"
            report.add("not-run", "warning", side, message, "pass inputs that use them, or write rules for them")


def _ambiguous(draft: Draft, at: str, names: Sequence[str], cells: Sequence[str], rule: str) -> None:
    for name in names:
        if joined(at, name) in draft.groups:
            draft.ambiguous(joined(at, name), cells[:3], rule)


def _ordered(nodes: list[Node], order: Sequence[str]) -> list[Node]:
    place = {path: at for at, path in enumerate(order)}
    return sorted(nodes, key=lambda node: place.get(node.path, len(place)))


def _free_cells(draft: Draft, cells: Tree) -> list[Node]:
    found: list[Node] = []
    inside: list[str] = []
    for node in cells.nodes:
        nested = any("." in name for rule in rules_into(node.classes) for name in rule.names.values())
        free = any(leaf.path in draft.leaves for leaf in node.leaves.values())
        if node.path.startswith(tuple(inside)) if inside else False:
            continue
        if nested and any(path.startswith(f"{node.path}.") for path in draft.leaves):
            inside.append(f"{node.path}.")
            found.append(node)
        elif free:
            found.append(node)
    return found


def _best(draft: Draft, model: Tree | None, by: dict[str, list[str]], module: Node, cell: Node) -> Found | None:
    """The complete way from a torch module to a cell, if there is one."""
    if model is None:
        rules: tuple[LayerRule | None, ...] = rules_into(cell.classes) or (None,)
    else:
        rule = rule_for(module.classes, cell.classes)
        if rule is None and not (own_module(module) and own_cell(cell)):
            return None
        rules = (rule,)
    names = [name for name in by[module.path] if joined(module.path, name) in draft.groups]
    tried = (try_rule(rule, module.path, names, cell, draft, module if model else None) for rule in rules)
    return next((found for found in tried if found.complete), None)


def _fitting(draft: Draft, model: Tree | None, by: dict[str, list[str]]) -> Callable[[Node, Node], bool]:
    """Whether a module can be a cell; asked once for each kind of both."""
    asked: dict[tuple[object, object], bool] = {}
    kinds: dict[int, object] = {}

    def kind_of_module(node: Node) -> object:
        shapes = [(name, draft.groups[joined(node.path, name)].shape) for name in by[node.path]]
        return node.classes, tuple(shapes)

    def kind_of_cell(node: Node) -> object:
        skip = len(node.path)
        shapes = [(path[skip:], leaf.shape) for path, leaf in draft.leaves.items() if path.startswith(node.path)]
        own = {leaf.path[skip:] for leaf in node.leaves.values()}
        nested = not own & {path for path, _ in shapes}
        return node.classes, tuple((path, shape) for path, shape in shapes if nested or path in own)

    def fits(module: Node, cell: Node) -> bool:
        for node, kind in ((module, kind_of_module), (cell, kind_of_cell)):
            if id(node) not in kinds:
                kinds[id(node)] = kind(node)
        key = (kinds[id(module)], kinds[id(cell)])
        if key not in asked:
            asked[key] = _best(draft, model, by, module, cell) is not None
        return asked[key]

    return fits
