"""Both models on the same inputs: how far outputs are apart, and at which layer they part."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any

import numpy as np

from dsbridge.checkpoint.audit import audit
from dsbridge.checkpoint.pairing import modules, pairs
from dsbridge.errors import CheckpointError
from dsbridge.frameworks import mindspore_tensors, torch_tensors
from dsbridge.frameworks.detect import require_mindspore, require_torch
from dsbridge.frameworks.rng import RngState
from dsbridge.report import Report

Array = np.ndarray[Any, Any]
SHOWN = 8
_PLAIN = (type(None), bool, int, float, complex, str, bytes)


@dataclass(frozen=True, slots=True)
class Gap:
    """How far two arrays are apart: ``absolute`` and ``relative`` (to the largest reference value) maxima.

    ``agree``: the share of equal argmax over the classes (the last axis; axis 1 of 4-d outputs and more), NaN where there is
    none. Infinite for other shapes and where one side is not finite.
    """

    absolute: float
    relative: float
    agree: float = math.nan


def gap(reference: Array, got: Array) -> Gap:
    """The gap between a reference and what was got.

    >>> gap(np.array([[1.0, 4.0]]), np.array([[1.0, 3.0]]))
    Gap(absolute=1.0, relative=0.25, agree=1.0)
    """
    if reference.shape != got.shape:
        return Gap(math.inf, math.inf)
    a, b = _wide(reference), _wide(got)
    absolute = float(np.abs(a - b).max(initial=0.0))
    if not math.isfinite(absolute):
        absolute = math.inf
    largest = float(np.abs(a).max(initial=0.0))
    relative = absolute / largest if largest else (math.inf if absolute else 0.0)
    agree = math.nan
    if a.ndim >= 2 and a.size and a.dtype.kind == "f":
        axis = 1 if a.ndim > 3 else -1
        agree = float((a.argmax(axis) == b.argmax(axis)).mean())
    return Gap(absolute, relative, agree)


def _wide(array: Array) -> Array:
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


class ForwardReport(Report):
    """What ``verify`` measured: ``gaps``, one for each output; ``layers``: (path, Gap) in order of execution, if bisected.

    ``diverges``: the path of the first layer whose output is further apart than the tolerance; "" if none.

    >>> print(ForwardReport([Gap(0.0, 0.0, 1.0)]))
    forward: 1 output, max abs 0, max rel 0, argmax agrees on 100%: nothing to report
    """

    def __init__(self, gaps: list[Gap], layers: tuple[tuple[str, Gap], ...] = (), diverges: str = "") -> None:
        self.gaps, self.layers, self.diverges = tuple(gaps), layers, diverges
        known = [one.agree for one in gaps if not math.isnan(one.agree)]
        words = f", argmax agrees on {100 * min(known):.4g}%" if known else ""
        plural = "" if len(gaps) == 1 else "s"
        super().__init__(
            f"forward: {len(gaps)} output{plural}, max abs {max((g.absolute for g in gaps), default=0):.3g}, "
            f"max rel {max((g.relative for g in gaps), default=0):.3g}{words}"
        )

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data, ready for ``json.dumps``; numbers that are not finite as text."""
        layers = [{"path": path, **_plain(one)} for path, one in self.layers]
        gaps = [_plain(one) for one in self.gaps]
        return {**super().to_dict(), "gaps": gaps, "layers": layers, "diverges": self.diverges}


def _plain(one: Gap) -> dict[str, float | str]:
    return {name: value if math.isfinite(value) else str(value) for name, value in asdict(one).items()}


def verify(
    model: Any, network: Any, inputs: Any, *, rtol: float = 1e-4, paths: Mapping[str, str] | None = None
) -> ForwardReport:
    """Run a torch model and a MindSpore network in eval mode on the same numpy inputs and compare every output.

    ``inputs``: an array, a tuple or list of arrays, or a dict of them by argument name. ``rtol``: the largest difference
    allowed, relative to the largest reference value of the output. ``paths``: torch path -> network path of modules that are
    called differently, for the search of the first layer that differs. Errors are: outputs that differ, and a reference that
    proves nothing (zero, constant, not finite, or the same for different samples). Weights that are constant are warnings:
    a mix-up among them would not be seen; so are objects in an output that are not looked into (tuples, lists, mappings and
    dataclasses are). Both models' training modes and the generators of torch, numpy and Python are left as they were.
    """
    require_torch("verifying against the original model")
    require_mindspore("verifying a converted network")
    mindspore_tensors.tensor_type()
    args, kwargs = _arguments(inputs)
    unread: set[str] = set()
    with evaluated(model, network):
        expected, got = both_run(model, network, inputs, unread)
        gaps = [gap(a, b) for a, b in zip(expected, got, strict=False)]
        worse = len(expected) != len(got) or any(one.relative > rtol for one in gaps)
        layers = _bisect(model, network, inputs, paths) if worse else ()
    first = next((path for path, one in layers if one.relative > rtol), "")
    report = ForwardReport(gaps, layers, first)
    _judge_reference(report, expected, args, kwargs)
    for name in sorted(unread):
        report.add("output-not-read", "warning", name, "outputs of this class are not compared", "return a tuple or dataclass")
    _judge_weights(report, model)
    _judge_gaps(report, expected, got, gaps, rtol)
    if worse:
        _judge_layers(report, model, network, rtol, paths)
    return report


def _arguments(inputs: Any) -> tuple[tuple[Array, ...], dict[str, Array]]:
    if isinstance(inputs, Mapping):
        return (), {name: np.asarray(value) for name, value in inputs.items()}
    given = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
    if not given:
        raise CheckpointError("verify got no inputs", hint="pass an array, or a tuple or dict of arrays")
    return tuple(np.asarray(value) for value in given), {}


def both_run(model: Any, network: Any, inputs: Any, unread: set[str] | None = None) -> tuple[list[Array], list[Array]]:
    """The outputs of both on copies of the same inputs, as flat lists of arrays; ``unread`` as for ``_leaves``."""
    args, kwargs = _arguments(inputs)
    sides = ((model, _to_torch), (network, mindspore_tensors.from_numpy))
    expected, got = (_call(side, args, kwargs, convert, unread) for side, convert in sides)
    return expected, got


def _to_torch(array: Array) -> Any:
    return torch_tensors.from_numpy(array)


def _call(
    model: Any, args: tuple[Array, ...], kwargs: Mapping[str, Array], convert: Any, unread: set[str] | None
) -> list[Array]:
    # A copy each: layers may work in place.
    own = [convert(np.array(value, order="C")) for value in args]
    named = {name: convert(np.array(value, order="C")) for name, value in kwargs.items()}
    return list(_leaves(model(*own, **named), unread))


def _leaves(value: Any, unread: set[str] | None = None) -> Iterator[Array]:
    """Copies of the arrays in an output, in order; ``unread`` collects the classes of what may hold more."""
    if torch_tensors.is_tensor(value):
        yield np.array(torch_tensors.to_numpy(value.detach()))
    elif mindspore_tensors.is_tensor(value):
        yield np.array(mindspore_tensors.to_numpy(value))
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _leaves(one, unread)
    elif isinstance(value, (tuple, list)):
        for one in value:
            yield from _leaves(one, unread)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from _leaves(getattr(value, field.name), unread)
    elif unread is not None and not isinstance(value, _PLAIN):
        unread.add(f"{type(value).__module__}.{type(value).__qualname__}")


@contextlib.contextmanager
def evaluated(model: Any, network: Any) -> Iterator[None]:
    """Both in eval mode and without gradients while a block runs; modules' modes and generators are as before afterwards."""
    whole, generators = bool(network.training), RngState.capture()
    before = [(module, module.training) for side in (model, network) for module in modules(side).values()]
    model.eval()
    network.set_train(False)
    try:
        with require_torch("running the original model").no_grad():
            yield
    finally:
        generators.restore()
        network.set_train(whole)
        for module, training in before:
            if hasattr(module, "set_train"):
                module.add_flags(training=training)
            else:
                module.training = training


def _bisect(model: Any, network: Any, inputs: Any, paths: Mapping[str, str] | None) -> tuple[tuple[str, Gap], ...]:
    """The gap after each pair of layers, in the order in which torch's end; a layer that runs twice counts twice."""
    matched = pairs(model, network, paths)
    expected: dict[str, list[list[Array]]] = {}
    order: list[tuple[str, int]] = []
    found: dict[tuple[str, int], Gap] = {}
    calls: dict[str, int] = {}

    def torch_hook(path: str) -> Any:
        def hook(module: Any, inputs: Any, output: Any) -> None:
            order.append((path, len(expected.setdefault(path, []))))
            expected[path].append(list(_leaves(output)))  # copies: an in-place ReLU would change them later

        return hook

    def cell_hook(path: str) -> Any:
        def hook(cell: Any, inputs: Any, output: Any) -> None:
            call = calls.setdefault(path, 0)
            calls[path] += 1
            if call < len(expected.get(path, ())):
                got = list(_leaves(output))
                gaps = [gap(a, b) for a, b in zip(expected[path][call], got, strict=False)]
                found[path, call] = max(gaps, key=lambda one: one.relative, default=Gap(0.0, 0.0))
                expected[path][call] = []

        return hook

    with contextlib.ExitStack() as stack:
        for path, (module, cell, _) in matched.items():
            stack.callback(module.register_forward_hook(torch_hook(path)).remove)
            stack.callback(cell.register_forward_hook(cell_hook(path)).remove)
        both_run(model, network, inputs)
    return tuple((path, found[path, call]) for path, call in order if (path, call) in found)


def _judge_reference(report: Report, expected: list[Array], args: tuple[Array, ...], kwargs: Mapping[str, Array]) -> None:
    hint = "randomise zero-initialised heads, norms and statistics on the torch side, convert again, and verify that"
    if not expected:
        report.add("degenerate-output", "error", "model", "the model returns no tensor", "compare a model that does")
    for number, array in enumerate(expected):
        where, wide = f"output {number}", _wide(array)
        if not wide.size:
            report.add("degenerate-output", "error", where, "the reference is empty", hint)
        elif not np.isfinite(wide).all():
            report.add("degenerate-output", "error", where, "the reference is not finite", "look at the inputs and weights")
        elif not wide.any():
            report.add("degenerate-output", "error", where, "the reference is zero everywhere, which proves nothing", hint)
        elif wide.size > 1 and (wide == wide.flat[0]).all():
            report.add("degenerate-output", "error", where, "the reference is constant, which proves nothing", hint)
        elif _same_for_all(wide) and any(not _same_for_all(one) for one in (*args, *kwargs.values())):
            report.add("degenerate-output", "error", where, "the reference is the same for different samples", hint)


def _same_for_all(array: Array) -> bool:
    return array.ndim > 1 and len(array) > 1 and bool((array == array[:1]).all())


def _judge_weights(report: Report, model: Any) -> None:
    constant = []
    for name, tensor in model.state_dict(keep_vars=False).items():
        values = torch_tensors.to_numpy(tensor) if torch_tensors.is_tensor(tensor) else np.zeros(0)
        if values.size > 1 and (values == values.flat[0]).all():
            constant.append(name)
    if constant:
        more = ", ..." if len(constant) > SHOWN else ""
        report.add(
            "degenerate-weights", "warning", "model",
            f"{len(constant)} tensors are constant, a mix-up among them would not be seen: {', '.join(constant[:SHOWN])}{more}",
            "verify once with these randomised on the torch side",
        )  # fmt: skip


def _judge_gaps(report: Report, expected: list[Array], got: list[Array], gaps: list[Gap], rtol: float) -> None:
    if len(expected) != len(got):
        report.add("outputs-differ", "error", "outputs", f"the model returns {len(expected)} tensors, the network {len(got)}")
    for number, (a, b, one) in enumerate(zip(expected, got, gaps, strict=False)):
        if a.shape != b.shape:
            report.add("outputs-differ", "error", f"output {number}", f"shape {list(b.shape)}, expected {list(a.shape)}")
        elif one.relative > rtol:
            agree = "" if math.isnan(one.agree) else f", argmax agrees on {100 * one.agree:.4g}%"
            report.add(
                "outputs-differ", "error", f"output {number}",
                f"max abs {one.absolute:.3g}, max rel {one.relative:.3g} (allowed {rtol:g}){agree}",
            )  # fmt: skip


def _judge_layers(report: ForwardReport, model: Any, network: Any, rtol: float, paths: Mapping[str, str] | None) -> None:
    if not report.layers:
        report.add(
            "not-bisected", "warning", "network", "no pair of layers ran in both models",
            "pass paths={torch path: network path}, and run the network in PyNative mode",
        )  # fmt: skip
        return
    if not report.diverges:
        report.add("diverges", "error", "model", f"all {len(report.layers)} compared layers agree; it is in what lies between")
        return
    ran = [path for path, _ in report.layers]
    at = ran.index(report.diverges)
    worst = report.layers[at][1]
    before = f", after {ran[at - 1] or 'the root'}, which agrees" if at else ", the first one compared"
    place = pairs(model, network, paths)[report.diverges][2]
    audited = [
        f"{f.where or 'it'}: {f.message}" for f in audit(model, network, paths) if f.where == place and f.severity == "error"
    ]
    reason = f"; the audit says {'; '.join(audited)}" if audited else ""
    size = f"max abs {worst.absolute:.3g}, max rel {worst.relative:.3g} (allowed {rtol:g})"
    report.add("diverges", "error", report.diverges or "the root", f"the first layer that differs: {size}{before}{reason}")
