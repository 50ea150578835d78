"""Users' rules and registered model maps, carried out on a draft."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dsbridge.checkpoint.align import nearest
from dsbridge.checkpoint.draft import Draft
from dsbridge.checkpoint.groups import Group
from dsbridge.checkpoint.ops import Const
from dsbridge.checkpoint.rules import Rule, RuleSet, fill
from dsbridge.checkpoint.trees import Leaf

_MAPS: dict[tuple[str, str], RuleSet] = {}


def register_map(torch_class: str, cell_class: str, rules: RuleSet | Mapping[str, Any]) -> None:
    """Rules for a known pair of models, by their root classes' qualified names; the last registration counts.

    >>> register_map("my.ResNet", "your.ResNet", {"fc.weight": "head.weight"})
    >>> len(registered(("my.ResNet",), ("your.ResNet",)).rules)
    1
    """
    _MAPS[torch_class, cell_class] = RuleSet.of(rules)


def registered(torch_classes: tuple[str, ...], cell_classes: tuple[str, ...]) -> RuleSet:
    """The registered rules of the most derived pair of classes; empty if there are none."""
    pairs = ((torch, cell) for torch in torch_classes for cell in cell_classes)
    return next((_MAPS[pair] for pair in pairs if pair in _MAPS), RuleSet())


def by_rules(draft: Draft, rules: RuleSet) -> None:
    """Carry out rules in order; those that matched nothing, and names that are not there, are findings.

    A rule names sources by their path (without wrappers' prefixes) or as the file does, targets by path or Parameter.name.
    """
    for rule in rules.rules:
        _unfold(draft, rule)
        places: Mapping[str, Group | Leaf] = draft.groups if rule.sources else draft.leaves
        hits = sum([_use(draft, rule, path) for path in list(places) if path in places])
        if not hits:
            hint = f"the nearest is {', '.join(nearest((rule.sources or rule.targets)[0], places, 1)) or 'nothing'}"
            draft.report.add("unused-rule", "warning", rules.where, f"{rule} matches nothing", hint)


def _unfold(draft: Draft, rule: Rule) -> None:
    """A rule that names the parts of a normalised weight gets them as they are."""
    if len(rule.sources) < 2:
        return
    for path, group in list(draft.groups.items()):
        if group.operations and any(rule.bind(name) is not None for leaf in group.sources for name in (leaf.path, leaf.name)):
            del draft.groups[path]
            draft.groups.update({leaf.path: Group(leaf.path, (leaf,)) for leaf in group.sources})


def _use(draft: Draft, rule: Rule, path: str) -> bool:
    bound = rule.bind(path)
    if bound is None and rule.sources:
        bound = rule.bind(draft.groups[path].sources[0].name)
    if bound is None:
        return False
    sources = [_source(draft, fill(pattern, bound)) for pattern in rule.sources]
    targets = [fill(pattern, bound) for pattern in rule.targets]
    found = [_target(draft, name) for name in targets]
    gone = [fill(pattern, bound) for pattern, at in zip(rule.sources, sources, strict=True) if at is None]
    lost = [name for name, at in zip(targets, found, strict=True) if at is None]
    for what, names, free in (("source", gone, draft.groups), ("target", lost, draft.leaves)):
        if names:
            hint = f"the nearest are {', '.join(nearest(names[0], free)) or 'none'}"
            draft.report.add(f"rule-{what}", "error", names[0], f"{rule}: no such {what} is free", hint)
    if gone or lost or len(set(sources)) < len(sources) or len(set(found)) < len(found):
        return bool(gone or lost)
    operations = rule.operations
    if not sources and not operations:
        leaf = draft.leaves[targets[0]]
        if leaf.value is None or len(targets) != 1:
            draft.report.add("rule-source", "error", leaf.path, f"{rule}: keeps a value, which only a live network has")
            return True
        operations = (_kept(leaf),)
    draft.take(
        [at for at in sources if at], [at for at in found if at], operations, str(rule), guessed=rule.guessed, note=rule.note
    )
    return True


def _kept(leaf: Leaf) -> Const:
    """The network's own value as a constant."""
    return Const(leaf.value().tobytes() if leaf.value else b"", leaf.shape, leaf.dtype)


def _source(draft: Draft, name: str) -> str | None:
    if name in draft.groups:
        return name
    return next((path for path, group in draft.groups.items() if group.sources[0].name == name), None)


def _target(draft: Draft, name: str) -> str | None:
    if name in draft.leaves or draft.open:
        return name
    named = [path for path, leaf in draft.leaves.items() if leaf.name == name]
    return named[0] if len(named) == 1 else None
