"""Modules: layers by their table, what changes modules from outside, models of others."""

from __future__ import annotations

import re
from functools import partial

import libcst as cst

from dsbridge.migrate.inspect.opened import opened
from dsbridge.migrate.inspect.rules.conditions import given, of_parameter
from dsbridge.migrate.inspect.rules.rule import ATTENTION, FINE, UNSUPPORTED, Rule
from dsbridge.migrate.inspect.tables import tables
from dsbridge.migrate.inspect.use import Use

_rule = partial(Rule, family="models", page="guide/models.md")
_UTILS = "torch.nn.utils"
_HOOKS = tuple(
    f".register_{name}_hook()" for name in ("forward", "forward_pre", "full_backward", "full_backward_pre", "backward")
)
_LAZY = ("Linear", "Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d", "BatchNorm1d",
         "BatchNorm2d", "BatchNorm3d", "InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d")  # fmt: skip


def _known(use: Use) -> bool:
    return use.name in tables().layers


def _opened(use: Use) -> bool:
    return tables().is_layer(use.name) and not opened(use.name)


def _unknown(use: Use) -> str | bool:
    return tables().is_layer(use.name) and opened(use.name)


def _published(use: Use) -> bool:
    """A model, or what makes one; not tokenizers, weights, layers and registries of the same packages."""
    package, *parts = use.name.split(".")
    if package == "transformers":
        return bool(re.match(r"\w+(?:Model|For[A-Z]\w+|Transformer)$", parts[0]))
    return parts[1:2] not in (["layers"], ["registry"], ["helpers"]) and not any(
        part in use.name for part in ("Weights", "__dict__")
    )


def _weights(use: Use) -> bool:
    return "Weights" in use.name


def _initial(use: Use) -> bool:
    """By torch.nn.init, or to the data of a parameter where weights are made."""
    made = any(part in use.inside.function for part in ("init", "reset"))
    return use.name.startswith("torch.nn.init.") or (made and of_parameter(use))


def _tied(use: Use) -> bool:
    """``a.weight = b.weight``: two modules with one parameter."""
    return isinstance(use.value, cst.Attribute) and use.value.attr.value == "weight"


RULES = (
    _rule(
        "MIG301",
        FINE,
        ("class torch.nn.*", "class torch.nn.Module"),
        "is derived from: a class of yours becomes a Cell",
        "dsb.model.convert(model, inputs)",
        "class Net(nn.Module): pass",
    ),
    _rule(
        "MIG302",
        FINE,
        tuple(
            f"torch.nn.{name}"
            for name in (
                "Sequential",
                "ModuleList",
                "ModuleDict",
                "ParameterList",
                "ParameterDict",
                "Parameter",
                "Buffer",
                "parameter.*",
            )
        ),
        "is laid out as it is",
        "dsb.model.convert(model, inputs)",
        "nn.Sequential()",
    ),
    _rule(
        "MIG316",
        UNSUPPORTED,
        tuple(f"torch.nn.Lazy{name}" for name in _LAZY),
        "has no shape before its first call, and hooks until then",
        "run the model once before dsb.model.convert",
        "nn.LazyLinear(3)",
    ),
    _rule(
        "MIG303",
        FINE,
        ("torch.nn.*", "timm.layers.*", "torchvision.ops.*"),
        "is in the table",
        "dsb.model.convert(model, inputs)",
        "nn.Linear(3, 2)",
        _known,
        page="reference/models.md",
    ),
    _rule(
        "MIG329",
        FINE,
        ("torch.nn.*",),
        "is written as the functions that it calls, which are in the table",
        "dsb.model.convert(model, inputs)",
        "nn.Hardshrink()",
        _opened,
        page="reference/models.md",
    ),
    _rule(
        "MIG304",
        ATTENTION,
        ("torch.nn.*",),
        "is not in the table: it is recorded as what it calls; {detail}",
        "try dsb.model.convert(layer, inputs), else dsb.model.register(name, layer=...)",
        "nn.FractionalMaxPool2d(2, output_ratio=0.5)",
        _unknown,
        page="reference/models.md",
    ),
    _rule(
        "MIG311",
        UNSUPPORTED,
        (*_HOOKS, "torch.nn.modules.module.register_module_*"),
        "does what forward does not show: modules with hooks are refused",
        "write it into forward, or remove it",
        "model.register_forward_hook(print)",
    ),
    _rule(
        "MIG312",
        UNSUPPORTED,
        (f"{_UTILS}.weight_norm", f"{_UTILS}.spectral_norm", f"{_UTILS}.prune.*"),
        "works by a hook, which is refused",
        "torch.nn.utils.parametrizations.weight_norm; or remove it before converting",
        "nn.utils.weight_norm(layer)",
    ),
    _rule(
        "MIG313",
        ATTENTION,
        (f"{_UTILS}.parametrizations.*", f"{_UTILS}.parametrize.*"),
        "computes a weight anew for each call: its functions have to be in the table (weight_norm's are, spectral_norm's not)",
        "dsb.model.convert(model, inputs) says it",
        "nn.utils.parametrizations.spectral_norm(layer)",
    ),
    _rule(
        "MIG314",
        FINE,
        ("torch.nn.init.*", ".data", ".data ="),
        "fills weights before training: they are carried over",
        "dsb.model.convert takes the weights along",
        "nn.init.zeros_(layer.bias)",
        _initial,
    ),
    _rule(
        "MIG315",
        ATTENTION,
        ("timm.create_model", "timm.models.*", "torchvision.models.*", "transformers.*"),
        "is a published model: the table says which were proven",
        "dsb.model.convert(model, inputs), on the live model",
        "timm.create_model('resnet18')",
        _published,
        page="reference/models.md",
    ),
    _rule(
        "MIG317",
        UNSUPPORTED,
        ("torch.ao.*", "torch.quantization.*", "torchao.*", "torch.quantize_*"),
        "quantizes: there is no counterpart",
        "convert the float model, quantize in MindSpore",
        "torch.ao.quantization.quantize_dynamic(model)",
    ),
    _rule(
        "MIG318",
        UNSUPPORTED,
        (
            f"{_UTILS}.rnn.pack_padded_sequence",
            f"{_UTILS}.rnn.pad_packed_sequence",
            f"{_UTILS}.rnn.pack_sequence",
            f"{_UTILS}.rnn.PackedSequence",
        ),
        "makes packed sequences, which have no counterpart",
        "pad, and mask what is padding",
        "nn.utils.rnn.pack_padded_sequence(x, lengths)",
    ),
    _rule(
        "MIG319",
        UNSUPPORTED,
        ("torch.sparse.*", "torch.sparse_*", ".to_sparse()", "torch.nested.*", "torch.masked.*"),
        "makes sparse, nested or masked tensors, which are refused",
        "dense tensors and a mask",
        "x.to_sparse()",
    ),
    _rule(
        "MIG320",
        FINE,
        (".weight =",),
        "ties two weights: they become one Parameter",
        "nothing to do",
        "head.weight = embedding.weight",
        _tied,
    ),
    _rule(
        "MIG321",
        ATTENTION,
        ("torch.utils.checkpoint.*",),
        "trades time for memory; only use_reentrant=False can be recorded, and then as if it were not there",
        "cell.recompute() in MindSpore",
        "torch.utils.checkpoint.checkpoint(f, x)",
    ),
    _rule(
        "MIG322",
        ATTENTION,
        ("torch.distributions.*",),
        "checks its arguments by their values, which cannot be recorded, and draws numbers of its own",
        "pass validate_args=False, or write the formula with torch.randn_like",
        "torch.distributions.Normal(0, 1)",
    ),
    _rule(
        "MIG323",
        UNSUPPORTED,
        ("torch.nn.attention.flex_attention.*",),
        "is compiled for its scores: there is no entry for it",
        "F.scaled_dot_product_attention with a mask",
        "torch.nn.attention.flex_attention.flex_attention(q, k, v)",
    ),
    _rule(
        "MIG324",
        FINE,
        ("torch.nn.attention.*", "torch.backends.cuda.*"),
        "chooses among kernels that compute the same",
        "nothing to do",
        "torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)",
    ),
    _rule(
        "MIG325",
        ATTENTION,
        ("torch.nn.BatchNorm1d(momentum)", "torch.nn.BatchNorm2d(momentum)", "torch.nn.BatchNorm3d(momentum)"),
        "=None is refused: MindSpore has no cumulative average",
        "give it a number",
        "nn.BatchNorm2d(3, momentum=None)",
        lambda use: not given(use),
    ),
    _rule(
        "MIG326",
        ATTENTION,
        ("torch.nn.Embedding(max_norm)", "torch.nn.Embedding(sparse)", "torch.nn.Embedding(scale_grad_by_freq)"),
        "is refused",
        "leave it out, and clip in the training step",
        "nn.Embedding(3, 2, max_norm=1.0)",
        given,
    ),
    _rule(
        "MIG327",
        ATTENTION,
        (f"{_UTILS}.*",),
        "is a helper of torch's: in the data it stays, elsewhere it is for you to write",
        "numpy in the data, mindspore.ops elsewhere",
        "nn.utils.rnn.pad_sequence(rows)",
    ),
    _rule(
        "MIG328",
        FINE,
        ("torchvision.models.*",),
        "names published weights: they go along with the live model",
        "dsb.model.convert(model, inputs)",
        "ResNet50_Weights.DEFAULT",
        _weights,
    ),
)
