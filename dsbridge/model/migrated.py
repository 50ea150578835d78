"""``dsb.model.convert``: a live torch module in, a ``MigratedModel`` out: source, live cell, weights, proof."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dsbridge.checkpoint.load import load
from dsbridge.errors import VerificationError
from dsbridge.frameworks.detect import require_mindspore, require_torch
from dsbridge.model.conversion import ConversionReport
from dsbridge.model.convert import Draft, draft, load_source
from dsbridge.model.glance import glance
from dsbridge.model.judge import ParityReport, judge_frozen
from dsbridge.model.parity import parity_page, verify_script
from dsbridge.model.verify import Subject, verify
from dsbridge.model.weights import Weights, state_of
from dsbridge.report import Reported

FLAVOURS = ("nn", "mint")


class MigratedModel(Reported):
    """A torch module as MindSpore source and as a live cell with its weights.

    ``source``: the emitted file, which needs MindSpore and nothing else. ``cell``: an instance with the converted weights, in
    the module's mode. ``name_map``: torch's tensor names to the cell's. ``report``: per module how it was converted.
    ``parity``: what ``verify`` measured, None before.
    """

    report: ConversionReport

    def __init__(
        self,
        module: Any,
        inputs: Sequence[Any],
        kwargs: Mapping[str, Any],
        made: Draft,
        dynamic: bool = True,
        flavour: str = "nn",
    ) -> None:
        self._module, self._inputs, self._kwargs, self._made = module, tuple(inputs), dict(kwargs), made
        self._dynamic, self.flavour = dynamic, flavour
        self.source, self.root, self.report = made.source, made.root, made.report
        self.cell = load_source(made.source, made.root)
        self.weights = Weights(module, self.cell, made.unused, made.rules)
        self.name_map = self.weights.pairs
        with tempfile.TemporaryDirectory(prefix="dsbridge-model-") as folder:
            self.write_weights(Path(folder) / "weights.safetensors")
            if self.name_map:
                load(Path(folder) / "weights.safetensors", self.cell)
        if flavour == "nn":
            wrong = glance(module, self.cell, made.arguments, self._inputs, self._kwargs)
            if wrong:
                self.report.add("differs-at-once", "error", self.root, f"on the example's inputs, in eval mode, {wrong}")
        trained = {path for path, parameter in self.cell.parameters_and_names() if parameter.requires_grad}
        judge_frozen(self.report, self.root, self.weights.frozen(module), trained)
        self.cell.set_train(module.training)
        self.parity: ParityReport | None = None

    def verify(self, inputs: Any = None, *, seed: int = 0) -> ParityReport:
        """Prove it: forward and every gradient, eval and train mode, PyNative and graph, against torch in float64.

        ``inputs``: a tensor, a tuple or a dict of them; the example's by default. Takes a minute: each run of the cell is a
        process of its own. Raises ``VerificationError`` for the flavour "mint", which does not run here.
        """
        if self.flavour == "mint":
            raise VerificationError(
                "the flavour mint runs on Ascend only: nothing can be compared here. Hint: verify the flavour nn"
            )
        args, kwargs = (self._inputs, self._kwargs) if inputs is None else arguments(inputs)
        subject = Subject(self._module, self._made, self.cell, self._dynamic)
        self.parity = verify(subject, args, kwargs, seed=seed)
        return self.parity

    def write(self, folder: str | os.PathLike[str]) -> None:
        """Write model.py, weights.safetensors, name_map.json, PARITY.md and verify.py into a folder, which is made.

        Raises ``VerificationError`` if the first look or ``verify`` failed: what is wrong is not handed over.
        """
        if not self.ok:
            raise VerificationError(f"{self.root} is not equal to its original:\n{self}")
        out = Path(folder)
        out.mkdir(parents=True, exist_ok=True)
        (out / "model.py").write_text(self.source)
        self.write_weights(out / "weights.safetensors")
        (out / "name_map.json").write_text(json.dumps(self.name_map, indent=2) + "\n")
        (out / "PARITY.md").write_text(parity_page(self.root, self.report, self.parity))
        (out / "verify.py").write_text(verify_script(self.root))

    def write_weights(self, target: Path) -> None:
        self.weights.write(state_of(self._module, self._made.unused), target)

    @property
    def ok(self) -> bool:
        """True unless a finding, of the conversion or of the proof, is an error."""
        return self.report.ok and (self.parity is None or self.parity.ok)

    def to_dict(self) -> dict[str, Any]:
        """Source, names, findings and what was measured, as plain data."""
        parity = None if self.parity is None else self.parity.to_dict()
        return {
            "ok": self.ok,
            "source": self.source,
            "name_map": self.name_map,
            "report": self.report.to_dict(),
            "parity": parity,
        }

    def __str__(self) -> str:
        lines = len(self.source.splitlines())
        proof = "not verified" if self.parity is None else ("verified" if self.parity.ok else "NOT EQUAL")
        measured = [] if self.parity is None else [str(self.parity)]
        return "\n".join([f"{self.root}: {lines} lines, {len(self.name_map)} tensors, {proof}", str(self.report), *measured])


def convert(module: Any, example_inputs: Any, *, dynamic: bool = True, flavour: str = "nn") -> MigratedModel:
    """A live torch module as readable MindSpore source and as a cell with its weights.

    ``example_inputs``: a tensor, a tuple of them, or a dict by argument name; the module is run on copies, in train and in eval
    mode. ``flavour``: "nn" for ``mindspore.nn`` and ``ops``, which is what ``verify`` proves; "mint" for Ascend, not verified
    here. Sizes of inputs stay free unless ``dynamic=False``, which writes the example's into the source. Module, inputs and
    generators are left as they were. Raises ``Unsupported`` (module path, operation, file and line) for what has no proven
    equivalent, ``ValueError`` for an unknown flavour.
    """
    require_torch("converting a model")
    require_mindspore("converting a model")
    if flavour not in FLAVOURS:
        raise ValueError(f"flavour must be one of {FLAVOURS}, got {flavour!r}")
    args, kwargs = arguments(example_inputs)
    return MigratedModel(module, args, kwargs, draft(module, args, kwargs, dynamic, flavour), dynamic, flavour)


def arguments(inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Inputs as positional and named arguments; numpy arrays as tensors.

    >>> arguments((1, 2)), arguments({"x": 1})
    (((1, 2), {}), ((), {'x': 1}))
    """
    if isinstance(inputs, Mapping):
        return (), {name: _tensor(value) for name, value in inputs.items()}
    return tuple(map(_tensor, inputs if isinstance(inputs, (tuple, list)) else (inputs,))), {}


def _tensor(value: Any) -> Any:
    return torch.from_numpy(np.array(value)) if isinstance(value, np.ndarray) else value
