"""Every row of the layer table: converted through a plan, loaded by name, same outputs at the row's tolerance."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import mindspore as ms
import numpy as np
import pytest
import torch
from mindspore import nn
from torch import nn as tnn
from torch.nn.utils import parametrizations

from dsbridge.checkpoint.groups import groups_of
from dsbridge.checkpoint.layers import MINT, TABLE, refusal, rule_for
from dsbridge.checkpoint.ops import Const, ExpandDims, Permute, Squeeze
from dsbridge.checkpoint.plan import plan
from dsbridge.checkpoint.trees import tree_of
from dsbridge.errors import CheckpointError
from dsbridge.frameworks import mindspore_tensors
from tests.checkpoint.converting import carried_out, converted, randomise, renamed_class, torch_arrays


class _Conv1D(tnn.Module):
    """GPT-2's layer: a weight (in, out)."""

    def __init__(self, out: int, into: int) -> None:
        super().__init__()
        self.weight = tnn.Parameter(torch.randn(into, out))
        self.bias = tnn.Parameter(torch.randn(out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight + self.bias


HFConv1D = renamed_class(_Conv1D, "transformers.pytorch_utils.Conv1D")

CONV2 = {"pad_mode": "pad", "padding": (1, 1, 0, 0), "has_bias": True}
LAYERS: dict[str, tuple[Callable[[], Any], Callable[[], Any], tuple[int, ...], float]] = {
    "Linear": (lambda: tnn.Linear(5, 5), lambda: nn.Dense(5, 5), (3, 5), 1e-6),
    "Conv1d": (lambda: tnn.Conv1d(4, 6, 3), lambda: nn.Conv1d(4, 6, 3, pad_mode="valid", has_bias=True), (2, 4, 9), 2e-6),
    "Conv2d as Dense": (lambda: tnn.Conv2d(4, 4, 1), lambda: nn.Dense(4, 4), (2, 4, 1, 1), 1e-6),
    "Conv2d": (
        lambda: tnn.Conv2d(4, 6, 3, padding=(1, 0), groups=2),
        lambda: nn.Conv2d(4, 6, 3, group=2, **CONV2),
        (2, 4, 8, 7),
        3e-6,
    ),
    "Conv3d": (lambda: tnn.Conv3d(2, 3, 2), lambda: nn.Conv3d(2, 3, 2, pad_mode="valid", has_bias=True), (1, 2, 4, 4, 4), 3e-6),
    "ConvTranspose1d": (
        lambda: tnn.ConvTranspose1d(4, 4, 3),
        lambda: nn.Conv1dTranspose(4, 4, 3, pad_mode="pad", has_bias=True),
        (2, 4, 6),
        3e-6,
    ),
    "ConvTranspose2d": (
        lambda: tnn.ConvTranspose2d(4, 6, 3, groups=2),
        lambda: nn.Conv2dTranspose(4, 6, 3, pad_mode="pad", group=2, has_bias=True),
        (2, 4, 5, 5),
        3e-6,
    ),
    "ConvTranspose3d": (
        lambda: tnn.ConvTranspose3d(2, 3, 2),
        lambda: nn.Conv3dTranspose(2, 3, 2, pad_mode="pad", has_bias=True),
        (1, 2, 3, 3, 3),
        3e-6,
    ),
    "BatchNorm1d": (lambda: tnn.BatchNorm1d(4), lambda: nn.BatchNorm1d(4), (5, 4), 1e-6),
    "BatchNorm2d": (lambda: tnn.BatchNorm2d(4), lambda: nn.BatchNorm2d(4), (2, 4, 3, 3), 2e-6),
    "BatchNorm3d": (lambda: tnn.BatchNorm3d(4), lambda: nn.BatchNorm3d(4), (2, 4, 2, 3, 3), 2e-6),
    "LayerNorm": (lambda: tnn.LayerNorm(6), lambda: nn.LayerNorm((6,), epsilon=1e-5), (3, 6), 2e-6),
    "LayerNorm without affine": (
        lambda: tnn.LayerNorm(6, elementwise_affine=False),
        lambda: nn.LayerNorm((6,), epsilon=1e-5),
        (3, 6),
        2e-6,
    ),
    "GroupNorm": (lambda: tnn.GroupNorm(2, 4), lambda: nn.GroupNorm(2, 4), (2, 4, 3, 3), 2e-6),
    "Embedding": (lambda: tnn.Embedding(7, 4, padding_idx=2), lambda: nn.Embedding(7, 4), (3, 5), 0),
    "PReLU": (lambda: tnn.PReLU(4), lambda: nn.PReLU(4), (2, 4, 3), 0),
    "RNN": (lambda: tnn.RNN(3, 4, 2, batch_first=True), lambda: nn.RNN(3, 4, 2, batch_first=True), (2, 5, 3), 1e-4),
    "GRU": (
        lambda: tnn.GRU(3, 4, 2, bidirectional=True),
        lambda: nn.GRU(3, 4, 2, bidirectional=True),
        (5, 2, 3),
        2e-6,
    ),
    "LSTM": (
        lambda: tnn.LSTM(3, 4, 2, bidirectional=True, batch_first=True),
        lambda: nn.LSTM(3, 4, 2, bidirectional=True, batch_first=True),
        (2, 5, 3),
        2e-6,
    ),
    "LSTM without bias": (lambda: tnn.LSTM(3, 4, bias=False), lambda: nn.LSTM(3, 4, has_bias=False), (5, 2, 3), 2e-6),
    "TransformerEncoderLayer": (
        lambda: tnn.TransformerEncoderLayer(4, 2, 8, batch_first=True, norm_first=True, activation="gelu"),
        lambda: nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, norm_first=True, activation="gelu"),
        (2, 5, 4),
        1e-5,
    ),
    "HF Conv1D, square": (lambda: HFConv1D(5, 5), lambda: nn.Dense(5, 5), (3, 5), 1e-6),
    "HF Conv1D": (lambda: HFConv1D(7, 5), lambda: nn.Dense(5, 7), (3, 5), 1e-6),
    "weight_norm": (lambda: parametrizations.weight_norm(tnn.Linear(4, 4)), lambda: nn.Dense(4, 4), (3, 4), 2e-6),
    "weight_norm, dim 1": (lambda: parametrizations.weight_norm(tnn.Linear(4, 4), dim=1), lambda: nn.Dense(4, 4), (3, 4), 2e-6),
    "weight_norm, no dim": (
        lambda: parametrizations.weight_norm(tnn.Linear(4, 4), dim=None),
        lambda: nn.Dense(4, 4),
        (3, 4),
        2e-6,
    ),
    "weight_norm, old": (lambda: _old("weight_norm", tnn.Conv1d(4, 4, 3)), lambda: _conv1d(4), (2, 4, 9), 3e-6),
    "weight_norm, old, no dim": (lambda: _old("weight_norm", tnn.Linear(4, 4), dim=None), lambda: nn.Dense(4, 4), (3, 4), 2e-6),
    "spectral_norm": (lambda: parametrizations.spectral_norm(tnn.Linear(4, 4)), lambda: nn.Dense(4, 4), (3, 4), 3e-6),
    "spectral_norm, square, dim 1": (
        lambda: parametrizations.spectral_norm(tnn.Linear(4, 4), dim=1),
        lambda: nn.Dense(4, 4),
        (3, 4),
        3e-6,
    ),
    "spectral_norm, transposed": (
        lambda: parametrizations.spectral_norm(tnn.ConvTranspose1d(4, 4, 3)),
        lambda: nn.Conv1dTranspose(4, 4, 3, pad_mode="pad", has_bias=True),
        (2, 4, 6),
        3e-6,
    ),
    "spectral_norm, old": (lambda: _old("spectral_norm", tnn.Linear(5, 4)), lambda: nn.Dense(5, 4), (3, 5), 3e-6),
    "spectral_norm, old, dim 1": (
        lambda: _old("spectral_norm", tnn.Linear(4, 4), dim=1),
        lambda: nn.Dense(4, 4),
        (3, 4),
        3e-6,
    ),
}


def _conv1d(channels: int) -> Any:
    return nn.Conv1d(channels, channels, 3, pad_mode="valid", has_bias=True)


def _old(name: str, module: Any, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(torch.nn.utils, name)(module, **options)


def _cell(make: Callable[[], Any]) -> Any:
    mindspore_tensors.tensor_type()
    cell = make()
    cell.set_train(False)
    return cell


def _input(name: str, shape: tuple[int, ...]) -> np.ndarray:
    random = np.random.default_rng(3)
    if name.startswith("Embedding"):
        return random.integers(0, 7, shape).astype(np.int32)
    return random.standard_normal(shape).astype(np.float32)


def _outputs(model: Any, cell: Any, *inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    with torch.no_grad():
        theirs = model(*(torch.from_numpy(value) for value in inputs))
    ours = cell(*(ms.Tensor(value) for value in inputs))
    theirs, ours = (value[0] if isinstance(value, tuple) else value for value in (theirs, ours))
    return theirs.numpy(), ours.asnumpy()


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("nested", [False, True], ids=["bare", "nested"])
def test_layers_give_equal_outputs(name: str, nested: bool) -> None:
    make, make_cell, shape, tolerance = LAYERS[name]
    model = randomise(make(), seed=1)
    if name.startswith("spectral"):
        model.train()
        for _ in range(3):  # u and v become singular vectors
            model(torch.from_numpy(_input(name, shape)))
        model.eval()
    cell = _cell(make_cell)
    if nested and name != "Conv2d as Dense":
        model, cell = tnn.Sequential(model), _cell(lambda: nn.SequentialCell(cell))
    converted(model, cell)
    value = _input(name, shape)
    if name == "Conv2d as Dense":
        with torch.no_grad():
            theirs = model(torch.from_numpy(value)).numpy()[:, :, 0, 0]
        ours = cell(ms.Tensor(value[:, :, 0, 0])).asnumpy()
    else:
        theirs, ours = _outputs(model, cell, value)
    assert np.std(theirs) > 0.05
    assert np.abs(theirs - ours).max() <= tolerance


@pytest.mark.parametrize("batch_norm", ["BatchNorm1d", "BatchNorm2d", "BatchNorm3d"])
@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_without_affine_or_statistics(batch_norm: str, affine: bool) -> None:
    """BN affine=False: gamma and beta are constants, 1 and 0, even where the cell had other values."""
    shape = {"1": (6, 4), "2": (2, 4, 3, 3), "3": (2, 4, 2, 2, 2)}[batch_norm[-2]]
    model = randomise(getattr(tnn, batch_norm)(4, affine=affine, track_running_stats=affine))
    cell = _cell(lambda: getattr(nn, batch_norm)(4, use_batch_statistics=None if affine else True))
    for parameter in cell.get_parameters():
        parameter.set_data(ms.Tensor(np.full(4, 3, np.float32)))
    made = converted(model, cell)
    theirs, ours = _outputs(model, cell, _input("x", shape))
    assert np.abs(theirs - ours).max() <= 2e-6
    consts = {row.targets[0].split(".")[-1]: row.operations[0].value for row in made.rows if row.status == "const"}
    if affine:
        assert consts == {}
        assert [row.sources for row in made.rows if row.status == "dropped"] == [("num_batches_tracked",)]
    else:
        assert (consts["gamma"], consts["beta"]) == (1.0, 0.0)
        means, variances = ([value for name, value in consts.items() if name.endswith(end)] for end in ("mean", "variance"))
        assert (means, variances, len(consts)) == ([0.0], [1.0], 4)
        assert sum("use_batch_statistics" in row.note for row in made.rows) == 2
    inside = "bn2d." if batch_norm == "BatchNorm3d" else ""
    assert all(row.targets[0].startswith(inside) for row in made.rows if row.targets)


def test_multihead_attention() -> None:
    options = {"kdim": 3, "vdim": 5, "add_bias_kv": True, "batch_first": True}
    model = randomise(tnn.MultiheadAttention(4, 2, **options))
    cell = _cell(lambda: nn.MultiheadAttention(4, 2, **options))
    converted(model, cell)
    random = np.random.default_rng(0)
    inputs = [random.standard_normal((2, 5, size)).astype(np.float32) for size in (4, 3, 5)]
    theirs, ours = _outputs(model, cell, *inputs)
    assert np.abs(theirs - ours).max() <= 1e-5


@pytest.mark.parametrize("kind", ["RNNCell", "GRUCell", "LSTMCell"])
def test_recurrent_cells(kind: str) -> None:
    model, cell = randomise(getattr(tnn, kind)(3, 4)), _cell(lambda: getattr(nn, kind)(3, 4))
    converted(model, cell)
    x, h = _input("x", (2, 3)), _input("h", (2, 4))
    state = (h, h) if kind == "LSTMCell" else h
    with torch.no_grad():
        theirs = model(torch.from_numpy(x), tuple(map(torch.from_numpy, state)) if kind == "LSTMCell" else torch.from_numpy(h))
    ours = cell(ms.Tensor(x), tuple(map(ms.Tensor, state)) if kind == "LSTMCell" else ms.Tensor(h))
    theirs, ours = (value[0] if isinstance(value, tuple) else value for value in (theirs, ours))
    assert np.abs(theirs.numpy() - ours.asnumpy()).max() <= 1e-6


def test_bilinear() -> None:
    model, cell = randomise(tnn.Bilinear(3, 4, 5)), _cell(lambda: nn.BiDense(3, 4, 5))
    converted(model, cell)
    theirs, ours = _outputs(model, cell, _input("x", (2, 3)), _input("y", (2, 4)))
    assert np.abs(theirs - ours).max() <= 3e-6


def test_transformer_with_decoder() -> None:
    """linear1 and linear2 of a layer are dense1 and dense2, at every depth."""
    model = randomise(tnn.Transformer(4, 2, 1, 1, 8, batch_first=True))
    cell = _cell(lambda: nn.Transformer(4, 2, 1, 1, 8, batch_first=True))
    made = converted(model, cell)
    assert made.pairs["decoder.layers.0.linear2.weight"] == "decoder.layers.0.dense2.weight"
    theirs, ours = _outputs(model, cell, _input("x", (2, 5, 4)), _input("y", (2, 3, 4)))
    assert np.abs(theirs - ours).max() <= 1e-5


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_instance_norm_names(rank: int) -> None:
    """Not runnable on the CPU: names, shapes and constants only."""
    model = randomise(getattr(tnn, f"InstanceNorm{rank}d")(4, affine=True))
    cell = _cell(lambda: getattr(nn, f"InstanceNorm{rank}d")(4))
    made = converted(model, cell)
    assert made.counts == {"renamed": 2, "const": 2}
    assert np.array_equal(cell.gamma.asnumpy(), model.weight.detach().numpy())


@pytest.mark.parametrize("name", [rule.torch.rpartition(".")[2] for rule in MINT if "Sync" not in rule.torch])
def test_mint_is_identity(name: str) -> None:
    """mint.nn does not run on the CPU: every name, shape and dtype is torch's."""
    arguments = {"Linear": (4, 4), "Embedding": (4, 4), "PReLU": (4,), "LayerNorm": ((4,),), "GroupNorm": (2, 4)}
    given = arguments.get(name, (4,) if "Norm" in name else (4, 4, 3))
    model = randomise(getattr(tnn, name)(*given))
    mindspore_tensors.tensor_type()
    made = plan(tree_of(model), tree_of(getattr(ms.mint.nn, name)(*given)))
    assert made.ok, made
    leaves = {path: path for path in tree_of(model).leaves}
    assert {row.sources[0]: row.targets[0] for row in made.rows} == leaves
    assert all(not row.operations for row in made.rows if "num_batches" not in row.sources[0]), made


def test_refused_layers_say_why() -> None:
    for model, reason in (
        (tnn.RMSNorm(4), "no RMSNorm"),
        (tnn.EmbeddingBag(4, 4), "no EmbeddingBag"),
        (tnn.AdaptiveLogSoftmaxWithLoss(4, 9, [3]), "no adaptive softmax"),
        (tnn.LSTM(3, 4, proj_size=2), "no proj_size"),
    ):
        made = plan(tree_of(tnn.Sequential(model)), tree_of(_cell(lambda: nn.SequentialCell(nn.LSTM(3, 4)))))
        assert not made.ok and "unsupported-layer" in made.report
        assert reason in str(made)
        with pytest.raises(CheckpointError, match=reason):
            made.raise_if_failed()


def test_pairs_without_a_rule_are_not_guessed_by_shape() -> None:
    """A Linear's weight fits into a Dense only; nn.Embedding has the same shape and another meaning."""
    made = plan(tree_of(tnn.Linear(4, 4, bias=False)), tree_of(_cell(lambda: nn.Embedding(4, 4))))
    assert made.unmatched == ["weight"] and made.missing == ["embedding_table"]
    assert "no rule for torch.nn.Linear -> mindspore.nn.Embedding" in str(made)


def test_a_subclass_is_what_it_is_made_of() -> None:
    class Padded(tnn.Conv2d):
        pass

    assert str(rule_for(tree_of(Padded(2, 2, 1)).nodes[0].classes, ("mindspore.nn.Conv2d",))) == (
        "torch.nn.Conv2d -> mindspore.nn.Conv2d"
    )


def test_orthogonal_parametrization_is_not_folded() -> None:
    model = parametrizations.orthogonal(tnn.Linear(4, 4))
    made = plan(tree_of(model), tree_of(_cell(lambda: nn.Dense(4, 4))))
    assert not made.ok and made.missing == ["weight"]


def test_spectral_norm_of_a_square_weight_is_doubted_without_a_model() -> None:
    model = parametrizations.spectral_norm(tnn.Linear(4, 4))
    tree = tree_of(model)
    assert groups_of(tree.leaves, None)["weight"].doubt
    assert not groups_of(tree.leaves, tree)["weight"].doubt


def test_the_way_back_of_a_weight_norm_is_the_same_weight() -> None:
    model = randomise(parametrizations.weight_norm(tnn.Linear(4, 3)))
    made = plan(tree_of(model), tree_of(_cell(lambda: nn.Dense(4, 3))))
    back = carried_out(made.inverse(), carried_out(made, torch_arrays(model)))
    before = model.weight.detach().numpy().copy()
    model.load_state_dict({name: torch.from_numpy(value) for name, value in back.items()})
    assert np.abs(model.weight.detach().numpy() - before).max() <= 1e-6


def test_table_names_exist() -> None:
    """A class that is renamed in torch or MindSpore must not drop out silently."""
    for rule in (*TABLE, *MINT):
        if rule.torch.startswith("torch.nn."):
            assert hasattr(tnn, rule.torch.rpartition(".")[2])
        module, _, name = rule.cell.rpartition(".")
        assert hasattr(nn if module == "mindspore.nn" else ms.mint.nn, name)
    operations = {str(rule): rule.operations for rule in TABLE if rule.operations}
    assert len(operations) == 5
    assert {type(step) for steps in operations.values() for (step,) in steps.values()} == {ExpandDims, Squeeze, Permute}
    assert refusal(("my.Module",), []) == ""
    assert Const(0, (), "int64").shape == ()
