"""What each pair of classes (torch module, MindSpore cell) does to parameters: one table.

Source: measured forward parity on torch 2.13 and MindSpore 2.10 (tests/checkpoint/test_layers.py). Classes are
named as ``trees.short`` names them. Parameters that a rule does not mention keep name and layout.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from dsbridge.checkpoint.ops import ExpandDims, Permute, Squeeze
from dsbridge.checkpoint.rows import Operation
from dsbridge.checkpoint.trees import joined

Operations = tuple[Operation, ...]


@dataclass(frozen=True, slots=True)
class LayerRule:
    """How the parameters of one torch class become those of one cell class.

    ``names``: torch's names to the cell's (relative, may be dotted). ``operations``: by torch's name. ``children``: child
    modules that are called otherwise. ``dropped``: what the cell has no place for. ``constants``: by the cell's name, values
    where torch has nothing. ``note``: what to say where a constant is used.

    >>> rule_for(("torch.nn.Embedding",), ("mindspore.nn.Embedding",)).names
    {'weight': 'embedding_table'}
    """

    torch: str
    cell: str
    names: dict[str, str] = field(default_factory=dict)
    operations: dict[str, Operations] = field(default_factory=dict)
    children: dict[str, str] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    constants: dict[str, float] = field(default_factory=dict)
    note: str = ""

    def __str__(self) -> str:
        return f"{self.torch} -> {self.cell}"


_AFFINE = {"weight": "gamma", "bias": "beta"}
_ONE_ZERO = {"gamma": 1.0, "beta": 0.0}
_MOVING = {"running_mean": "moving_mean", "running_var": "moving_variance"}
_NO_STATISTICS = (
    "torch keeps no running statistics: the cell must normalise with those of the batch (use_batch_statistics=True)"
)
_DENSE = {"linear1": "dense1", "linear2": "dense2"}


def _norm(
    torch: str, cell: str, *, moving: bool = False, inside: str = "", dropped: tuple[str, ...] = ("num_batches_tracked",)
) -> LayerRule:
    names = {**_AFFINE, **(_MOVING if moving else {})}
    constants = {**_ONE_ZERO, **({"moving_mean": 0.0, "moving_variance": 1.0} if moving else {})}
    return LayerRule(
        torch,
        cell,
        {name: joined(inside, at) for name, at in names.items()},
        constants={joined(inside, at): value for at, value in constants.items()},
        dropped=dropped if moving else (),
        note=_NO_STATISTICS if moving else "",
    )


def _t(name: str) -> str:
    return f"torch.nn.{name}"


def _m(name: str) -> str:
    return f"mindspore.nn.{name}"


_SAME = {
    "Linear": "Dense",
    "Bilinear": "BiDense",
    "Conv2d": "Conv2d",
    "Conv3d": "Conv3d",
    "ConvTranspose2d": "Conv2dTranspose",
    "ConvTranspose3d": "Conv3dTranspose",
    **{name: name for name in ("RNN", "GRU", "LSTM", "RNNCell", "GRUCell", "LSTMCell", "MultiheadAttention")},
    **{name: name for name in ("Transformer", "TransformerEncoder", "TransformerDecoder")},
    "Sequential": "SequentialCell",
    "ModuleList": "CellList",
    "ModuleDict": "CellDict",
}

TABLE: tuple[LayerRule, ...] = (
    *(LayerRule(_t(torch), _m(cell)) for torch, cell in _SAME.items()),
    *(LayerRule(_t(name), _m(name), children=_DENSE) for name in ("TransformerEncoderLayer", "TransformerDecoderLayer")),
    LayerRule(_t("Conv1d"), _m("Conv1d"), operations={"weight": (ExpandDims((2,)),)}),
    LayerRule(_t("ConvTranspose1d"), _m("Conv1dTranspose"), operations={"weight": (ExpandDims((2,)),)}),
    LayerRule(_t("Conv2d"), _m("Dense"), operations={"weight": (Squeeze((2, 3)),)}),
    LayerRule(_t("Embedding"), _m("Embedding"), {"weight": "embedding_table"}),
    LayerRule(_t("PReLU"), _m("PReLU"), {"weight": "w"}),
    *(_norm(_t(name), _m(name), moving=True) for name in ("BatchNorm1d", "BatchNorm2d", "SyncBatchNorm")),
    _norm(_t("BatchNorm3d"), _m("BatchNorm3d"), moving=True, inside="bn2d"),
    _norm("torchvision.ops.misc.FrozenBatchNorm2d", _m("BatchNorm2d"), moving=True, dropped=()),
    *(_norm(_t(f"InstanceNorm{n}d"), _m(f"InstanceNorm{n}d"), moving=True) for n in (1, 2, 3)),
    *(_norm(_t(name), _m(name)) for name in ("LayerNorm", "GroupNorm")),
    *(
        LayerRule(f"transformers.{module}.Conv1D", _m("Dense"), operations={"weight": (Permute((1, 0)),)})
        for module in ("pytorch_utils", "modeling_utils")  # it moved between versions
    ),
)

REFUSED = {
    _t("RMSNorm"): "mindspore.nn has no RMSNorm cell",
    _t("EmbeddingBag"): "mindspore.nn has no EmbeddingBag",
    _t("AdaptiveLogSoftmaxWithLoss"): "mindspore.nn has no adaptive softmax",
}
"""torch classes with parameters and no counterpart, with the reason."""

_BY_PAIR = {(rule.torch, rule.cell): rule for rule in TABLE}
_MINT = "mindspore.mint.nn."
_MINT_NAMES = ("Linear", "Conv1d", "Conv2d", "Conv3d", "ConvTranspose2d", "BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "PReLU")
MINT = tuple(
    LayerRule(_t(name), _MINT + name) for name in (*_MINT_NAMES, "LayerNorm", "GroupNorm", "Embedding", "SyncBatchNorm")
)
"""mindspore.mint.nn keeps torch's names and layouts."""
_BY_PAIR |= {(rule.torch, rule.cell): rule for rule in MINT}


def rule_for(torch_classes: Sequence[str], cell_classes: Sequence[str]) -> LayerRule | None:
    """The rule of the most derived pair of classes that has one.

    >>> str(rule_for(("my.Conv", "torch.nn.Conv2d"), ("mindspore.nn.Conv2d",)))
    'torch.nn.Conv2d -> mindspore.nn.Conv2d'
    """
    pairs = ((torch, cell) for torch in torch_classes for cell in cell_classes)
    return next((_BY_PAIR[pair] for pair in pairs if pair in _BY_PAIR), None)


def rules_into(cell_classes: Iterable[str]) -> tuple[LayerRule, ...]:
    """All rules that end in a cell of these classes: what is left to try where the torch class is not known.

    >>> [rule.torch for rule in rules_into(("mindspore.nn.Embedding",))]
    ['torch.nn.Embedding']
    """
    for cell in cell_classes:
        if found := tuple(rule for (_, at), rule in _BY_PAIR.items() if at == cell):
            return found
    return ()


def rule_from(torch_classes: Iterable[str]) -> LayerRule | None:
    """The usual counterpart of a torch class in mindspore.nn: the first rule of the table that begins there.

    >>> rule_from(("torch.nn.Linear",)).cell
    'mindspore.nn.Dense'
    """
    return next((rule for name in torch_classes for rule in TABLE if rule.torch == name), None)


def refusal(torch_classes: Iterable[str], names: Iterable[str]) -> str:
    """Why a torch module has no counterpart; "" if it may have one. ``names``: of its parameters.

    >>> refusal(("torch.nn.LSTM",), ["weight_ih_l0", "weight_hr_l0"])
    'nn.LSTM has no proj_size'
    """
    for name in torch_classes:
        if name in REFUSED:
            return REFUSED[name]
        if name == _t("LSTM") and any(leaf.startswith("weight_hr_") for leaf in names):
            return "nn.LSTM has no proj_size"
    return ""
