"""Names in torch's files, made those of the model: which dict is the state dict, and what wrappers put in front."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import combinations
from typing import Any

from dsbridge.checkpoint.stored import Checkpoint, Stored
from dsbridge.checkpoint.trees import joined
from dsbridge.errors import CheckpointError
from dsbridge.report import Report

ALWAYS = ("_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module")
"""What torch.compile, activation checkpointing and FSDP put into names; no child of a user's is called so."""
RAW = ("state_dict", "model_state_dict", "model_state", "model", "module", "net", "network", "weights", "params")
EMA = ("state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "ema", "params_ema", "model_averaged")
_OTHER = ("optimizer", "optim", "scheduler", "lr_scheduler", "scaler", "loops", "callbacks", "rng", "amp", "hyper_parameters")


def _leaves(value: Any) -> int:
    """How many tensors a mapping holds itself."""
    return sum(isinstance(item, Stored) for item in value.values()) if isinstance(value, Mapping) else 0


def _holds(value: Any) -> bool:
    return isinstance(value, Mapping) and (_leaves(value) > 0 or any(_holds(item) for item in value.values()))


def _inside(tree: Any, key: str) -> Any:
    if isinstance(tree, Mapping):
        if key in tree:
            return tree[key]
        for name, value in tree.items():
            if isinstance(name, str) and key.startswith(f"{name}."):
                return _inside(value, key[len(name) + 1 :])
    raise CheckpointError(
        f"no dict {key!r} in the checkpoint",
        hint=f"there are {', '.join(_keys(tree)) or 'none'}",
    )


def _keys(tree: Any) -> list[str]:
    return [str(name) for name, value in tree.items() if _holds(value)] if isinstance(tree, Mapping) else []


def choose_key(tree: Any, report: Report) -> str:
    """The key ("" for the root) under which the weights lie in a nested tree; what is left out is a finding.

    Raises ``CheckpointError`` where raw and averaged (EMA) weights are both there, or several dicts could be meant.

    >>> weights = {"w": Stored("w", "float32", (0,), ())}
    >>> choose_key({"state_dict": weights, "epoch": 3}, Report("names"))
    'state_dict'
    """
    if not isinstance(tree, Mapping):
        return ""
    held = _keys(tree)
    ema = [key for key in EMA if key in held]
    raw = [key for key in RAW if key in held]
    if _leaves(tree) and not raw and not ema:
        return ""
    if not raw and not ema:
        raw = [key for key in held if not key.lower().startswith(_OTHER)]
    if (ema and raw) or len(raw) > 1 or len(ema) > 1:
        what = "raw and averaged (EMA) weights are both" if ema and raw else "several dicts of tensors are"
        found = raw + ema
        names = ", ".join(map(repr, found))
        raise CheckpointError(
            f"{what} in the checkpoint: {names}", candidates={"key": found}, hint=f"say which: key={found[0]!r}"
        )
    if not raw and not ema:
        raise CheckpointError("no weights in the checkpoint", hint=f"its keys are {', '.join(map(str, tree))}")
    key = (raw or ema)[0]
    report.add("state-dict", "info", key, f"the weights are taken from {key!r}" + (" (averaged, EMA)" if ema else ""))
    if ignored := [str(name) for name in tree if name != key]:
        report.add("not-weights", "info", key, f"beside the weights, left out: {', '.join(ignored)}")
    return key if _leaves(tree[key]) else joined(key, choose_key(tree[key], report))


def choose(checkpoint: Checkpoint, report: Report, key: str = "") -> dict[str, Stored]:
    """The weights of a checkpoint by their names inside the state dict.

    ``key``: a dotted path to the dict that is meant; "" finds it. Formats without nesting are taken whole.

    >>> from pathlib import Path
    >>> w = Stored("model.w", "float32", (0,), ())
    >>> list(choose(Checkpoint(Path("x"), "torch-zip", {"model.w": w}, {"model": {"w": w}}), Report("names")))
    ['w']
    """
    if checkpoint.tree is None:
        if not key:
            return dict(checkpoint.tensors)
    elif key:
        _inside(checkpoint.tree, key)
    else:
        key = choose_key(checkpoint.tree, report)
    prefix = f"{key}." if key else ""
    found = {name[len(prefix) :]: stored for name, stored in checkpoint.tensors.items() if name.startswith(prefix)}
    if not found:
        raise CheckpointError(f"{checkpoint.path}: no tensors under {key!r}", hint="dsbridge inspect lists what is there")
    return found


def normalise(names: Iterable[str], report: Report, known: Collection[str] = ()) -> dict[str, str]:
    """What each name is without the wrappers' prefixes: {name: clean name}.

    ``known``: the live model's names. ``module.`` is taken away only where they ask for it or, without them, where all names
    of that level have it; so is a first component that only the file has. Raises ``CheckpointError`` if two names become one.

    >>> normalise(["0._orig_mod.weight", "1.weight"], Report("names"))
    {'0._orig_mod.weight': '0.weight', '1.weight': '1.weight'}
    """
    clean = {name: ".".join(part for part in name.split(".") if part not in ALWAYS) for name in names}
    clean = {name: _known(at, known) if known else at for name, at in clean.items()}
    if not known:
        _strip_agreed(clean)
    elif not set(clean.values()) & set(known):
        _strip_first(clean, known, report)
    taken: dict[str, str] = {}
    for name, at in clean.items():
        if at in taken:
            raise CheckpointError(f"{taken[at]!r} and {name!r} are both {at!r} without wrappers' prefixes", hint="pass key=")
        taken[at] = name
    changed = [name for name, at in clean.items() if name != at]
    if changed:
        example = changed[0]
        report.add(
            "prefix", "info", example, f"{len(changed)} names lose wrappers' prefixes, this one becomes {clean[example]!r}"
        )
    return clean


def _known(name: str, known: Collection[str]) -> str:
    """The name with as few ``module`` components taken away as make it a known one; as it is if nothing does."""
    parts = name.split(".")
    at = [place for place, part in enumerate(parts) if part == "module"][:8]
    for count in range(len(at) + 1):
        for gone in combinations(at, count):
            shorter = ".".join(part for place, part in enumerate(parts) if place not in gone)
            if shorter in known:
                return shorter
    return name


def _strip_agreed(clean: dict[str, str]) -> None:
    """Take ``module`` away at levels where every name has it."""
    depth = 0
    while depth < max((at.count(".") for at in clean.values()), default=0):
        levels: dict[str, set[str]] = {}
        for at in clean.values():
            parts = at.split(".")
            if at != "n_averaged" and len(parts) > depth:
                levels.setdefault(".".join(parts[:depth]), set()).add(parts[depth])
        agreed = {level for level, children in levels.items() if children == {"module"}}
        for name, at in clean.items():
            parts = at.split(".")
            if ".".join(parts[:depth]) in agreed and len(parts) > depth + 1 and parts[depth] == "module":
                clean[name] = ".".join(parts[:depth] + parts[depth + 1 :])
        depth += not agreed


def _strip_first(clean: dict[str, str], known: Collection[str], report: Report) -> None:
    """Take away, or put in front, the first component that makes the file's names the model's."""
    firsts = {at.split(".")[0] for at in clean.values() if at != "n_averaged"}
    shorter = {name: at.partition(".")[2] for name, at in clean.items()}
    if len(firsts) == 1 and set(shorter.values()) & set(known):
        first = firsts.pop()
        clean.update({name: at or clean[name] for name, at in shorter.items()})
        report.add("prefix", "warning", first, f"all names begin with {first!r}, the model's do not: it is taken away")
