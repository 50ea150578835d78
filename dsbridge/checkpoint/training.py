"""What a training checkpoint holds beside the weights: kept in a sidecar where JSON can hold it, named where it cannot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dsbridge.checkpoint.names import choose_key
from dsbridge.checkpoint.sidecar import Sidecar, sidecar_path, write_sidecar
from dsbridge.checkpoint.stored import Checkpoint
from dsbridge.errors import CheckpointError
from dsbridge.report import Report

STEPS = ("global_step", "step", "iteration")
EPOCHS = ("epoch",)
_PLAIN = (bool, int, float, str, type(None))


def carry_over(checkpoint: Checkpoint, key: str, target: Path, report: Report) -> None:
    """Write plain values beside the weights (epoch, step, schedules, hyper-parameters) to the target's sidecar.

    The report says what went there, and what did not: optimizer state, which ``convert_optimizer`` carries, and objects.
    """
    tree = checkpoint.tree if isinstance(checkpoint.tree, Mapping) else {}
    key = key or (choose_key(tree, Report("key")) if tree else "")
    beside = {str(name): value for name, value in tree.items() if str(name) != key.split(".")[0]} if key else {}
    extra, lost = {}, []
    for name, value in beside.items():
        plain, left = _plain(value, name)
        if plain is not None or value is None:
            extra[name] = plain
        if left:
            lost.append(name if left == [name] else f"{len(left)} in {name}")
    path = sidecar_path(target)
    if lost:
        report.add("not-carried", "warning", key, f"beside the weights, no plain data: {', '.join(lost)}", _HINT)
    if extra:
        try:
            write_sidecar(path, Sidecar(epoch=_count(extra, EPOCHS), step=_count(extra, STEPS), extra=extra))
        except CheckpointError as exc:  # the weights are written
            report.add("not-carried", "warning", ", ".join(extra), f"{path.name} cannot be written: {exc}")
            return
        report.add("training-state", "info", ", ".join(extra), f"kept in {path.name}")
    elif path.exists():
        report.add("old-training-state", "warning", path.name, "is of a file that was here before", "remove it")


_HINT = "optimizers and schedulers: dsb.checkpoint.convert_optimizer, convert_scheduler, with the live ones"


def _count(values: Mapping[str, Any], names: tuple[str, ...]) -> int:
    found = [values[name] for name in names if type(values.get(name)) is int and values[name] >= 0]
    return found[0] if found else 0


def _plain(value: Any, where: str) -> tuple[Any, list[str]]:
    """(what JSON can hold of it, places of what it cannot); None for nothing."""
    if type(value) in _PLAIN:
        return value, []
    if isinstance(value, (list, tuple)):
        parts = [_plain(one, f"{where}[{at}]") for at, one in enumerate(value)]
        lost = [name for _, left in parts for name in left]
        return (None if lost else [part for part, _ in parts]), ([where] if lost else [])
    if isinstance(value, Mapping):
        return _plain_mapping(value, where)
    return None, [where]


def _plain_mapping(value: Mapping[Any, Any], where: str) -> tuple[Any, list[str]]:
    found: dict[str, Any] = {}
    lost: list[str] = []
    for name, one in value.items():
        part, left = _plain(one, f"{where}.{name}")
        if str(name) in found:  # 1 and "1"
            left = [f"{where}.{name}"]
        lost += left
        if not left:
            found[str(name)] = part
    return (found or None if lost else found), lost
