"""A model's tensors on their way into its cell: in memory as through files, planned once, strict both ways."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import small_models
import torch

from dsbridge.checkpoint.formats.registry import open_checkpoint
from dsbridge.errors import CheckpointError
from dsbridge.model import weights as module
from dsbridge.model.convert import draft, load_source
from dsbridge.model.weights import Weights, state_of


def _made(name: str) -> tuple[Weights, dict[str, torch.Tensor]]:
    make, inputs = small_models.OWN[name]
    model = make()
    made = draft(model, inputs, {})
    weights = Weights(model, load_source(made.source, made.root), made.unused, made.rules)
    return weights, state_of(model, made.unused)


@pytest.mark.parametrize("name", ["tied", "tricks", "holders", "states", "masked"])
def test_arrays_are_what_the_file_holds(name: str, tmp_path: Path) -> None:
    """Bit for bit, and none is left out: tied, shared, folded and renamed ones."""
    weights, state = _made(name)
    weights.write(state, tmp_path / "w.safetensors")
    written = {key: stored.read() for key, stored in open_checkpoint(tmp_path / "w.safetensors").tensors.items()}
    made = weights.arrays(state)
    assert sorted(array.tobytes() for array in made.values()) == sorted(array.tobytes() for array in written.values())
    assert len(made) == len(written) > 3
    assert all(array.flags.c_contiguous for array in made.values())


def test_a_tied_tensor_goes_to_one_parameter() -> None:
    """Not to two that would be trained apart."""
    weights, state = _made("tied")
    assert len({"embedding.embedding_table", "head.weight"} & weights.arrays(state).keys()) == 1
    untied = {name: tensor.clone() for name, tensor in state.items()}
    with pytest.raises(CheckpointError, match="are one Parameter, but the sources are not tied"):
        weights.arrays(untied)


def test_one_plan_for_all_states_of_the_same_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another dtype is another plan: what is made is checked against it."""
    calls = []
    real = module.plan
    monkeypatch.setattr(module, "plan", lambda *args, **kwargs: calls.append(args) or real(*args, **kwargs))
    weights, state = _made("unet")
    assert len(calls) == 1
    for number in (1.0, 2.0):
        made = weights.arrays({name: torch.full_like(tensor, number) for name, tensor in state.items()})
        np.testing.assert_array_equal(made["head.weight"], np.full((2, 8, 1, 1), number, np.float32))
    assert len(calls) == 1
    wide = weights.arrays({name: tensor.double() for name, tensor in state.items()})
    assert len(calls) == 2
    assert {array.dtype for array in wide.values()} == {np.dtype("float64")}


def test_a_state_with_other_tensors_is_refused() -> None:
    """One too few, one too many, one of another shape: each by its name."""
    weights, state = _made("unet")
    few = {name: tensor for name, tensor in state.items() if name != "head.bias"}
    with pytest.raises(CheckpointError, match="head.bias"):
        weights.arrays(few)
    with pytest.raises(CheckpointError, match="extra"):
        weights.arrays({**state, "extra": torch.ones(1)})
    with pytest.raises(CheckpointError, match="head.bias"):
        weights.arrays({**state, "head.bias": torch.ones(7)})
