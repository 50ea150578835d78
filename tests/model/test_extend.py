"""Entries of users: layers, operations, autograd functions, helpers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import mindspore as ms
import numpy as np
import pytest
import small_models
import torch
from torch import nn

import dsbridge as dsb
from dsbridge.model import helpers
from dsbridge.model.functions import registry as functions
from dsbridge.model.functions.registry import FUNCTIONS
from dsbridge.model.layers import registry as layers
from dsbridge.model.layers.registry import NAMED

HERE = __name__


class Square(torch.autograd.Function):
    """x squared, with a backward of its own."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        return 2 * x * gradient


class Squared(nn.Module):
    """Uses it."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, x: Any) -> Any:
        return Square.apply(self.linear(x))


class Scale(nn.Module):
    """A layer that looks at values, which cannot be recorded."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor
        self.gain = nn.Parameter(torch.ones(3))

    def forward(self, x: Any) -> Any:
        return x * self.gain * (self.factor if bool((x == x).all()) else 0.0)


class Scaled(nn.Module):
    """Holds two."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.head = Scale(2.0), Scale(3.0), nn.Linear(3, 2)

    def forward(self, x: Any) -> Any:
        return self.head(self.two(self.one(x)))


CELL = '''
class ScaleCell(nn.Cell):
    """A factor, and a parameter."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor
        self.weight = ms.Parameter(ops.ones((3,), ms.float32))

    def construct(self, x):
        return x * self.weight * self.factor
'''


@pytest.fixture
def clean_tables() -> Iterator[None]:
    """What a test registers is forgotten; so is, meanwhile, what others have: the guide's page registers Square, too."""
    functions.load_all()
    layers.load_all()
    tables: list[dict[str, Any]] = [FUNCTIONS, NAMED, helpers.sources()]
    before = [dict(table) for table in tables]
    for name in [name for name, entry in FUNCTIONS.items() if not entry.__module__.startswith("dsbridge.")]:
        del FUNCTIONS[name]
    yield
    for table, held in zip(tables, before, strict=True):
        table.clear()
        table.update(held)


def test_a_custom_autograd_function_is_refused_until_it_has_an_entry(clean_tables: None) -> None:
    """Its forward could be recorded, its backward not: that would be a silent difference."""
    model, x = Squared(), torch.randn(2, 3)
    with pytest.raises(dsb.model.Unsupported, match="Square") as caught:
        dsb.model.convert(model, x)
    assert "test_extend.py:" in caught.value.where
    dsb.model.register("Square", function=lambda x: dsb.model.code("x * x", x=x))
    assert "x_out" not in dsb.model.convert(model, x).source
    assert torch.autograd.Function.apply.__qualname__ == "Function.apply"  # nothing stays patched


def test_a_layer_of_ones_own(clean_tables: None) -> None:
    """With a helper that the file carries, a parameter under another name, and one class for both."""
    model, x = Scaled(), torch.randn(2, 3)
    with pytest.raises(dsb.model.Unsupported, match="looks at a tensor's values"):
        dsb.model.convert(model, x)

    def make(module: Scale) -> Any:
        return dsb.model.cell("ScaleCell", module.factor, weights={"gain": "weight"})

    dsb.model.register(f"{HERE}.Scale", layer=make, helpers=(CELL,))
    migrated = dsb.model.convert(model, x)
    assert "self.two = ScaleCell(3.0)" in migrated.source
    assert "class ScaleCell(nn.Cell):" in migrated.source
    assert migrated.name_map["one.gain"] == "one.weight"
    got = migrated.cell(ms.Tensor(x.numpy())).asnumpy()
    assert np.allclose(got, model(x).detach().numpy(), atol=1e-6)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_what_is_registered_is_proven_like_all_else(clean_tables: None) -> None:
    """A wrong entry does not pass."""
    model, x = Squared(), torch.randn(4, 3)
    dsb.model.register("Square", function=lambda x: dsb.model.code("x * x", x=x))
    assert dsb.model.convert(model, x).verify().ok
    dsb.model.register("Square", function=lambda x: dsb.model.code("x * ops.abs(x)", x=x))
    assert not dsb.model.convert(model, x).verify().ok


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("Scale", {"layer": lambda m: None}), "qualified class name"),
        (("a.Scale", {}), "one of them"),
        (("a.Scale", {"layer": lambda m: None, "function": lambda x: x}), "one of them"),
        (("f", {"function": lambda x: x, "helpers": ("def roll(x):\n    return x",)}), "another helper called roll"),
        (("f", {"function": lambda x: x, "helpers": ("x = 1",)}), "a function or a class"),
    ],
)
def test_bad_entries(clean_tables: None, arguments: Any, said: str) -> None:
    """Each says what is wrong."""
    name, more = arguments
    with pytest.raises(ValueError, match=said):
        dsb.model.register(name, **more)


def test_entry_points(clean_tables: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package's function is called once, before the first conversion."""
    from dsbridge.model import extend

    class Entry:
        @staticmethod
        def load() -> Any:
            return lambda: dsb.model.register("Square", function=lambda x: dsb.model.code("x * x", x=x))

    monkeypatch.setattr(extend, "entry_points", lambda group: [Entry] if group == "dsbridge.model" else [])
    extend.load_plugins.cache_clear()
    try:
        assert "Square" not in FUNCTIONS
        dsb.model.convert(Squared(), torch.randn(2, 3))
        assert "Square" in FUNCTIONS
    finally:
        extend.load_plugins.cache_clear()


@pytest.mark.parametrize("name", small_models.OWN)
def test_the_flavour_mint_is_torchs_names_and_says_that_it_is_not_verified(name: str) -> None:
    """Cells can be made and take the weights; nothing is claimed."""
    make, inputs = small_models.OWN[name]
    migrated = dsb.model.convert(make(), inputs, flavour="mint")
    assert "mint.nn." in migrated.source
    assert "not verified here" in migrated.source
    assert [finding.code for finding in migrated.report if finding.severity != "info"] == ["not-verified"]
    with pytest.raises(dsb.errors.VerificationError, match="Ascend"):
        migrated.verify()


def test_another_flavour_is_refused() -> None:
    """By name."""
    with pytest.raises(ValueError, match="flavour"):
        dsb.model.convert(small_models.Tiny(), small_models.image(8), flavour="jax")


def test_classes_named_like_helpers(clean_tables: None) -> None:
    """A model's own LayerNorm does not take the place of the helper's."""

    class LayerNorm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.LayerNorm(4, bias=False)

        def forward(self, x: Any) -> Any:
            return self.inner(x) + 1

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.head = LayerNorm(), nn.Linear(4, 2)

        def forward(self, x: Any) -> Any:
            return self.head(self.norm(x))

    source = dsb.model.convert(Net(), torch.randn(2, 4)).source
    assert "self.norm = LayerNorm2()" in source
    assert "self.inner = LayerNorm((4,)" in source
