"""From a live torch module to source and a live Cell."""

from __future__ import annotations

import atexit
import importlib.util
import itertools
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from dsbridge.checkpoint.rules import Rule
from dsbridge.errors import Unsupported
from dsbridge.frameworks import mindspore_tensors
from dsbridge.model.bodies import RESERVED
from dsbridge.model.classes import CellClass, classes
from dsbridge.model.construct import Cells
from dsbridge.model.conversion import ConversionReport
from dsbridge.model.extend import load_plugins
from dsbridge.model.frozen import freezing
from dsbridge.model.layers.registry import is_leaf
from dsbridge.model.recorder import record
from dsbridge.model.trees import SEQUENTIAL, Builder, Instance, LayerRefused
from dsbridge.model.write import module_source

_NUMBERS = itertools.count()


@dataclass(slots=True)
class Draft:
    """A model's source before it was run: the root class's name, its arguments, and what was left out."""

    source: str
    root: str
    arguments: list[str]
    unused: list[str]
    rules: list[Rule]
    report: ConversionReport


def draft(
    model: torch.nn.Module, inputs: tuple[Any, ...], kwargs: Mapping[str, Any], dynamic: bool = True, flavour: str = "nn"
) -> Draft:
    """Record, build, write. Raises ``Unsupported`` with module path, operation and source line."""
    load_plugins()
    builder, root, opened = _built(model, inputs, kwargs, dynamic, flavour)
    report = builder.report
    if isinstance(root, Cells):
        root = Instance("", model, root.cells, base=SEQUENTIAL)
        builder.instances.append(root)
    used = builder.helpers()
    made = classes(builder.instances, {"Parameter", *RESERVED, *used})
    _tie(model, made[-1], builder)
    own = {id(p) for one in builder.instances for p in one.module.parameters(recurse=False)}
    made[-1].frozen = freezing(model, builder.spell(model), own, builder.unused)
    _note_modules(report, model, builder, opened)
    cls = type(model)
    title = f"{cls.__name__}, converted from {cls.__module__}.{cls.__qualname__}."
    if flavour == "mint":
        title += "\n\nFlavour mint, for Ascend: not verified here."
        nothing = "it runs on Ascend only: nothing of it was run here"
        report.add("not-verified", "warning", "flavour mint", nothing, "verify the flavour nn")
    return Draft(module_source(made, used, title), made[-1].name, builder.arguments(), builder.unused, builder.rules, report)


def _built(
    model: torch.nn.Module, inputs: Any, kwargs: Any, dynamic: bool, flavour: str
) -> tuple[Builder, Any, dict[str, Unsupported]]:
    """The tree. A layer that its entry refuses is opened: recorded as the functions that its forward calls."""
    opened: dict[str, Unsupported] = {}
    if is_leaf(model):
        opened[""] = Unsupported("", type(model).__name__, "", "it is a single layer", "wrap it in a module of your own")
    while True:
        try:
            train, evaluated = (
                record(model, inputs, kwargs, lambda path, module: path not in opened and is_leaf(module), training, dynamic)
                for training in (True, False)
            )
            builder = Builder(model, train, evaluated, ConversionReport(), flavour, frozenset(opened))
            return builder, builder.build(), opened
        except LayerRefused as refused:  # noqa: PERF203
            layer = model.get_submodule(refused.path)
            opened.update((path, refused) for path, one in model.named_modules(remove_duplicate=False) if one is layer)
        except Unsupported as refused:
            within = [path for path in opened if refused.path == path or refused.path.startswith(f"{path}.")]
            if within:
                raise opened[within[-1]] from refused
            raise


def _note_modules(
    report: ConversionReport, model: torch.nn.Module, builder: Builder, opened: Mapping[str, Unsupported]
) -> None:
    """What became of each module; how outputs that have names are returned."""
    became = {path: f"becomes {made.callee}" for path, made in builder.cells.items()}
    became |= {one.path: f"becomes class {one.construct.callee}" for one in builder.instances if one.construct is not None}
    for path, module in model.named_modules():
        text = (
            "is left out"
            if any(f"{path}.".startswith(f"{gone}.") for gone in builder.unused)
            else became.get(path, "is a container")
        )
        why = f" (opened: {opened[path].reason})" if path in opened else ""
        report.modules[path] = f"{type(module).__name__} {text}{why}"
    names = builder.names_of_outputs()
    if names:
        report.add("outputs-named", "info", "return", f"forward returns {names[0]}, the cell a tuple: ({', '.join(names[1:])})")


def _tie(model: torch.nn.Module, root: CellClass, builder: Builder) -> None:
    """Tensors that the model has under several paths are one Parameter in the cell, too."""
    spell = builder.spell(model)
    paths: dict[int, list[str]] = {}
    for named in (model.named_parameters(remove_duplicate=False), model.named_buffers(remove_duplicate=False)):
        for path, tensor in named:
            if not path.endswith("num_batches_tracked") and not any(path.startswith(f"{gone}.") for gone in builder.unused):
                paths.setdefault(id(tensor), []).append(path)
    for first, *others in paths.values():
        root.ties += [(spell(other), spell(first)) for other in others]


def load_source(source: str, root: str) -> Any:
    """Import source as a module and make its root cell; the file stays while the process runs, as graph mode reads it."""
    mindspore_tensors.tensor_type()  # numpy 2: the first operation of a process
    name = f"dsbridge_model_{next(_NUMBERS)}"
    path = _folder() / f"{name}.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return getattr(module, root)()


@cache
def _folder() -> Path:
    folder = tempfile.mkdtemp(prefix="dsbridge-model-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
