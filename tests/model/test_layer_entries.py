"""Every layer of the table: forward and gradients against torch in float64, in both modes; what cannot be is refused."""

from __future__ import annotations

from typing import Any

import loss_cases
import proofs
import pytest
import torch
from torch import nn

from dsbridge.errors import Unsupported
from dsbridge.model.convert import draft
from dsbridge.model.layers import registry

image = torch.randn(2, 4, 9, 10)
row = torch.randn(3, 6)
sequence = torch.randn(2, 5, 8)
signal = torch.randn(2, 4, 11)
volume = torch.randn(2, 3, 5, 6, 7)


def _case(module: nn.Module, *inputs: Any, training: bool = True, more: str = "") -> proofs.Case:
    return proofs.Case(f"{module!r}{more} of {[list(one.shape) for one in inputs]}", module, inputs, training)


class Firsts(nn.Module):
    """The first output of a layer that returns several."""

    def __init__(self, layer: nn.Module, *more: Any, **named: Any) -> None:
        super().__init__()
        self.layer, self._more, self._named = layer, more, named

    def forward(self, x: Any, *rest: Any) -> Any:
        return self.layer(x, *rest, *self._more, **self._named)[0]

    def __repr__(self) -> str:
        return f"Firsts({self.layer!r}, {self._named})"


class StepsOnce(nn.Module):
    """An LSTM cell with its state."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(6, 4)

    def forward(self, x: Any, h: Any, c: Any) -> Any:
        return self.cell(x, (h, c))[1]

    def __repr__(self) -> str:
        return "StepsOnce()"


class Attends(nn.Module):
    """Self-attention with settings."""

    def __init__(self, masked: bool = False, **settings: Any) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, **settings)
        self.masked, self._settings = masked, settings

    def forward(self, x: Any) -> Any:
        mask = torch.ones(5, 5, dtype=torch.bool).triu(1) if self.masked else None
        return self.attention(x, x, x, attn_mask=mask, need_weights=False)[0]

    def __repr__(self) -> str:
        return f"Attends({self.masked}, {self._settings})"


def _convolutions() -> list[proofs.Case]:
    kinds = [
        {}, {"stride": 2}, {"padding": 1}, {"padding": (1, 2)}, {"padding": "same"}, {"padding": "valid"}, {"dilation": 2},
        {"groups": 2}, {"groups": 4, "padding": 1}, {"bias": False}, {"stride": (2, 1), "padding": (2, 0)},
    ]  # fmt: skip
    made = [_case(nn.Conv2d(4, 8, 3, **kind), image) for kind in kinds]
    made += [_case(nn.Conv2d(4, 8, (3, 2)), image), _case(nn.Conv2d(4, 8, 1), image)]
    one = [{}, {"stride": 2}, {"padding": 1}, {"groups": 2}, {"bias": False}, {"dilation": 2}]
    made += [_case(nn.Conv1d(4, 8, 3, **kind), signal) for kind in one]
    made += [_case(nn.Conv3d(3, 4, 3, **kind), volume) for kind in ({}, {"padding": 1}, {"stride": 2})]
    back = [
        {}, {"stride": 2}, {"stride": 2, "padding": 1}, {"stride": 2, "padding": 1, "output_padding": 1}, {"groups": 2},
        {"bias": False}, {"dilation": 2}, {"stride": (2, 3), "padding": (1, 1), "output_padding": (1, 0)},
    ]  # fmt: skip
    made += [_case(nn.ConvTranspose2d(4, 6, 3, **kind), image) for kind in back]
    rows = [{}, {"stride": 2}, {"stride": 2, "padding": 1}, {"groups": 2}, {"bias": False}, {"dilation": 2}]
    return made + [_case(nn.ConvTranspose1d(4, 6, 3, **kind), signal) for kind in rows]


def _normalizations() -> list[proofs.Case]:
    made = [_case(nn.BatchNorm2d(4, **kind), image, training=training) for training in (True, False) for kind in (
        {}, {"eps": 1e-3}, {"momentum": 0.3}, {"affine": False},
    )]  # fmt: skip
    made += [_case(nn.BatchNorm1d(6), row, training=training) for training in (True, False)]
    made += [_case(nn.BatchNorm1d(4), signal, training=training) for training in (True, False)]
    made += [_case(nn.BatchNorm3d(3), volume, training=training) for training in (True, False)]
    made += [_case(nn.LayerNorm(shape, **kind), sequence) for shape, kind in (
        (8, {}), ((5, 8), {}), (8, {"eps": 1e-3}), (8, {"bias": False}), (8, {"elementwise_affine": False}),
    )]  # fmt: skip
    made += [_case(nn.GroupNorm(groups, 4), image) for groups in (1, 2, 4)]
    made += [_case(nn.GroupNorm(2, 4, affine=False), image), _case(nn.InstanceNorm2d(4), image)]
    return [*made, _case(nn.InstanceNorm2d(4, affine=True), image)]


def _pooling() -> list[proofs.Case]:
    made = [_case(nn.MaxPool2d(*args, **kind), image) for args, kind in (
        ((2,), {}), ((3, 2), {}), ((3, 2, 1), {}), ((3,), {"ceil_mode": True, "stride": 2}), (((3, 2),), {}), ((2, 1), {}),
    )]  # fmt: skip
    made += [_case(nn.AvgPool2d(*args, **kind), image) for args, kind in (
        ((2,), {}), ((3, 2), {}), ((3, 2, 1), {}), ((3, 2, 1), {"count_include_pad": False}), ((3, 2), {"ceil_mode": True}),
    )]  # fmt: skip
    made += [_case(nn.AdaptiveAvgPool2d(size), image) for size in (1, 3, (2, 5), (None, 2))]
    made += [_case(nn.AdaptiveMaxPool2d(size), image) for size in (1, 3)]
    made += [_case(nn.AdaptiveAvgPool1d(size), signal) for size in (1, 3)]
    made += [_case(nn.Upsample(**kind), image) for kind in (
        {"scale_factor": 2}, {"size": (13, 17)}, {"scale_factor": 2, "mode": "bilinear"},
        {"scale_factor": 2, "mode": "bilinear", "align_corners": True}, {"size": (5, 4), "mode": "bilinear"},
    )]  # fmt: skip
    return made


def _activations() -> list[proofs.Case]:
    layers = [
        nn.ReLU(), nn.ReLU6(), nn.SiLU(), nn.Hardswish(), nn.Hardsigmoid(), nn.Sigmoid(), nn.Tanh(), nn.Mish(), nn.SELU(),
        nn.LogSigmoid(), nn.Softsign(), nn.Tanhshrink(), nn.GELU(), nn.GELU("tanh"), nn.LeakyReLU(), nn.LeakyReLU(0.3),
        nn.ELU(),
        nn.Softplus(), nn.Softplus(2.0, 5.0), nn.PReLU(), nn.Hardtanh(), nn.Hardtanh(-0.5, 2.0), nn.Softmax(-1), nn.Softmax(1),
        nn.LogSoftmax(1), nn.Identity(),
    ]  # fmt: skip
    return [_case(layer, 2 * sequence) for layer in layers] + [_case(nn.PReLU(4), image)]


def _opened() -> list[proofs.Case]:
    """Layers whose entries refuse their settings are recorded as what their forward calls."""
    norm = nn.BatchNorm2d(4, track_running_stats=False)
    return [
        _case(nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"), image), _case(nn.ELU(2.0), row), _case(norm, image),
        _case(nn.Conv2d(4, 6, 3, padding=1, padding_mode="circular", bias=False), image),
        _case(norm, image, training=False, more=" eval"), _case(nn.Upsample(scale_factor=2, mode="bicubic"), image),
        _case(nn.GroupNorm(2, 4), signal), _case(nn.GLU(1), image),
        _case(nn.RMSNorm(8), sequence), _case(nn.AvgPool1d(3, 2, 1), signal), _case(nn.MaxPool1d(3), signal),
        _case(nn.Unfold(2), image), _case(nn.ReflectionPad2d(2), image), _case(nn.LocalResponseNorm(3), image),
        _case(nn.Unflatten(1, (2, 2)), image),
        _case(nn.Threshold(0.1, 2.0), row), _case(nn.CosineSimilarity(), row, row.flip(0)),
        _case(nn.InstanceNorm1d(4), signal),
        _case(nn.UpsamplingNearest2d(scale_factor=2), image), _case(nn.UpsamplingBilinear2d(scale_factor=2), image),
        _case(nn.CELU(0.5), row), _case(nn.Softmin(1), row), _case(nn.ConstantPad1d(1, 2.0), signal),
    ]  # fmt: skip


def _others() -> list[proofs.Case]:
    ids = torch.tensor([[0, 3, 1], [2, 0, 4]])
    return [
        _case(nn.Linear(6, 5), row), _case(nn.Linear(8, 5, bias=False), sequence), _case(nn.Bilinear(6, 6, 3), row,
        row.flip(0)),
        _case(nn.Embedding(5, 4), ids), _case(nn.Embedding(5, 4, padding_idx=0), ids),
        *[_case(kind(0.5), x, training=False) for kind, x in (
            (nn.Dropout, row), (nn.Dropout1d, signal), (nn.Dropout2d, image), (nn.Dropout3d, volume),
        )],
        _case(nn.Flatten(), image), _case(nn.Flatten(2), image), _case(nn.Flatten(0, 1), image), _case(nn.PixelShuffle(2),
        image),
        _case(nn.PixelUnshuffle(3), image[:, :, :, :9]), _case(nn.ZeroPad2d((1, 2, 0, 3)), image),
        _case(nn.ChannelShuffle(2), image),
        *[_case(Firsts(kind(8, 6, **more)), sequence) for kind in (nn.LSTM, nn.GRU, nn.RNN) for more in (
            {"batch_first": True}, {}, {"bidirectional": True, "num_layers": 2, "batch_first": True}, {"bias": False},
        )],
        _case(StepsOnce(), row, torch.randn(3, 4), torch.randn(3, 4)), _case(nn.GRUCell(6, 4), row, torch.randn(3, 4)),
        *[_case(Firsts(kind(8, 6)), 6 * sequence, more=" saturated") for kind in (nn.LSTM, nn.GRU, nn.RNN)],
        _case(nn.RNNCell(6, 4), 4 * row, torch.randn(3, 4)),
        _case(nn.RNNCell(6, 4, nonlinearity="relu"), row, torch.randn(3, 4)),
        _case(Firsts(nn.RNN(8, 6, nonlinearity="relu", batch_first=True)), sequence),
        *[_case(Attends(**kind), sequence) for kind in (
            {"batch_first": True}, {}, {"bias": False, "batch_first": True}, {"masked": True, "batch_first": True},
        )],
    ]  # fmt: skip


GROUPS = {
    "convolutions": _convolutions, "normalizations": _normalizations, "pooling": _pooling, "activations": _activations,
    "opened": _opened, "others": _others, **loss_cases.GROUPS,
}  # fmt: skip


@pytest.mark.parametrize("mode", proofs.MODES)
@pytest.mark.parametrize("group", GROUPS)
def test_layers_compute_what_torch_does(group: str, mode: int) -> None:
    """A grid of settings for each layer, in one process."""
    failed = proofs.failures(GROUPS[group](), [mode])
    assert not failed, "\n".join(f"{name}: {wrong}" for name, wrong in failed.items())


def test_every_layer_is_tried() -> None:
    """No entry without a case."""
    registry.load_all()
    tried = {type(part) for cases in GROUPS.values() for case in cases() for part in case.module.modules()}
    untried = {cls.__name__ for cls in registry.LAYERS if not any(issubclass(kind, cls) for kind in tried)}
    assert not untried, ", ".join(untried)


REFUSED = [
    (nn.BatchNorm2d(4, momentum=None), image),
    (nn.Embedding(5, 4, max_norm=1.0),
    torch.tensor([1])),
    (nn.ConvTranspose2d(4, 4, 3, stride=2, output_padding=1), image),
    (nn.ConvTranspose1d(4, 4, 3, stride=2, padding=1, output_padding=1), signal),
    (nn.MultiheadAttention(8, 2, add_bias_kv=True), sequence), (nn.LSTMCell(6, 4), row),
    (nn.InstanceNorm2d(4, track_running_stats=True), image), (nn.Conv3d(3, 3, 3, groups=3), volume),
]  # fmt: skip


class Holds(nn.Module):
    """One layer, called as its kind is."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Any) -> Any:
        return self.layer(x, x, x)[0] if isinstance(self.layer, nn.MultiheadAttention) else self.layer(x)


@pytest.mark.parametrize(("layer", "x"), REFUSED, ids=[repr(layer) for layer, _ in REFUSED])
def test_what_would_differ_is_refused(layer: nn.Module, x: Any) -> None:
    """Settings with another result there, or none, are errors that name the layer."""
    with pytest.raises(Unsupported) as caught:
        draft(Holds(layer), (x,), {})
    assert caught.value.path == "layer"
