"""Matching: equal paths and classes, with and without a torch model; guesses are never taken silently."""

from __future__ import annotations

from typing import Any

import mindspore as ms
import numpy as np
import pytest
import torch
from mindspore import nn
from torch import nn as tnn

from dsbridge.checkpoint.align import align, distance, nearest
from dsbridge.checkpoint.plan import CheckpointPlan, plan
from dsbridge.checkpoint.trees import Tree, tree_of
from dsbridge.errors import CheckpointError
from dsbridge.frameworks import mindspore_tensors
from tests.checkpoint.converting import carried_out, converted, load, randomise, renamed_class, torch_arrays
from tests.checkpoint.test_layers import HFConv1D
from tests.checkpoint.test_names import checkpoint


@pytest.fixture(autouse=True)
def _warm() -> None:
    mindspore_tensors.tensor_type()


class Named(tnn.Module):
    """Modules under names of one's own."""

    def __init__(self, **children: Any) -> None:
        super().__init__()
        for name, child in children.items():
            setattr(self, name, child)


class NamedCell(nn.Cell):
    """The same for cells."""

    def __init__(self, **children: Any) -> None:
        super().__init__()
        for name, child in children.items():
            setattr(self, name, child)


def shapes(model: Any) -> Any:
    """The model's state dict as a file without the model."""
    return checkpoint({name: tuple(tensor.shape) for name, tensor in model.state_dict().items()})


def of(model: Any, cell: Any, **options: Any) -> CheckpointPlan:
    return plan(tree_of(model), tree_of(cell), **options)


def test_bare_batch_norm_is_matched_by_path_and_written_by_name() -> None:
    model, cell = randomise(tnn.BatchNorm2d(4)), nn.BatchNorm2d(4)
    made = converted(model, cell)
    assert made.pairs == {"weight": "gamma", "bias": "beta", "running_mean": "mean", "running_var": "variance"}
    assert made.paths["mean"] == "moving_mean"
    by_path = of(model, cell, spelling="path")
    assert by_path.pairs["running_var"] == "moving_variance"
    missing, unexpected = ms.load_param_into_net(
        cell,
        {name: ms.Parameter(ms.Tensor(value), name=name) for name, value in carried_out(made, torch_arrays(model)).items()},
    )
    assert (missing, unexpected) == ([], [])


def test_bare_and_nested_prelu() -> None:
    assert of(tnn.PReLU(), nn.PReLU()).pairs == {"weight": "a"}
    assert of(tnn.Sequential(tnn.PReLU()), nn.SequentialCell(nn.PReLU())).pairs == {"0.weight": "0.w"}


def test_parameters_literally_called_gamma_and_beta_keep_their_names() -> None:
    """Layer scale is called gamma in ConvNeXt: only norms' weights become gamma."""

    class Scaled(tnn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gamma = tnn.Parameter(torch.randn(4))
            self.beta = tnn.Parameter(torch.randn(4, 4))
            self.weight = tnn.Parameter(torch.randn(3))
            self.norm = tnn.LayerNorm(4)

    class ScaledCell(nn.Cell):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.LayerNorm((4,))
            self.gamma = ms.Parameter(ms.Tensor(np.zeros(4, np.float32)))
            self.beta = ms.Parameter(ms.Tensor(np.zeros((4, 4), np.float32)))
            self.weight = ms.Parameter(ms.Tensor(np.zeros(3, np.float32)))

    for source, model in ((tree_of(Scaled()), None), (shapes(Scaled()), None), (shapes(Scaled()), tree_of(Scaled()))):
        made = plan(source, tree_of(ScaledCell()), model=model)
        made.raise_if_failed()
        want = {name: name for name in ("gamma", "beta", "weight")}
        assert made.pairs == {**want, "norm.weight": "norm.gamma", "norm.bias": "norm.beta"}


def test_square_hf_conv1d_is_transposed_by_type() -> None:
    model = Named(attn=HFConv1D(4, 4), mlp=tnn.Linear(4, 4))
    made = of(model, NamedCell(attn=nn.Dense(4, 4), mlp=nn.Dense(4, 4)))
    steps = {row.sources[0]: len(row.operations) for row in made.rows}
    assert steps == {"attn.weight": 1, "attn.bias": 0, "mlp.weight": 0, "mlp.bias": 0}
    assert made.ok


def test_square_weights_without_a_model_are_guesses_unless_all_others_agree() -> None:
    square = {"a": nn.Dense(4, 4)}
    alone = plan(shapes(Named(a=tnn.Linear(4, 4))), tree_of(NamedCell(**square)))
    assert alone.guessed == ["a.weight", "a.bias"] and not alone.ok and "layout" in alone.report
    cell = NamedCell(**square, b=nn.Dense(4, 5))
    agreed = plan(shapes(Named(a=tnn.Linear(4, 4), b=tnn.Linear(4, 5))), tree_of(cell))
    assert agreed.ok and "taken as torch.nn.Linear, as all others" in str(agreed)
    transposed = plan(shapes(Named(a=HFConv1D(4, 4), b=HFConv1D(5, 4))), tree_of(cell))
    assert transposed.ok and [row.status for row in transposed.rows if "weight" in row.sources[0]] == ["transformed"] * 2
    cell = NamedCell(**square, b=nn.Dense(4, 5), c=nn.Dense(4, 7))
    mixed = plan(shapes(Named(a=HFConv1D(4, 4), b=HFConv1D(5, 4), c=tnn.Linear(4, 7))), tree_of(cell))
    assert mixed.guessed == ["a.weight", "a.bias"]


def test_without_a_model_names_and_shapes_decide() -> None:
    def layers() -> list[Any]:
        return [tnn.Conv1d(2, 3, 2), tnn.BatchNorm1d(3), tnn.PReLU(), tnn.Embedding(5, 3), tnn.GroupNorm(1, 3), tnn.LSTM(3, 4)]

    model = randomise(tnn.Sequential(*layers(), tnn.TransformerEncoderLayer(4, 2, 8), tnn.BatchNorm3d(3)))
    cell = nn.SequentialCell(
        nn.Conv1d(2, 3, 2, has_bias=True),
        nn.BatchNorm1d(3),
        nn.PReLU(),
        nn.Embedding(5, 3),
        nn.GroupNorm(1, 3),
        nn.LSTM(3, 4),
        nn.TransformerEncoderLayer(4, 2, 8),
        nn.BatchNorm3d(3),
    )
    made = plan(shapes(model), tree_of(cell))
    made.raise_if_failed()
    known = of(model, cell)
    assert made.pairs == known.pairs
    assert {row.sources: row.operations for row in made.rows} == {row.sources: row.operations for row in known.rows}
    load(cell, carried_out(made, torch_arrays(model)))


def test_without_a_model_an_absent_module_is_missing_not_constant() -> None:
    cell = nn.SequentialCell(nn.Dense(4, 3), nn.BatchNorm1d(3))
    made = plan(shapes(tnn.Sequential(tnn.Linear(4, 3))), tree_of(cell))
    assert set(made.missing) == {"1.moving_mean", "1.moving_variance", "1.gamma", "1.beta"}
    partial = plan(checkpoint({"0.weight": (3, 4), "0.bias": (3,), "1.weight": (3,), "1.bias": (3,)}), tree_of(cell))
    assert not partial.ok and partial.missing == []
    assert {row.status for row in partial.rows if "moving" in "".join(row.targets)} == {"guessed"}


def test_with_a_model_what_the_file_lacks_is_missing() -> None:
    model, cell = tnn.Sequential(tnn.BatchNorm1d(3)), nn.SequentialCell(nn.BatchNorm1d(3))
    made = plan(checkpoint({"0.weight": (3,), "0.bias": (3,)}), tree_of(cell), model=tree_of(model))
    assert set(made.missing) == {"0.moving_mean", "0.moving_variance"}
    assert not any(row.status == "const" for row in made.rows)


def test_guesses_are_never_taken_silently() -> None:
    model = randomise(Named(conv=tnn.Conv2d(2, 3, 2), norm=tnn.BatchNorm2d(3), head=tnn.Linear(3, 5)))
    cell = NamedCell(stem=nn.Conv2d(2, 3, 2, has_bias=True), bn=nn.BatchNorm2d(3), fc=nn.Dense(3, 5))
    for source, live in ((tree_of(model), tree_of(model)), (shapes(model), None)):
        made = plan(source, tree_of(cell), model=live)
        assert made.counts["guessed"] >= 8 and not made.ok
        with pytest.raises(CheckpointError, match="cannot be converted: .* guessed") as caught:
            made.raise_if_failed()
        assert "accept_guesses" in str(caught.value)
        made.raise_if_failed(accept_guesses=True)
        assert made.pairs["head.weight"] == "fc.weight" and made.pairs["norm.running_var"] == "bn.moving_variance"
        load(cell, carried_out(made, torch_arrays(model)))


def test_what_an_alignment_leaves_open_is_ambiguous() -> None:
    model = Named(x=tnn.Linear(3, 5))
    made = of(model, NamedCell(a=nn.Dense(3, 5), b=nn.Dense(3, 5)))
    assert made.ambiguous == ["x.weight", "x.bias"]
    assert made.rows[0].candidates == ("a", "b")
    assert made.missing and not made.ok
    with pytest.raises(CheckpointError, match="2 ambiguous"):
        made.raise_if_failed(accept_guesses=True)


def test_execution_order_is_used_where_it_is_given() -> None:
    model = Named(second=tnn.Linear(4, 4), first=tnn.Linear(4, 4))
    cell = NamedCell(one=nn.Dense(4, 4), two=nn.Dense(4, 4))
    assert of(model, cell).pairs["second.weight"] == "one.weight"
    ordered = of(model, cell, order=(["first", "second"], ["one", "two"]))
    assert ordered.pairs["first.weight"] == "one.weight" and set(ordered.counts) == {"guessed"}
    assert ordered.rows[0].rule.startswith("execution order")


def test_own_layers_against_library_cells_are_guessed_where_square() -> None:
    class Own(tnn.Module):
        def __init__(self, *shape: int) -> None:
            super().__init__()
            self.weight = tnn.Parameter(torch.zeros(shape))

    made = of(Named(a=Own(4, 4), b=Own(5, 4)), NamedCell(a=nn.Dense(4, 4, has_bias=False), b=nn.Dense(4, 5, has_bias=False)))
    assert [row.status for row in made.rows] == ["guessed", "exact"]


def test_shape_mismatches_are_said_with_both_shapes() -> None:
    made = of(Named(fc=tnn.Linear(4, 10)), NamedCell(fc=nn.Dense(4, 1000)))
    assert made.counts == {"shape-mismatch": 2}
    assert "[10, 4] would come, [1000, 4] is needed" in str(made)
    with pytest.raises(CheckpointError, match="2 shape-mismatch"):
        made.raise_if_failed(accept_guesses=True)


def test_four_dimensional_into_two_is_no_match_by_itself() -> None:
    """MindSpore loads (2,2,1,1) into (2,2) even when strict; here only the pair Conv2d -> Dense does, by type."""
    made = plan(checkpoint({"fc.weight": (2, 2, 1, 1)}), tree_of(NamedCell(fc=nn.Embedding(2, 2))))
    assert made.counts == {"shape-mismatch": 1}


def test_nearest_candidates_have_equal_shapes() -> None:
    made = of(
        Named(layer1=tnn.Embedding(3, 3), other=tnn.Embedding(9, 2)),
        NamedCell(layer_1=nn.Dense(3, 3, has_bias=False), layer1x=nn.Dense(7, 7, has_bias=False)),
    )
    rows = {row.sources[0]: row.candidates for row in made.rows if row.status == "unmatched"}
    assert rows == {"layer1.weight": ("layer_1.weight",), "other.weight": ()}


def test_parameter_list_needs_a_rule() -> None:
    """ParameterTuple has no path of its own: the explicit Parameter names are the targets."""

    class Lists(tnn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pl = tnn.ParameterList([torch.zeros(2), torch.zeros(3)])

    class Tuples(nn.Cell):
        def __init__(self) -> None:
            super().__init__()
            self.pl = ms.ParameterTuple([ms.Parameter(ms.Tensor(np.ones(n, np.float32)), name=f"w{n}") for n in (2, 3)])

    assert not of(Lists(), Tuples()).ok
    made = of(Lists(), Tuples(), rules={"pl.0": "w2", "pl.1": "w3"})
    assert made.ok and made.pairs == {"pl.0": "w2", "pl.1": "w3"}


def test_shared_parameters() -> None:
    """Tied weights: in the file twice or once, in the network shared or apart."""

    def torch_model() -> Any:
        model = Named(emb=tnn.Embedding(5, 3), head=tnn.Linear(3, 5, bias=False))
        model.head.weight = model.emb.weight
        return model

    apart = NamedCell(emb=nn.Embedding(5, 3), head=nn.Dense(3, 5, has_bias=False))
    shared = NamedCell(emb=nn.Embedding(5, 3), head=nn.Dense(3, 5, has_bias=False))
    shared.head.weight = shared.emb.embedding_table
    model = torch_model()
    for cell in (apart, shared):
        made = converted(model, cell)
        assert made.counts.get("tied", 0) == (cell is shared)
        once = plan(checkpoint({"emb.weight": (5, 3)}), tree_of(cell), model=tree_of(model))
        once.raise_if_failed()
        assert once.counts["tied"] == 1
        load(cell, carried_out(once, torch_arrays(model)))
        back = made.inverse()
        assert sorted(name for row in back.rows for name in row.targets) == ["emb.weight", "head.weight"]
    untied = Named(emb=tnn.Embedding(5, 3), head=tnn.Linear(3, 5, bias=False))
    conflict = of(untied, shared)
    assert conflict.ambiguous == ["head.weight"] and "are not tied" in str(conflict)
    by_path = of(model, shared, spelling="path")
    assert by_path.ok and set(by_path.pairs.values()) == {"emb.embedding_table", "head.weight"}


def test_duplicate_parameter_names_are_an_error() -> None:
    """MindSpore keeps the last of two Parameters with one name, silently."""
    cell = NamedCell(a=nn.Dense(2, 3, has_bias=False), b=nn.Dense(2, 3, has_bias=False))
    cell.a.weight.name = cell.b.weight.name = "w"
    model = Named(a=tnn.Linear(2, 3, bias=False), b=tnn.Linear(2, 3, bias=False))
    made = of(model, cell)
    assert made.ambiguous == ["b.weight"] and "have one Parameter.name" in str(made)
    assert of(model, cell, spelling="path").ok


def test_frozen_batch_norm_by_type() -> None:
    class Frozen(tnn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name in ("weight", "bias", "running_mean", "running_var"):
                self.register_buffer(name, torch.ones(4))

    made = of(renamed_class(Frozen, "torchvision.ops.misc.FrozenBatchNorm2d")(), nn.BatchNorm2d(4))
    assert made.pairs["running_mean"] == "mean" and made.ok


def test_other_objects_are_refused() -> None:
    with pytest.raises(CheckpointError, match=r"a builtins\.dict is no torch Module"):
        tree_of({})
    tree = Tree("torch", ())
    assert tree_of(tree) is tree


def test_persistent_buffers_are_in_the_tree() -> None:
    model = tnn.Module()
    model.register_buffer("kept", torch.zeros(2))
    model.register_buffer("gone", torch.zeros(2), persistent=False)
    cell = nn.Cell()
    cell.register_buffer("kept", ms.Tensor(np.zeros(2, np.float32)))
    cell.register_buffer("gone", ms.Tensor(np.zeros(2, np.float32)), persistent=False)
    assert list(tree_of(model).leaves) == list(tree_of(cell).leaves) == ["kept"]


@pytest.mark.parametrize(
    ("left", "right", "certain", "open_"),
    [
        ("", "abc", [], {}),
        ("abc", "abc", [(0, 0), (1, 1), (2, 2)], {}),
        ("axbyc", "abc", [(0, 0), (2, 1), (4, 2)], {}),
        ("a", "aa", [], {0: [0, 1]}),
        ("ab", "ba", [], {0: [1], 1: [0]}),
        ("xx", "xx", [(0, 0), (1, 1)], {}),
    ],
)
def test_alignment(left: str, right: str, certain: list[tuple[int, int]], open_: dict[int, list[int]]) -> None:
    assert align(left, right, str.__eq__) == (certain, open_)


def test_certain_pairs_are_in_every_longest_alignment() -> None:
    """Against all longest common subsequences by brute force."""
    random = np.random.default_rng(0)
    for _ in range(60):
        left, right = ("".join(random.choice(list("ab"), size)) for size in random.integers(1, 6, 2))

        def every(i: int, j: int, left: str = left, right: str = right) -> list[frozenset[tuple[int, int]]]:
            if i == len(left) or j == len(right):
                return [frozenset()]
            found = [*every(i + 1, j), *every(i, j + 1)]
            if left[i] == right[j]:
                found += [rest | {(i, j)} for rest in every(i + 1, j + 1)]
            best = max(map(len, found))
            return list({one for one in found if len(one) == best})

        certain, _open = align(left, right, str.__eq__)
        assert set(certain) == set.intersection(*map(set, every(0, 0)))


def test_distances() -> None:
    assert [distance("", "abc"), distance("abc", "abc"), distance("abc", "axc"), distance("abc", "")] == [3, 0, 1, 3]
    assert nearest("a.b", []) == ()
