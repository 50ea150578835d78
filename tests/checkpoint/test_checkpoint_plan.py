"""Plans: users' rules, casts, the table, errors, rule export and the way back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mindspore as ms
import ml_dtypes
import numpy as np
import pytest
import torch
from mindspore import nn
from torch import nn as tnn

from dsbridge.checkpoint.ops import Cast, Const, Permute, Split
from dsbridge.checkpoint.plan import CheckpointPlan, plan
from dsbridge.checkpoint.rules import Rule, RuleSet
from dsbridge.checkpoint.trees import Leaf, tree_of
from dsbridge.checkpoint.user_rules import register_map
from dsbridge.errors import CheckpointError
from dsbridge.frameworks import mindspore_tensors
from tests.checkpoint.converting import carried_out, converted, randomise, torch_arrays
from tests.checkpoint.test_match import Named, NamedCell, of, shapes
from tests.checkpoint.test_names import checkpoint

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")


@pytest.fixture(autouse=True)
def _warm() -> None:
    mindspore_tensors.tensor_type()


def residual() -> Any:
    """A small network of everything: convolutions of both ranks, norms, a normalised weight, an embedding."""
    return randomise(
        Named(
            stem=tnn.Conv2d(2, 4, 3, bias=False),
            bn=tnn.BatchNorm2d(4),
            act=tnn.PReLU(4),
            conv=tnn.Conv1d(4, 4, 1),
            point=tnn.Conv2d(4, 4, 1),
            norm=tnn.LayerNorm(4),
            table=tnn.Embedding(5, 4),
        )
    )


def residual_cell() -> Any:
    return NamedCell(
        stem=nn.Conv2d(2, 4, 3),
        bn=nn.BatchNorm2d(4),
        act=nn.PReLU(4),
        conv=nn.Conv1d(4, 4, 1, has_bias=True),
        point=nn.Dense(4, 4),
        norm=nn.LayerNorm((4,)),
        table=nn.Embedding(5, 4),
    )


@pytest.mark.parametrize("spelling", ["name", "path"])
def test_there_and_back_is_bit_exact(spelling: str) -> None:
    model = residual()
    arrays = torch_arrays(model)
    made = of(model, residual_cell(), spelling=spelling)
    made.raise_if_failed()
    back = made.inverse()
    back.raise_if_failed()
    again = carried_out(back, carried_out(made, arrays))
    count = again.pop("bn.num_batches_tracked")
    assert count.shape == () and count.dtype == np.int64 and "num-batches-tracked" in back.report
    arrays.pop("bn.num_batches_tracked")
    assert {name: value.tobytes() for name, value in again.items()} == {name: value.tobytes() for name, value in arrays.items()}
    assert {name: value.shape for name, value in again.items()} == {name: value.shape for name, value in arrays.items()}
    forth = carried_out(back.inverse(), {**again, "bn.num_batches_tracked": count})
    assert {name: value.tobytes() for name, value in forth.items()} == {
        name: value.tobytes() for name, value in carried_out(made, torch_arrays(model)).items()
    }


def test_wrapped_names_come_back_clean() -> None:
    model = tnn.Linear(2, 3)
    file = checkpoint({"module._orig_mod.weight": (3, 2), "module._orig_mod.bias": (3,), "n_averaged": ()})
    made = plan(file, tree_of(nn.Dense(2, 3)), model=tree_of(model))
    assert made.ok and made.pairs == {"module._orig_mod.weight": "weight", "module._orig_mod.bias": "bias"}
    assert made.counts == {"renamed": 2, "dropped": 1}
    assert set(made.inverse().pairs.values()) == {"weight", "bias"}


QKV = {"version": 1, "rule": [{"source": "b.{i}.qkv.{p}", "target": ["b.{i}.q.{p}", "b.{i}.k.{p}", "b.{i}.v.{p}"]}]}
QKV["rule"][0]["operations"] = [{"name": "split", "axis": 0, "sizes": 3}]  # type: ignore[index]


def _attention() -> tuple[Any, Any]:
    model = randomise(Named(b=tnn.ModuleList([Named(qkv=tnn.Linear(4, 12)) for _ in range(2)])))
    cell = NamedCell(b=nn.CellList([NamedCell(**{name: nn.Dense(4, 4) for name in "qkv"}) for _ in range(2)]))
    return model, cell


def test_rules_split_and_join_back() -> None:
    model, cell = _attention()
    made = converted(model, cell, rules=RuleSet.from_dict(QKV))
    assert made.counts == {"transformed": 4}
    assert np.array_equal(cell.b[1].k.weight.asnumpy(), model.b[1].qkv.weight.detach().numpy()[4:8])
    arrays = torch_arrays(model)
    again = carried_out(made.inverse(), carried_out(made, arrays))
    assert all(np.array_equal(again[name], value) for name, value in arrays.items())


def test_users_rules_come_first_and_unused_ones_are_reported() -> None:
    model, cell = Named(a=tnn.Linear(4, 4), b=tnn.Linear(4, 4)), NamedCell(a=nn.Dense(4, 4), b=nn.Dense(4, 4))
    rules = RuleSet((Rule(("a.weight",), ("b.weight",), (Permute((1, 0)),)), Rule(("c.{i}.w",), ("d.{i}.w",))))
    made = of(model, cell, rules=rules)
    assert made.pairs["a.weight"] == "b.weight"
    assert "rule c.{i}.w -> d.{i}.w matches nothing" in str(made)
    assert made.guessed == ["b.weight"] and not made.ok
    assert made.rows[0].rule == "rule a.weight -> b.weight"


def test_rules_with_targets_or_sources_that_are_not_there() -> None:
    model, cell = tnn.Linear(4, 4), nn.Dense(4, 4)
    made = of(model, cell, rules={"weight": "wieght"})
    assert not made.ok and "no such target is free" in str(made) and "the nearest are weight" in str(made)
    joined = of(model, cell, rules=RuleSet((Rule(("weight", "wight"), ("weight",)),)))
    assert "no such source is free" in str(joined)
    with pytest.raises(CheckpointError, match="no such source"):
        joined.raise_if_failed()


def test_rules_that_do_not_fit_are_shape_mismatches() -> None:
    made = of(tnn.Linear(4, 3), nn.Dense(4, 3), rules=RuleSet((Rule(("weight",), ("weight",), (Split(0, 2),)),)))
    assert made.counts["shape-mismatch"] == 1 and "does not part into 2 equal ones" in str(made)
    two = of(tnn.Linear(4, 4), nn.Dense(4, 4), rules=RuleSet((Rule(("weight",), ("weight",), (Split(0, 2),)),)))
    assert "2 tensors for 1 targets" in str(two)


def test_index_shifts_drops_and_kept_values() -> None:
    """swin's: downsample moves by one, buffers that the network computes itself are kept."""

    class Keeps(nn.Cell):
        def __init__(self) -> None:
            super().__init__()
            self.index = ms.Parameter(ms.Tensor(np.arange(6, dtype=np.int32).reshape(2, 3)), requires_grad=False)
            self.d = nn.CellList([nn.Dense(4, 4), nn.Dense(4, 4)])

    model = randomise(tnn.ModuleDict({"d": tnn.ModuleList([tnn.Identity(), tnn.Linear(4, 4), tnn.Linear(4, 4)])}))
    model.register_buffer("gone", torch.zeros(3))
    rules = RuleSet((Rule(("d.{i}.{p}",), ("d.{i-1}.{p}",)), Rule(("gone",), ()), Rule((), ("index",))))
    cell = Keeps()
    made = converted(model, cell, rules=rules)
    assert made.counts == {"renamed": 4, "dropped": 1, "const": 1}
    assert made.pairs["d.2.weight"] == "d.1.weight"
    assert np.array_equal(cell.index.asnumpy(), np.arange(6).reshape(2, 3))
    back = made.inverse()
    assert not back.ok and "gone" in back.missing


def test_registered_maps_come_after_class_rules() -> None:
    class Theirs(tnn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.same, self.head = tnn.Linear(2, 2), tnn.Linear(2, 3)

    class Ours(nn.Cell):
        def __init__(self) -> None:
            super().__init__()
            self.same, self.fc = nn.Dense(2, 2), nn.Dense(2, 3)

    assert set(of(Theirs(), Ours()).counts) == {"exact", "guessed"}
    names = [tree_of(one).nodes[0].classes[0] for one in (Theirs(), Ours())]
    register_map(names[0], names[1], {"head.{p}": "fc.{p}", "same.weight": "fc.weight"})
    made = of(Theirs(), Ours())
    assert made.ok and made.pairs["head.bias"] == "fc.bias" and made.pairs["same.weight"] == "same.weight"


def test_casts_to_the_network() -> None:
    model, cell = tnn.Linear(2, 3).to(torch.bfloat16), nn.Dense(2, 3)
    made = converted(model, cell)
    assert made.counts == {"transformed": 2} and made.rows[0].operations == (Cast("float32", "bfloat16"),)
    arrays = torch_arrays(model)
    assert arrays["weight"].dtype == ml_dtypes.bfloat16
    again = carried_out(made.inverse(), carried_out(made, arrays))
    assert again["weight"].tobytes() == arrays["weight"].tobytes()
    kept = of(model, cell, dtypes="keep")
    assert kept.counts == {"exact": 2} and kept.rows[0].dtypes == ("bfloat16",)
    half = nn.Dense(2, 3).to_float(ms.float16)
    for parameter in half.get_parameters():
        parameter.set_dtype(ms.float16)
    lossy = of(tnn.Linear(2, 3), half)
    assert lossy.counts == {"lossy": 2} and not lossy.ok
    with pytest.raises(CheckpointError, match="2 lossy.*"):
        lossy.raise_if_failed(accept_guesses=True)


@pytest.mark.parametrize("kind", ["plain", "weight_norm", "bfloat16", "consts", "qkv"])
def test_exported_rules_make_the_same_plan(kind: str, tmp_path: Path) -> None:
    model, cell = {
        "plain": lambda: (residual(), residual_cell()),
        "weight_norm": lambda: (torch.nn.utils.weight_norm(tnn.Linear(4, 4)), nn.Dense(4, 4)),
        "bfloat16": lambda: (tnn.Linear(4, 4).to(torch.bfloat16), nn.Dense(4, 4)),
        "consts": lambda: (tnn.BatchNorm2d(4, affine=False), nn.BatchNorm2d(4)),
        "qkv": _attention,
    }[kind]()
    rules: Any = RuleSet.from_dict(QKV) if kind == "qkv" else "auto"
    made = of(model, cell, rules=rules)
    made.raise_if_failed()
    made.rules.to_toml(tmp_path / "rules.toml")
    arrays = torch_arrays(model)
    want = carried_out(made, arrays)
    for source, live in ((tree_of(model), tree_of(model)), (shapes(model), None)):
        if kind == "bfloat16" and live is None:
            continue  # the helper writes float32 only
        again = plan(source, tree_of(cell), model=live, rules=tmp_path / "rules.toml")
        assert again.ok, again
        assert "unused-rule" not in again.report
        got = carried_out(again, arrays)
        assert {name: value.tobytes() for name, value in got.items()} == {name: value.tobytes() for name, value in want.items()}


def test_exported_guesses_stay_guesses(tmp_path: Path) -> None:
    model, cell = Named(head=tnn.Linear(3, 5)), NamedCell(fc=nn.Dense(3, 5))
    of(model, cell).rules.to_toml(tmp_path / "rules.toml")
    assert (tmp_path / "rules.toml").read_text().count("guessed = true") == 2
    made = of(model, cell, rules=tmp_path / "rules.toml")
    assert made.counts == {"guessed": 2} and not made.ok
    confirmed = (tmp_path / "rules.toml").read_text().replace("guessed = true\n", "")
    (tmp_path / "rules.toml").write_text(confirmed)
    assert of(model, cell, rules=tmp_path / "rules.toml").counts == {"renamed": 2}


def test_without_a_network() -> None:
    """File to file: torch's usual counterparts where the model is known, names as they are where nothing is."""
    model = randomise(Named(bn=tnn.BatchNorm1d(3), t=tnn.TransformerEncoderLayer(4, 2, 8), c=tnn.Conv1d(2, 3, 1)))
    made = plan(tree_of(model), None)
    assert made.ok
    assert (made.pairs["bn.running_var"], made.pairs["t.linear1.bias"]) == ("bn.moving_variance", "t.dense1.bias")
    assert carried_out(made, torch_arrays(model))["c.weight"].shape == (3, 2, 1, 1)
    blind = plan(shapes(model), None, rules={"c.{p}": "conv.{p}"})
    assert blind.ok and blind.pairs["bn.running_var"] == "bn.running_var" and blind.pairs["c.bias"] == "conv.bias"
    assert "torch-names" in blind.report
    assert not plan(tree_of(Named(r=tnn.RMSNorm(3))), None).ok


def test_the_plan_as_text_data_and_error() -> None:
    model, cell = Named(fc=tnn.Linear(3, 4), x=tnn.Embedding(3, 3)), NamedCell(fc=nn.Dense(3, 4), y=nn.Conv2d(1, 3, 3))
    made = of(model, cell)
    assert str(made).splitlines()[0] == "plan: 2 exact, 1 unmatched, 1 missing"
    assert "exact          fc.weight -> fc.weight  float32[4, 3]  [torch.nn.Linear -> mindspore.nn.Dense]" in str(made)
    data = json.loads(json.dumps(made.to_dict()))
    assert data["counts"] == {"exact": 2, "unmatched": 1, "missing": 1} and data["ok"] is False
    with pytest.raises(CheckpointError, match="1 unmatched, 1 missing") as caught:
        made.raise_if_failed()
    assert (caught.value.unmatched, caught.value.missing) == (["x.weight"], ["y.weight"])
    many = CheckpointPlan([made.rows[-1]] * 25, {}, made.report)
    with pytest.raises(CheckpointError, match="and 5 more"):
        many.raise_if_failed()


def test_options_are_checked() -> None:
    tree = tree_of(tnn.Linear(2, 2))
    for options in ({"spelling": "nmae"}, {"dtypes": "float32"}):
        with pytest.raises(CheckpointError, match="expected one of"):
            plan(tree, None, **options)


def test_every_source_and_target_is_in_exactly_one_row() -> None:
    """Whatever matches or does not: nothing is lost between the rows."""
    random = np.random.default_rng(5)
    torch_side = [lambda: tnn.Linear(3, 3), lambda: tnn.BatchNorm1d(3), lambda: tnn.Embedding(3, 3), lambda: tnn.PReLU()]
    cells = [lambda: nn.Dense(3, 3), lambda: nn.BatchNorm1d(3), lambda: nn.Embedding(3, 3), lambda: nn.PReLU()]
    for _ in range(40):
        model = tnn.Sequential(*(torch_side[at]() for at in random.integers(0, 4, random.integers(1, 6))))
        cell = nn.SequentialCell(*(cells[at]() for at in random.integers(0, 4, random.integers(1, 6))))
        for source, live in ((tree_of(model), tree_of(model)), (shapes(model), None)):
            made = plan(source, tree_of(cell), model=live)
            sources = [name for row in made.rows for name in row.sources]
            targets = [name for row in made.rows for name in row.targets]
            assert sorted(sources) == sorted(model.state_dict())
            assert sorted(targets) == sorted(parameter.name for parameter in cell.get_parameters())
            assert all(row.fine or row.status in str(made) for row in made.rows)


def test_importing_needs_no_framework(run_python) -> None:  # type: ignore[no-untyped-def]
    done = run_python(
        """
        import sys
        from dsbridge.checkpoint.plan import plan
        from dsbridge.checkpoint.stored import Checkpoint, Stored
        stored = Stored("a.w", "float32", (0,), ())
        print(plan(Checkpoint("x", "safetensors", {"a.w": stored}), None, rules={"a.w": "b.w"}))
        print(sorted({"torch", "mindspore", "safetensors"} & set(sys.modules)))
        """
    )
    assert "renamed        a.w -> b.w" in done.stdout, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_leaves_and_constants() -> None:
    leaf = Leaf("w", "w", (2,), "float32")
    made = CheckpointPlan([], {"w": leaf}, of(tnn.Linear(1, 1), nn.Dense(1, 1)).report)
    assert made.ok and made.counts == {} and str(made) == "plan: nothing to do"
    assert Const(b"\x00" * 8, (2,), "float32").apply(())[0].sum() == 0
