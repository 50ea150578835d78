"""A JSON file beside the weights, for the training state that MindSpore's formats cannot hold.

MindSpore's ``append_dict`` rounds floats to float32 and knows no dict; ``save_checkpoint`` leaves out the state that some
optimizers keep in Python lists, the rates of experimental optimizers' groups, and all of a scheduler.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dsbridge.checkpoint.atomic import replacing
from dsbridge.checkpoint.param_groups import assign, number, target_name
from dsbridge.errors import CheckpointError
from dsbridge.frameworks.detect import require_mindspore
from dsbridge.frameworks.mindspore_tensors import tensor_type

FORMAT = "dsbridge-training-state"
VERSION = 1
LIMIT_BYTES = 1 << 28
"""A larger file is none of ours."""


@dataclass(frozen=True, slots=True)
class Sidecar:
    """Training state as plain values. ``values``: name -> numbers, of Parameters that save_checkpoint leaves out.

    ``epoch``, ``step``: done so far. ``classes``: optimizer and scheduler ("" for none). ``extra``: the user's own.

    >>> Sidecar(epoch=3, values={"lr.0": [0.1]}).values
    {'lr.0': [0.1]}
    """

    epoch: int = 0
    step: int = 0
    optimizer: str = ""
    scheduler: str = ""
    values: Mapping[str, list[float]] = field(default_factory=dict)
    scaler: Mapping[str, float] = field(default_factory=dict)
    param_groups: list[dict[str, Any]] = field(default_factory=list)
    extra: Mapping[str, Any] = field(default_factory=dict)


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _is_values(value: Any) -> bool:
    return _is_dict(value) and all(isinstance(item, list) and all(map(_is_number, item)) for item in value.values())


def _is_numbers(value: Any) -> bool:
    return _is_dict(value) and all(map(_is_number, value.values()))


def _is_groups(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_dict, value))


def _is_dict(value: Any) -> bool:
    return isinstance(value, dict)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


_SCHEMA = {
    "epoch": (_is_count, "a whole number from 0"),
    "step": (_is_count, "a whole number from 0"),
    "optimizer": (_is_text, "text"),
    "scheduler": (_is_text, "text"),
    "values": (_is_values, "lists of numbers by name"),
    "scaler": (_is_numbers, "numbers by name"),
    "param_groups": (_is_groups, "a list of dicts"),
    "extra": (_is_dict, "a dict"),
}


def sidecar_path(weights: str | Path) -> Path:
    """Where the sidecar of a weights file is.

    >>> sidecar_path("out/model.safetensors").name
    'model.safetensors.training.json'
    """
    weights = Path(weights)
    return weights.with_name(weights.name + ".training.json")


def write_sidecar(path: str | Path, sidecar: Sidecar) -> None:
    """Write it whole or not at all; floats as their repr, so that they come back bit for bit (infinities and NaN too).

    Raises ``CheckpointError`` for values that JSON has not: turn tensors and arrays into lists first.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_sidecar(Path(folder, "a.json"), Sidecar(step=7, values={"best": [float("inf")]}))
    ...     read_sidecar(Path(folder, "a.json")).values
    {'best': [inf]}
    """
    path = Path(path)
    content = {"format": FORMAT, "version": VERSION, **_spelled(asdict(sidecar), str(path))}
    _check(_plain(content), path)
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    data = text.encode()
    with replacing(path, nbytes=len(data)) as pending:
        pending.file.write(data)


def read_sidecar(path: str | Path) -> Sidecar:
    """Read and check it. Raises ``CheckpointError``: not there, no JSON, another format, a newer version, a wrong field."""
    path = Path(path)
    try:
        if path.stat().st_size > LIMIT_BYTES:
            raise CheckpointError(f"{path} has {path.stat().st_size} bytes, too many for a training state")
        content = _plain(json.loads(path.read_bytes(), object_pairs_hook=_unique, parse_constant=_no_constant))
    except OSError as exc:
        raise CheckpointError(f"{path} cannot be read: {exc.strerror}") from exc
    except (ValueError, RecursionError) as exc:
        raise CheckpointError(f"{path} is no training state: {exc}", hint="it may be cut off; use the copy before") from exc
    _check(content, path)
    return Sidecar(**{key: content[key] for key in _SCHEMA})


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError(f"a key is there twice among {[key for key, _ in pairs][:8]}")
    return dict(pairs)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _check(content: Any, path: Path) -> None:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        got = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise CheckpointError(f"{path} is no training state: expected format {FORMAT!r}, got {got!r}")
    if content.get("version") != VERSION:
        raise CheckpointError(
            f"{path} has version {content.get('version')!r}, this dsbridge reads {VERSION}", hint="update dsbridge"
        )
    keys = set(content) - {"format", "version"}
    if keys != set(_SCHEMA):
        raise CheckpointError(f"{path}: missing {sorted(set(_SCHEMA) - keys)}, unknown {sorted(keys - set(_SCHEMA))}")
    for key, (check, expected) in _SCHEMA.items():
        if not check(content[key]):
            raise CheckpointError(f"{path}: {key} must be {expected}, got {str(content[key])[:80]!r}")


def _spelled(value: Any, where: str) -> Any:
    """Plain values for JSON; infinities and NaN, which it has not, as {"$float": "inf"}."""
    if isinstance(value, Mapping):
        odd = [key for key in value if not isinstance(key, str) or key == "$float"]
        if odd:
            raise CheckpointError(f"{where}: a key must be text, got {odd[0]!r}")
        return {key: _spelled(item, f"{where}: {key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_spelled(item, where) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": repr(float(value))}
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise CheckpointError(
        f"{where}: a {type(value).__name__} cannot be kept in JSON", hint="use numbers, text, lists and dicts (.tolist())"
    )


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        if set(value) == {"$float"}:
            if value["$float"] not in ("inf", "-inf", "nan"):
                raise ValueError(f"{value} is no number")
            return float(value["$float"])
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def capture(
    optimizer: Any,
    scheduler: Any = None,
    *,
    epoch: int = 0,
    step: int = 0,
    scaler: Any = None,
    extra: Mapping[str, Any] | None = None,
) -> Sidecar:
    """What ``save_checkpoint`` leaves out of a MindSpore training: rates, listed state, step counts, scheduler, loss scaler."""
    held = dict(_left_out(optimizer, scheduler))
    scaling = {} if scaler is None else {name: number(getattr(scaler, name)) for name in _SCALER}
    return Sidecar(
        epoch=epoch,
        step=step,
        optimizer=target_name(optimizer),
        scheduler="" if scheduler is None else type(scheduler).__name__,
        values={name: parameter.asnumpy().reshape(-1).tolist() for name, parameter in held.items()},
        scaler=scaling,
        param_groups=[_options(group) for group in getattr(optimizer, "param_groups", [])],
        extra=dict(extra or {}),
    )


def restore(sidecar: Sidecar, optimizer: Any, scheduler: Any = None, *, scaler: Any = None) -> None:
    """Write a sidecar's values into a MindSpore training that was built alike. Raises ``CheckpointError`` where it was not."""
    held = dict(_left_out(optimizer, scheduler))
    names = (target_name(optimizer), "" if scheduler is None else type(scheduler).__name__)
    if names != (sidecar.optimizer, sidecar.scheduler):
        raise CheckpointError(f"the state is of {(sidecar.optimizer, sidecar.scheduler)}, the training has {names}")
    if set(held) != set(sidecar.values):
        raise CheckpointError(
            "the training state does not fit",
            missing=sorted(set(held) - set(sidecar.values)),
            unmatched=sorted(set(sidecar.values) - set(held)),
            hint="build network, optimizer and scheduler as they were when it was captured",
        )
    if (scaler is None) == bool(sidecar.scaler):
        raise CheckpointError(f"the state {'has' if sidecar.scaler else 'has no'} loss scale, the training differs")
    wrong = {name: parameter for name, parameter in held.items() if parameter.size != len(sidecar.values[name])}
    if wrong:
        name, parameter = next(iter(wrong.items()))
        raise CheckpointError(f"{name} has {len(sidecar.values[name])} values, the training {parameter.size}")
    for name, parameter in held.items():
        assign(parameter, sidecar.values[name])
    for name in _SCALER if scaler is not None else ():
        value = getattr(scaler, name)
        if isinstance(value, tensor_type()):
            assign(value, [sidecar.scaler[name]])
        else:
            setattr(scaler, name, int(sidecar.scaler[name]))


_SCALER = ("scale_value", "counter", "scale_factor", "scale_window")


def _left_out(optimizer: Any, scheduler: Any) -> Iterator[tuple[str, Any]]:
    """Parameters that the optimizer's ``get_parameters()`` does not give (or that nobody saves), by a name of their own."""
    for index, group in enumerate(getattr(optimizer, "param_groups", ())):
        yield f"group.{index}.lr", group["lr"]
    for name, value in vars(optimizer).items():
        if isinstance(value, list) and value and all(_is_parameter(item) for item in value) and name != "lrs":
            for parameter, item in zip(optimizer.parameters, value, strict=False):
                yield f"optimizer.{name}.{parameter.name}", item
    for name, value in vars(scheduler).items() if scheduler is not None else ():
        if _is_parameter(value):
            yield f"scheduler.{name}", value


def _is_parameter(value: Any) -> bool:
    return isinstance(value, require_mindspore("a sidecar").Parameter)


def _options(group: Mapping[str, Any]) -> dict[str, Any]:
    names = [parameter.name for parameter in group["params"]]
    plain = {key: number(value) for key, value in group.items() if key not in ("params", "max_exp_avg_sq")}
    return {"params": names, **{key: list(value) if isinstance(value, tuple) else value for key, value in plain.items()}}
