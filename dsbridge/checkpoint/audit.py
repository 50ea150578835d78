"""What will make a network's outputs differ from the model's, whatever the weights: hyper-parameters of matched layers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from dsbridge.checkpoint.audit_table import CELL_ACTIVATIONS, CONTAINERS, SOFTMAX, TABLE, TORCH_ACTIVATIONS
from dsbridge.checkpoint.pairing import modules, pairs, pairs_by_order
from dsbridge.checkpoint.windows import Difference, attribute
from dsbridge.report import Report

SHOWN = 8


def audit(model: Any, network: Any, paths: Mapping[str, str] | None = None) -> Report:
    """Compare the settings of every pair of library layers; errors change outputs, warnings change training only.

    Layers are paired by equal path, or as ``paths`` says (torch path -> network path; a plan's ``module_paths``), and of those
    that are left, layers of one kind by their order between paired ones. Settings equal in effect, such as pad_mode 'valid' and
    padding=0, are silent. A layer without a counterpart and a pair of classes that is not in the table are findings
    ("unpaired", "not-audited"): what is computed in functions (relu, pooling, reshapes) cannot be seen.
    """
    report = Report("audit")
    matched = pairs(model, network, paths)
    by_order = pairs_by_order(model, network, matched, _alike)
    paired = matched | by_order
    for path, (module, cell, place) in paired.items():
        for difference in differences(module, cell):
            ours = f"{difference.cell} vs {difference.torch}" + (f" of {path}, by its place" if path in by_order else "")
            if difference.code == "not-audited":
                report.add("not-audited", "info", place, f"{ours}: no rule compares these two")
            elif difference.training:
                report.add(difference.code, "warning", place, f"{ours}: training will differ, outputs will not")
            else:
                note = f" ({difference.note})" if difference.note else ""
                report.add(difference.code, "error", place, f"{ours}: outputs will differ{note}")
    _unpaired(report, "model", modules(model), set(paired), "torch")
    _unpaired(report, "network", modules(network), {place for _, _, place in paired.values()}, "mindspore")
    return report


def _alike(module: Any, cell: Any) -> bool:
    """Whether a torch layer and a cell are of one kind: a pair in the table, or two activations."""
    theirs, ours = library_name(module, "torch"), library_name(cell, "mindspore")
    return (theirs, ours) in TABLE or ("Identity" not in (theirs, ours) and _is_activation(theirs) and _is_activation(ours))


def _unpaired(report: Report, side: str, known: Mapping[str, Any], paired: set[str], framework: str) -> None:
    names = {path: library_name(module, framework) for path, module in known.items()}
    whole = {path for path in paired if names[path] and names[path] not in CONTAINERS}  # what is in them is theirs to arrange
    left = {
        path: name
        for path, name in names.items()
        if name and name not in CONTAINERS and path not in paired and not whole.intersection(_ancestors(path))
    }
    if left:
        counts = ", ".join(f"{count} {name}" for name, count in Counter(left.values()).most_common())
        shown = ", ".join(list(left)[:SHOWN]) + (", ..." if len(left) > SHOWN else "")
        report.add(
            "unpaired", "warning", side, f"{len(left)} layers have no counterpart: {counts} ({shown})",
            "pass paths={torch path: network path} for modules that are called differently",
        )  # fmt: skip


def _ancestors(path: str) -> Iterator[str]:
    while path:
        path = path.rpartition(".")[0]
        yield path


def library_name(module: Any, framework: str) -> str:
    """The name of the torch.nn, mindspore.nn or mindspore.mint.nn class a module is (or derives from); "" if of none.

    >>> library_name(3, "torch")
    ''
    """
    prefixes = {"torch": ("torch.nn.", "torch.ao.nn."), "mindspore": ("mindspore.nn.layer.", "mindspore.mint.nn")}[framework]
    names = [cls.__name__ for cls in type(module).__mro__ if f"{cls.__module__}.".startswith(prefixes)]
    names = [name for name in names if name != "Module"]
    return next((name for name in names if name in _KNOWN[framework]), names[0] if names else "")


_KNOWN = {  # MultiheadAttention's out_proj is of a class that derives from Linear
    "torch": {name for name, _ in TABLE} | set(TORCH_ACTIVATIONS) | set(SOFTMAX) | CONTAINERS,
    "mindspore": {name for _, name in TABLE} | set(CELL_ACTIVATIONS) | set(SOFTMAX) | CONTAINERS,
}


def differences(module: Any, cell: Any) -> Iterator[Difference]:
    """What differs between a torch layer and a cell that stands in its place; nothing for classes of the user's.

    >>> list(differences(3, 4))
    []
    """
    theirs, ours = library_name(module, "torch"), library_name(cell, "mindspore")
    if (not theirs and not ours) or {theirs, ours} & CONTAINERS:
        return
    checks = TABLE.get((theirs, ours))
    if checks is not None:
        for check in checks:
            yield from check(module, cell)
    elif theirs in SOFTMAX and ours == theirs:
        yield from _softmax(module, cell, theirs)
    elif theirs in TORCH_ACTIVATIONS and ours in CELL_ACTIVATIONS:
        yield from _activation(module, cell, theirs, ours)
    elif theirs and ours and _is_activation(theirs) != _is_activation(ours):
        yield Difference("kind", ours, theirs)
    else:
        yield Difference("not-audited", type(cell).__name__, type(module).__name__)


def _is_activation(name: str) -> bool:
    return name in TORCH_ACTIVATIONS or name in CELL_ACTIVATIONS or name in SOFTMAX


def _activation(module: Any, cell: Any, theirs: str, ours: str) -> Iterator[Difference]:
    (kind, settings), (our_kind, our_settings) = TORCH_ACTIVATIONS[theirs], CELL_ACTIVATIONS[ours]
    if kind != our_kind:
        yield Difference("activation", ours, theirs)
        return
    expected, got = settings(module), our_settings(cell)
    if expected != got:
        yield Difference("activation", f"{ours}({', '.join(map(str, got))})", f"{theirs}({', '.join(map(str, expected))})")


def _softmax(module: Any, cell: Any, name: str) -> Iterator[Difference]:
    torch_path, cell_path = SOFTMAX[name]
    dim, axis = attribute(module, torch_path), attribute(cell, cell_path)
    axis = axis[0] if isinstance(axis, tuple) else axis
    if dim == axis:
        return
    same = abs(dim - axis) if dim is not None and (dim < 0) != (axis < 0) else None
    note = f"unless the input has {same} axes" if same else ""
    yield Difference("axis", f"axis {axis}", f"dim={dim}", note=note)
