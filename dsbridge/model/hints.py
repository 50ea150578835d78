"""What things are called: names that the source assigns, else after what made them."""

from __future__ import annotations

from dsbridge.model.nodes import CALL, ITEM, MODULE, Node
from dsbridge.model.source import statement


def give_hints(nodes: list[Node]) -> None:
    """Names that the source assigns: to the last call of a statement, to the items of an unpacked one, or to each part."""
    groups: dict[tuple[str, int, int], list[Node]] = {}
    for node in nodes:
        groups.setdefault((node.place.file, node.place.statement, node.place.step), []).append(node)
    for group in groups.values():
        said, calls = statement(group[0].place), [node for node in group if node.op in (CALL, MODULE)]
        if not calls or not said.targets:
            continue
        if not said.unpacks:
            calls[-1].hint = calls[-1].hint or said.targets[0] or ""
            continue
        for node in group:
            if node.op == ITEM and node.args[0] is calls[-1]:
                at = int(node.target) if node.position < 0 else node.position
                node.hint = (said.targets[at] or "") if at < len(said.targets) else ""
            elif node.op == ITEM and node.args[0].op == ITEM and node.args[0].args[0] is calls[-1]:
                names, at = said.nested.get(node.args[0].target, ()), int(node.target)
                node.hint = (names[at] or "") if at < len(names) else ""
        within = {id(used) for node in group for used in node.inputs()}
        parts = [node for node in calls if id(node) not in within]
        if len(parts) == len(said.targets):  # q, k, v = qkv[0], qkv[1], qkv[2]
            for node, name in zip(parts, said.targets, strict=True):
                node.hint = node.hint or name or ""


def same_statement(a: Node, b: Node) -> bool:
    """Whether both were computed by one statement of the source, and in one run of it."""
    return (a.place.file, a.place.statement, a.place.step) == (b.place.file, b.place.statement, b.place.step)


def default_name(node: Node) -> str:
    """A name where the source has none: after the function or the module."""
    if node.op == MODULE:
        parts = [part for part in str(node.target).split(".") if part.isidentifier()]
        return f"{parts[-1]}_out" if parts else "out"
    name = str(node.target).strip("_")
    return f"{name}_out" if name.isidentifier() else "out"
