"""torchvision's transforms, by the table of dsb.transforms; what else changes samples."""

from __future__ import annotations

from functools import partial

import libcst as cst

from dsbridge.migrate.inspect.rules.rule import ATTENTION, FINE, Rule
from dsbridge.migrate.inspect.tables import transforms
from dsbridge.migrate.inspect.use import Use
from dsbridge.migrate.inspect.walk import dotted

_rule = partial(Rule, family="transforms", page="guide/transforms.md")
_ON = ("torchvision.transforms.*", "torchvision.transforms.v2.*")


def _known(use: Use) -> bool:
    return transforms().get(use.name) == ""


def _other(use: Use) -> str | bool:
    """Why the original runs; functions and modules are other rules'."""
    if not use.name.rpartition(".")[2][:1].isupper():
        return False
    return transforms().get(use.name) or "there is no operation for it"


def _of_weights(use: Use) -> bool:
    """A method of something called weights, or of a member of a class of weights."""
    if use.name.startswith("torchvision."):
        return "Weights." in use.name and use.name.endswith(".transforms")
    owner = use.call.func.value if use.call is not None and isinstance(use.call.func, cst.Attribute) else None
    return owner is not None and "weights" in dotted(owner).lower()


RULES = (
    _rule(
        "MIG253",
        FINE,
        ("torchvision.transforms.v2.MixUp", "torchvision.transforms.v2.CutMix"),
        "mixes batches",
        "dsb.transforms.translate(mix).per_batch_map, in ds.batch(per_batch_map=...)",
        "v2.MixUp(num_classes=10)",
    ),
    _rule(
        "MIG254",
        ATTENTION,
        ("torchvision.transforms.functional.*", "torchvision.transforms.v2.functional.*"),
        "is called by code of yours, which runs as it is: exact, one thread at a time",
        "register an operation for the class that calls it: dsb.transforms.register",
        "torchvision.transforms.functional.hflip(image)",
    ),
    _rule(
        "MIG258",
        FINE,
        ("torchvision.transforms.InterpolationMode", "torchvision.transforms.InterpolationMode.*", "torchvision.tv_tensors.*"),
        "is understood: boxes and masks move along",
        "dsb.transforms.translate(transform)",
        "transforms.InterpolationMode.BICUBIC",
    ),
    _rule(
        "MIG257",
        ATTENTION,
        ("class torchvision.transforms.*", "class torchvision.transforms.v2.*"),
        "is derived from: a class of yours is never guessed, the original runs",
        "dsb.transforms.register(name, read=...)",
        "class Mine(v2.Transform): pass",
    ),
    _rule(
        "MIG251",
        FINE,
        _ON,
        "is in the table: kernels proven bit-equal, or MindSpore's own",
        "dsb.transforms.translate(transform)",
        "transforms.RandomHorizontalFlip()",
        _known,
        page="reference/transforms.md",
    ),
    _rule(
        "MIG252",
        ATTENTION,
        _ON,
        "runs as the original, one thread at a time: {detail}",
        "dsb.transforms.translate(transform), or register an operation",
        "transforms.Lambda(f)",
        _other,
        page="reference/transforms.md",
    ),
    _rule(
        "MIG255",
        ATTENTION,
        ("albumentations.*", "kornia.augmentation.*", "imgaug.*", "torchaudio.transforms.*"),
        "runs as it is, inside your dataset: exact, in Python",
        "leave it in the dataset",
        "albumentations.HorizontalFlip()",
    ),
    _rule(
        "MIG256",
        ATTENTION,
        ("torchvision.io.*",),
        "decodes with torchvision's own codecs: it runs as it is, in the dataset",
        "leave it in the dataset, or decode with Pillow",
        "torchvision.io.read_image('a.png')",
    ),
    _rule(
        "MIG259",
        FINE,
        (".transforms()", "torchvision.models.*"),
        "gives a preset of a model's weights, which is read into its operations",
        "dsb.transforms.translate(weights.transforms())",
        "ResNet50_Weights.DEFAULT.transforms()",
        _of_weights,
    ),
)
