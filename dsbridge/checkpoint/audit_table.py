"""Which hyper-parameters of which pairs of classes are compared.

Getters take a live layer. Attribute names were read from torch 2.13 and mindspore 2.10, which keeps some settings of an
activation only in the primitive that it builds ("elu.alpha").
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from dsbridge.checkpoint.windows import Difference, Window, attribute, averaged, transposed, tuple_of

Getter = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Same:
    """One setting that must be equal: attribute paths or getters of both sides."""

    code: str
    torch: str | Getter
    cell: str | Getter
    training: bool = False

    def __call__(self, layer: Any, cell: Any) -> Iterator[Difference]:
        theirs, ours = _value(layer, self.torch), _value(cell, self.cell)
        if not _equal(theirs, ours):
            yield Difference(self.code, f"{self.code} {ours}", str(theirs), self.training)


def _value(layer: Any, getter: str | Getter) -> Any:
    return attribute(layer, getter) if isinstance(getter, str) else getter(layer)


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-6)
    return bool(a == b)


def statistics(layer: Any, cell: Any) -> Iterator[Difference]:
    """Whether BatchNorm uses the batch's own statistics in eval mode."""
    inner = getattr(cell, "bn2d", cell)
    ours = (
        attribute(inner, "use_batch_statistics") is True
        if hasattr(inner, "use_batch_statistics")
        else not inner.track_running_stats
    )
    if ours == layer.track_running_stats:
        yield Difference("statistics", f"use_batch_statistics {ours}", f"track_running_stats={layer.track_running_stats}")


def zeros_padding(layer: Any, cell: Any) -> Iterator[Difference]:
    """nn's convolutions pad with zeros only."""
    ours = getattr(cell, "padding_mode", "zeros")
    if layer.padding_mode != ours and not isinstance(layer.padding, str) and any(layer.padding):
        yield Difference("padding_mode", f"padding_mode '{ours}'", f"'{layer.padding_mode}'")


def momentum(cell: Any) -> Any:
    """BatchNorm's momentum in torch's sense: nn's argument is 1 - m, its attribute is m again."""
    found = getattr(getattr(cell, "bn2d", cell), "momentum", None)
    return round(found, 9) if isinstance(found, float) else found


def drop_rate(cell: Any) -> float:
    """The probability of dropping, however the cell was told."""
    p = getattr(cell, "p", None)
    return round(1 - cell.keep_prob, 9) if p is None else float(p)


def axes_normalised(cell: Any) -> int:
    """How many trailing axes an nn.LayerNorm normalises; -begin_norm_axis."""
    first = getattr(cell, "begin_norm_axis", -len(cell.normalized_shape))
    return -first if first < 0 else len(cell.normalized_shape)


def output_size(layer: Any) -> tuple[Any, ...]:
    """Of adaptive pooling, as a tuple of two."""
    found = attribute(layer, "adaptive_avgpool2d.output_size", None) or layer.output_size
    return tuple(-1 if one is None else one for one in tuple_of(found, 2))


Check = Callable[[Any, Any], Iterator[Difference]]
_EPS = Same("eps", "eps", lambda cell: getattr(cell, "epsilon", None) or getattr(getattr(cell, "bn2d", cell), "eps", None))
_GROUPS = Same("groups", "groups", lambda cell: getattr(cell, "group", None) or getattr(cell, "groups", None))
_NORM: tuple[Check, ...] = (_EPS, Same("momentum", "momentum", momentum, training=True), statistics)
_DROP: tuple[Check, ...] = (Same("p", lambda layer: float(layer.p), drop_rate, training=True),)
_LAYERS = (Same("num_layers", "num_layers", "num_layers"), Same("bidirectional", "bidirectional", "bidirectional"))
_FIRST = Same("batch_first", "batch_first", "batch_first")
_RATE = Same("dropout", lambda layer: float(layer.dropout), lambda cell: float(cell.dropout), training=True)
_LAYER_NORM: tuple[Check, ...] = (_EPS, Same("normalised axes", lambda n: len(n.normalized_shape), axes_normalised))
_GROUP_NORM: tuple[Check, ...] = (_EPS, Same("num_groups", "num_groups", "num_groups"))
_DENSE: tuple[Check, ...] = (Same("activation", lambda layer: None, lambda cell: getattr(cell, "activation", None)),)
_EMBEDDING: tuple[Check, ...] = (
    Same("padding_idx", "padding_idx", "padding_idx", training=True),
    Same("max_norm", "max_norm", "max_norm"),
)


def _conv(axes: int) -> tuple[Check, ...]:
    return (Window(axes), _GROUPS, zeros_padding)


TABLE: dict[tuple[str, str], tuple[Check, ...]] = {
    **{(f"Conv{n}d", f"Conv{n}d"): _conv(n) for n in (1, 2, 3)},
    **{(f"ConvTranspose{n}d", f"Conv{n}dTranspose"): (transposed(n), _GROUPS) for n in (1, 2, 3)},
    **{(f"MaxPool{n}d", f"MaxPool{n}d"): (Window(n, "max_pool"),) for n in (1, 2, 3)},
    **{(f"AvgPool{n}d", f"AvgPool{n}d"): (Window(n, "avg_pool"), averaged) for n in (1, 2, 3)},
    **{(f"BatchNorm{n}d", f"BatchNorm{n}d"): _NORM for n in (1, 2, 3)},
    **{(name, "SyncBatchNorm"): _NORM for name in ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm")},
    **{(f"InstanceNorm{n}d", f"InstanceNorm{n}d"): (_EPS,) for n in (1, 2, 3)},
    **{(f"Dropout{n}", f"Dropout{n}"): _DROP for n in ("", "1d", "2d", "3d")},
    ("Dropout", "DropoutExt"): _DROP,
    ("LayerNorm", "LayerNorm"): _LAYER_NORM,
    ("LayerNorm", "LayerNormExt"): _LAYER_NORM,
    ("GroupNorm", "GroupNorm"): _GROUP_NORM,
    ("Linear", "Dense"): _DENSE,
    ("Linear", "Linear"): (),
    ("Bilinear", "BiDense"): _DENSE,
    ("Conv2d", "Dense"): (),
    ("Embedding", "Embedding"): _EMBEDDING,
    ("Embedding", "EmbeddingExt"): _EMBEDDING,
    **{(name, name): (*_LAYERS, _FIRST, _RATE) for name in ("RNN", "GRU", "LSTM")},
    **{(f"{name}Cell", f"{name}Cell"): () for name in ("RNN", "GRU", "LSTM")},
    ("MultiheadAttention", "MultiheadAttention"): (Same("num_heads", "num_heads", "num_heads"), _FIRST, _RATE),
    **{
        (name, name): (Same("norm_first", "norm_first", "norm_first"),)
        for name in ("TransformerEncoderLayer", "TransformerDecoderLayer")
    },
    ("AdaptiveAvgPool2d", "AdaptiveAvgPool2d"): (Same("output_size", output_size, output_size),),
    ("Flatten", "Flatten"): (Same("start_dim", "start_dim", "start_dim"), Same("end_dim", "end_dim", "end_dim")),
    ("Upsample", "Upsample"): tuple(Same(name, name, name) for name in ("mode", "align_corners")),
}
"""By the names of torch.nn's class and of mindspore.nn's or mindspore.mint.nn's; () means nothing can differ but weights."""

CONTAINERS = {"Sequential", "ModuleList", "ModuleDict", "SequentialCell", "CellList", "CellDict"}


def _of(*paths: str) -> Callable[[Any], tuple[Any, ...]]:
    return lambda layer: tuple(_plain(attribute(layer, path)) for path in paths)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple) and len(value) == 1:
        value = value[0]
    return float(value) if isinstance(value, (int, float)) else value


def _fixed(*values: Any) -> Callable[[Any], tuple[Any, ...]]:
    return lambda layer: values


TORCH_ACTIVATIONS: dict[str, tuple[str, Callable[[Any], tuple[Any, ...]]]] = {
    **{name: (name, _fixed()) for name in ("ReLU", "SELU", "SiLU", "Sigmoid", "Tanh", "Mish", "LogSigmoid", "Softsign")},
    **{name: (name, _fixed()) for name in ("Hardswish", "Hardsigmoid", "Tanhshrink", "PReLU", "Identity")},
    "ReLU6": ("Hardtanh", _fixed(0.0, 6.0)),
    "Hardtanh": ("Hardtanh", _of("min_val", "max_val")),
    "LeakyReLU": ("LeakyReLU", _of("negative_slope")),
    "ELU": ("ELU", _of("alpha")),
    "CELU": ("CELU", _of("alpha")),
    "GELU": ("GELU", _of("approximate")),
    "Softshrink": ("Softshrink", _of("lambd")),
    "Hardshrink": ("Hardshrink", _of("lambd")),
    "Threshold": ("Threshold", _of("threshold", "value")),
    "Softplus": ("Softplus", _of("beta", "threshold")),
}
CELL_ACTIVATIONS: dict[str, tuple[str, Callable[[Any], tuple[Any, ...]]]] = {
    **{name: (name, _fixed()) for name in ("ReLU", "SELU", "SiLU", "Sigmoid", "Tanh", "Mish", "LogSigmoid", "Softsign")},
    **{name: (name, _fixed()) for name in ("Hardswish", "Hardsigmoid", "Tanhshrink", "PReLU", "Identity")},
    "SeLU": ("SELU", _fixed()),
    "HSwish": ("Hardswish", _fixed()),
    "HSigmoid": ("Hardsigmoid", _fixed()),
    "PReLUExt": ("PReLU", _fixed()),
    "FastGelu": ("fast GELU", _fixed()),
    "ReLU6": ("Hardtanh", _fixed(0.0, 6.0)),
    "Hardtanh": ("Hardtanh", _of("min_val", "max_val")),
    "LeakyReLU": ("LeakyReLU", _of("alpha")),
    "ELU": ("ELU", _of("elu.alpha")),
    "CELU": ("CELU", _of("celu.alpha")),
    "GELU": ("GELU", _of("approximate")),
    "SoftShrink": ("Softshrink", _of("softshrink.lambd")),
    "HShrink": ("Hardshrink", _of("hshrink.lambd")),
    "Threshold": ("Threshold", _of("threshold", "value")),
}
"""Class name -> what it computes and its settings, in one vocabulary for both sides."""

SOFTMAX = {"Softmax": ("dim", "softmax.axis"), "LogSoftmax": ("dim", "log_softmax.axis")}
