"""Imports: what a repository leans on."""

from __future__ import annotations

from functools import partial

from dsbridge.migrate.inspect.rules.rule import ATTENTION, FINE, UNSUPPORTED, Rule
from dsbridge.migrate.inspect.tables import tables
from dsbridge.migrate.inspect.use import Use
from dsbridge.migrate.inspect.walk import text_of

_rule = partial(Rule, family="imports", page="guide/migrating.md")

LOOPS = (
    "accelerate", "catalyst", "composer", "detectron2", "fastai", "ignite", "lightning", "lightning_fabric", "mmengine",
    "pytorch_lightning", "torchtnt", "skorch", "ultralytics",
)  # fmt: skip
COMPILED = (
    "apex", "bitsandbytes", "causal_conv1d", "colossalai", "deepspeed", "fairscale", "flash_attn", "horovod", "mamba_ssm",
    "megatron", "MinkowskiEngine", "pytorch3d", "spconv", "tensorrt", "tinycudann", "torch_cluster", "torch_npu",
    "torch_scatter", "torch_sparse", "torch_tensorrt", "torch_xla", "torchao", "torchrec", "transformer_engine", "triton",
    "xformers",
)  # fmt: skip
OTHERS = (
    "botorch", "captum", "diffusers", "dgl", "e3nn", "functorch", "gpytorch", "kornia", "lpips", "monai", "open_clip", "peft",
    "pyro", "sentence_transformers", "segmentation_models_pytorch", "tensordict", "torch_geometric", "torchaudio", "torchdata",
    "torcheval", "torchmetrics", "torchrl", "torchtext", "torchtune", "trl", "vllm",
)  # fmt: skip
TORCH = ("torch", "torchvision", "timm", "transformers", *LOOPS, *COMPILED, *OTHERS)
"""The packages whose names are followed."""
_TYPES = frozenset(
    f"torch.{name}"
    for name in (
        *("Tensor", "Size", "dtype", "layout", "memory_format", "SymInt", "SymFloat", "SymBool", "nn.Module", "newaxis"),
        *("FloatTensor", "DoubleTensor", "HalfTensor", "LongTensor", "IntTensor", "BoolTensor", "ByteTensor"),
        *(f"nn.modules.{name}" for name in ("batchnorm._BatchNorm", "instancenorm._InstanceNorm", "conv._ConvNd")),
        *("is_tensor", "finfo", "iinfo", "__version__", "types.Device", "types.Number"),
    )
)


def _keys(*packages: str) -> tuple[str, ...]:
    return tuple(f"import {package}" for package in packages)


def _by_name(use: Use) -> str | bool:
    """A module of torch, imported by a string."""
    given = text_of(use.call.args[0].value) if use.call is not None and use.call.args else None
    return given if given is not None and given.split(".")[0] in TORCH else False


def _private(use: Use) -> bool:
    """A name with an underscore in front; ``nn.Module.__init__`` is not private."""
    if use.name in _TYPES:
        return False
    return any(part.startswith("_") and not part.startswith("__") for part in use.name.split(".")[1:])


def _is_type(use: Use) -> bool:
    if (
        use.keys[0] == "annotation"
        or use.name in _TYPES
        or use.name.startswith(("torch.typing.", "torch.version.", "torch.nn.Module."))
    ):
        return True
    torch = tables().torch
    constants = (torch.dtype, torch.layout, torch.memory_format, float, int, str)
    return isinstance(tables().live(use.name), constants)


RULES = (
    _rule(
        "MIG101",
        FINE,
        _keys("torch"),
        "is installed beside MindSpore and stays: dsbridge works with the live objects",
        "nothing to do",
        "import torch",
    ),
    _rule(
        "MIG102",
        FINE,
        _keys("torchvision"),
        "stays for its datasets and transforms",
        "dsb.plan(loader), dsb.transforms.translate(transform)",
        "import torchvision",
    ),
    _rule(
        "MIG103",
        FINE,
        _keys("timm", "transformers"),
        "stays: its models are converted from live ones",
        "dsb.model.convert(model, inputs)",
        "import timm",
    ),
    _rule(
        "MIG104",
        ATTENTION,
        _keys(*LOOPS),
        "has the training loop inside: nothing of it goes along",
        "take model, loader, optimizer and scheduler out of it: dsb.migrate.TrainingSetup",
        "import lightning",
    ),
    _rule(
        "MIG105",
        UNSUPPORTED,
        _keys(*COMPILED),
        "brings kernels compiled for torch, which MindSpore cannot call",
        "write what it does in plain torch, or give it an entry: dsb.model.register",
        "import flash_attn",
    ),
    _rule(
        "MIG106",
        ATTENTION,
        _keys(*OTHERS),
        "is not known to dsbridge: its modules are converted like your own, the rest of it stays torch's",
        "convert the live model; keep the data side as it is",
        "import torchaudio",
    ),
    _rule(
        "MIG107",
        ATTENTION,
        tuple(f"import * {package}" for package in TORCH if package != "torch"),
        "is imported with *: which names are its own is not seen here",
        "import the names",
        "from timm.models import *",
    ),
    _rule(
        "MIG108",
        ATTENTION,
        ("builtin __import__", "importlib.import_module", "importlib.util.find_spec"),
        "imports {detail} by its name: what is done with it is not seen here",
        "import it in the usual way",
        "importlib.import_module('torch.nn')",
        _by_name,
    ),
    _rule(
        "MIG109",
        ATTENTION,
        ("torch.*",),
        "is private to torch and changes from version to version",
        "use a public name",
        "torch._C._cuda_getCurrentRawStream(0)",
        _private,
    ),
    _rule(
        "MIG110",
        FINE,
        ("annotation", "torch.*"),
        "is a type, a dtype or a constant",
        "dtypes have the same names in mindspore",
        "torch.float32",
        _is_type,
    ),
)
