"""Names of torch's files: which dict is meant, and prefixes taken away only where that is right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn as tnn

from dsbridge.checkpoint.names import choose, normalise
from dsbridge.checkpoint.plan import source_leaves
from dsbridge.checkpoint.stored import Checkpoint, Span, Stored
from dsbridge.checkpoint.trees import tree_of
from dsbridge.errors import CheckpointError
from dsbridge.report import Report


def checkpoint(content: Any) -> Checkpoint:
    """A checkpoint of nested dicts whose leaves are shapes (tuples), as the torch reader gives it."""
    tensors: dict[str, Stored] = {}

    def walk(value: Any, path: str) -> Any:
        if isinstance(value, tuple):
            size = 4
            for length in value:
                size *= length
            tensors[path] = Stored(path, "float32", value, (Span("f", 0, size),))
            return tensors[path]
        if isinstance(value, dict):
            return {name: walk(item, f"{path}.{name}" if path else str(name)) for name, item in value.items()}
        return value

    return Checkpoint(Path("model.pth"), "torch-zip", tensors, walk(content, ""))


WEIGHTS = {"conv.weight": (2, 3), "conv.bias": (2,)}


@pytest.mark.parametrize(
    ("content", "key"),
    [
        (WEIGHTS, ""),
        ({"state_dict": WEIGHTS, "epoch": 3, "optimizer_states": [{"state": {0: {"exp_avg": (2, 3)}}}]}, "state_dict"),
        ({"model": WEIGHTS, "optimizer": {"state": {0: {"exp_avg": (2, 3)}}}}, "model"),
        ({"model": {"state_dict": WEIGHTS, "args": {}}, "step": ()}, "model.state_dict"),
        ({"my_own_key": WEIGHTS, "lr_scheduler": {"x": 1}}, "my_own_key"),
        ({"state_dict_ema": WEIGHTS, "epoch": 1}, "state_dict_ema"),
    ],
)
def test_the_weights_are_found(content: Any, key: str) -> None:
    report = Report("names")
    found = choose(checkpoint(content), report)
    assert list(found) == list(WEIGHTS)
    assert [stored.name for stored in found.values()] == [f"{key}.{name}" if key else name for name in WEIGHTS]
    assert ("state-dict" in report) == bool(key)
    if "epoch" in content:
        assert "epoch" in str(report)


def test_ema_and_raw_both_present_is_an_error_that_names_both() -> None:
    both = checkpoint({"state_dict": WEIGHTS, "state_dict_ema": WEIGHTS})
    with pytest.raises(CheckpointError, match="'state_dict', 'state_dict_ema'.*Hint: say which: key='state_dict'"):
        choose(both, Report("names"))
    chosen = choose(both, Report("names"), "state_dict_ema")
    assert chosen["conv.weight"].name == "state_dict_ema.conv.weight"


def test_several_dicts_and_wrong_keys_are_errors() -> None:
    gan = checkpoint({"generator": WEIGHTS, "discriminator": WEIGHTS})
    with pytest.raises(CheckpointError, match="several dicts of tensors are in the checkpoint: 'generator', 'discriminator'"):
        choose(gan, Report("names"))
    assert len(choose(gan, Report("names"), "discriminator")) == 2
    with pytest.raises(CheckpointError, match="no dict 'critic'.*there are generator, discriminator"):
        choose(gan, Report("names"), "critic")
    with pytest.raises(CheckpointError, match="no weights.*its keys are epoch"):
        choose(checkpoint({"epoch": 3}), Report("names"))


@pytest.mark.parametrize(
    ("names", "clean"),
    [
        (["module.a.w", "module.b.w"], ["a.w", "b.w"]),
        (["_orig_mod.a.w", "_orig_mod.b.w"], ["a.w", "b.w"]),
        (["a._orig_mod.w", "b.w"], ["a.w", "b.w"]),  # torch.compile in the middle
        (["module._orig_mod.a.w", "module._orig_mod.b.module.w"], ["a.w", "b.w"]),
        (["_orig_mod.module.a._checkpoint_wrapped_module.w"], ["a.w"]),
        (["_fsdp_wrapped_module.a._fsdp_wrapped_module._checkpoint_wrapped_module.w"], ["a.w"]),
        (["n_averaged", "module.a.w", "module.b.w"], ["n_averaged", "a.w", "b.w"]),
        (["module.w", "other.w"], ["module.w", "other.w"]),  # a real child called module
        (["enc.module.w", "enc.bias"], ["enc.module.w", "enc.bias"]),
        (["enc.module.w", "enc.module.b", "dec.w"], ["enc.w", "enc.b", "dec.w"]),
        (["module"], ["module"]),
    ],
)
def test_prefixes_without_a_model(names: list[str], clean: list[str]) -> None:
    assert list(normalise(names, Report("names")).values()) == clean


@pytest.mark.parametrize(
    ("names", "known"),
    [
        (["module.a.w", "module.module.w"], ["a.w", "module.w"]),
        (["module.w"], ["module.w"]),
        (["enc.module.w"], ["enc.module.w"]),
        (["module.enc.module.w"], ["enc.module.w"]),
        (["model.net.w", "model.net.b"], ["net.w", "net.b"]),  # a LightningModule's attribute
    ],
)
def test_a_live_model_decides(names: list[str], known: list[str]) -> None:
    assert list(normalise(names, Report("names"), known).values()) == known


def test_prefixes_are_said_and_collisions_refused() -> None:
    report = Report("names")
    normalise(["_orig_mod.w"], report)
    assert "1 names lose wrappers' prefixes, this one becomes 'w'" in str(report)
    with pytest.raises(CheckpointError, match="'a.w' and 'a._orig_mod.w' are both 'a.w'"):
        normalise(["a.w", "a._orig_mod.w"], report)


def test_wrapped_models_and_their_files_have_the_same_paths() -> None:
    """DataParallel, AveragedModel, torch.compile (whole and inside): the live tree and the file's names agree."""
    inner = tnn.Sequential(tnn.Linear(2, 3), tnn.BatchNorm1d(3))
    paths = list(tree_of(inner).leaves)
    wrapped = [
        tnn.DataParallel(inner),
        torch.optim.swa_utils.AveragedModel(inner),
        torch.compile(inner, backend="eager"),
        tnn.Sequential(torch.compile(inner[0], backend="eager"), inner[1]),
    ]
    for model in wrapped:
        tree = tree_of(model)
        assert [path for path in tree.leaves if path != "n_averaged"] == paths
        shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
        assert set(shapes) != set(paths)
        for known in (tree, None):
            found = source_leaves(checkpoint(shapes), Report("names"), known)
            assert [path for path in found if path != "n_averaged"] == paths


def test_ties_are_known_by_path() -> None:
    stored = checkpoint({"module.a.w": (2,), "module.b.w": (2,)}).tensors
    tied = Stored("module.b.w", "float32", (2,), stored["module.b.w"].spans, tied_to="module.a.w")
    found = source_leaves(
        Checkpoint(Path("x"), "safetensors", {"module.a.w": stored["module.a.w"], "module.b.w": tied}), Report("n"), None
    )
    assert (found["b.w"].tied_to, found["b.w"].name) == ("a.w", "module.b.w")
