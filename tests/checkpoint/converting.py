"""Carrying out a plan in memory: for tests of plans, without files."""

from __future__ import annotations

from typing import Any

import numpy as np

from dsbridge.checkpoint.plan import CheckpointPlan, plan
from dsbridge.checkpoint.trees import tree_of
from dsbridge.frameworks import mindspore_tensors, torch_tensors


def torch_arrays(model: Any) -> dict[str, np.ndarray]:
    """A torch model's state dict as arrays."""
    return {name: torch_tensors.to_numpy(tensor.detach()) for name, tensor in model.state_dict().items()}


def carried_out(made: CheckpointPlan, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the plan's rows make of the arrays; shapes and dtypes must be those announced."""
    written: dict[str, np.ndarray] = {}
    for row in made.rows:
        values = tuple(arrays[name] for name in row.sources)
        for operation in row.operations:
            values = operation.apply(values)
        if not row.targets:
            continue
        assert tuple(value.shape for value in values) == row.shapes, row
        assert tuple(value.dtype.name for value in values) == row.dtypes, row
        for name, value in zip(row.targets, values, strict=True):
            assert name not in written
            written[name] = np.array(value, order="C")
    return written


def load(cell: Any, written: dict[str, np.ndarray]) -> None:
    """Put all arrays into the cell's parameters, by Parameter.name; every one must be used and fit."""
    tensor = mindspore_tensors.tensor_type()
    parameters = {parameter.name: parameter for parameter in cell.get_parameters()}
    assert set(written) == set(parameters)
    for name, value in written.items():
        assert parameters[name].shape == value.shape
        parameters[name].set_data(tensor(value))


def converted(model: Any, cell: Any, *, accept_guesses: bool = False, **options: Any) -> CheckpointPlan:
    """Plan, carry out and load; the model's own tree is the source."""
    tree = tree_of(model)
    made = plan(tree, tree_of(cell), model=tree, **options)
    made.raise_if_failed(accept_guesses=accept_guesses)
    load(cell, carried_out(made, torch_arrays(model)))
    return made


def randomise(model: Any, seed: int = 0) -> Any:
    """Parameters and statistics far from their initial values, variances positive; in eval mode."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                value = torch.randn(tensor.shape, generator=generator) * 0.4
                tensor.copy_(value.abs() + 0.5 if name.endswith(("running_var", "_g", "original0")) else value + 0.1)
    return model.eval()


def renamed_class(cls: type, qualified: str) -> type:
    """A class under another library's name, for libraries that are not installed."""
    module, _, name = qualified.rpartition(".")
    return type(name, (cls,), {"__module__": module, "__qualname__": name})
