"""What a value is, as far as its maker or its name says: an optimizer, a module, a tensor."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from functools import cache

OPTIMIZER, SCHEDULER, SCALER, MODULE, LOSS, TENSOR, LOADER, TRAINER, GROUP = (
    "optimizer", "scheduler", "scaler", "module", "loss", "tensor", "loader", "trainer", "group",
)  # fmt: skip

_MADE = (  # what calling a name gives; the first pattern that fits counts
    ("torch.optim.lr_scheduler.*", SCHEDULER),
    ("torch.optim.swa_utils.SWALR", SCHEDULER),
    ("torch.optim.swa_utils.AveragedModel", MODULE),
    ("torch.optim.*", OPTIMIZER),
    ("torch.amp.GradScaler", SCALER),
    ("torch.utils.data.DataLoader", LOADER),
    ("torch.nn.functional.*", TENSOR),
    ("torch.nn.utils.parametrizations.*", MODULE),
    ("torch.nn.utils.*", ""),
    ("torch.nn.init.*", TENSOR),
    ("torch.nn.Parameter", TENSOR),
    ("torch.nn.*Loss", LOSS),
    ("torch.nn.*", MODULE),
    ("torch.compile", MODULE),
    ("torch.hub.load", MODULE),
    ("torch.jit.*", MODULE),
    ("torchvision.models.*", MODULE),
    ("timm.create_model", MODULE),
    ("timm.optim.*", OPTIMIZER),
    ("timm.scheduler.*", SCHEDULER),
    ("timm.loss.*", LOSS),
    ("timm.models.*", MODULE),
    ("lightning.pytorch.LightningModule", MODULE),
    ("transformers.Auto*Model*", MODULE),
    ("transformers.*PreTrainedModel", MODULE),
    ("transformers.get_*schedule*", SCHEDULER),
    ("transformers.*Trainer", TRAINER),
    ("lightning.pytorch.Trainer", TRAINER),
    ("torch.*.*", ""),
    ("torch.Tensor", TENSOR),
    *(
        (f"torch.{name}", "")
        for name in ("load", "save", "device", "is_*", "get_*", "set_*", "*no_grad", "enable_grad", "*_mode")
    ),
    ("torch.[a-z]*", TENSOR),
)
_CALLED = tuple(
    (re.compile(pattern), kind)
    for pattern, kind in (
        (r"(?:^|_)(?:sched|scheduler|schedulers?|lr_scheduler)(?:_|\d|$)|[Ss]cheduler$", SCHEDULER),
        (r"(?:^|_)(?:optim|optimizers?|opt)(?:_|\d|[A-Z]\w*|$)|[Oo]ptimizer$", OPTIMIZER),
        (r"(?:^|_)scaler$|^grad_?scaler$", SCALER),
        (r"^(?:criterion|loss_fn|loss_func|loss_function)(?:_|\d|$)|_criterion$", LOSS),
        (r"(?:^|_)loss$|^loss(?:es)?_\w+$", TENSOR),
        (
            r"^(?:model|net|network|backbone|encoder|decoder|generator|discriminator|student|teacher|policy)(?:_?\w{1,3}|_ddp)?$",
            MODULE,
        ),
        (r"(?:^|_)(?:model|net|network)$|^net[DG]$", MODULE),
        (r"^(?:trainer)$", TRAINER),
    )
)


@cache
def made_by(name: str) -> str:
    """The kind of what a call of this name returns, "" where that is not known.

    >>> made_by("torch.optim.AdamW"), made_by("torch.nn.CrossEntropyLoss"), made_by("torch.nn.Conv2d"), made_by("torch.rand")
    ('optimizer', 'loss', 'module', 'tensor')
    """
    return next((kind for pattern, kind in _MADE if fnmatchcase(name, pattern)), "")


@cache
def called(identifier: str) -> str:
    """The kind of what people call so, "" for other names: a guess, for arguments of functions.

    >>> called("optimizer_g"), called("lr_scheduler"), called("netD"), called("x")
    ('optimizer', 'scheduler', 'module', '')
    """
    return next((kind for pattern, kind in _CALLED if pattern.search(identifier)), "")


def is_module(roots: frozenset[str]) -> bool:
    """Whether a class with these bases is a torch.nn.Module.

    >>> is_module(frozenset({"torch.nn.Module"})), is_module(frozenset({"torch.utils.data.Dataset"}))
    (True, False)
    """
    return any(made_by(root) in (MODULE, LOSS) for root in roots)


def is_data(roots: frozenset[str]) -> bool:
    """Whether a class with these bases is a dataset or a sampler.

    >>> is_data(frozenset({"torch.utils.data.Dataset"}))
    True
    """
    return any(root.startswith(("torch.utils.data.", "torchvision.datasets.")) for root in roots)
