"""One name for what has several: where a class is defined, and where it is usually imported from."""

from __future__ import annotations

import re
from functools import cache

_ALIASES = (  # the first that fits is replaced, then the rest are tried on what comes out
    (r"^torch\.nn\.modules\.(\w+\.)?(?=[A-Z])", "torch.nn."),
    (r"^torch\.nn\.parameter\.", "torch.nn."),
    (r"^torch\.nn\.parallel\.(?:distributed|data_parallel)\.", "torch.nn.parallel."),
    (r"^torch\.nn\.DataParallel$", "torch.nn.parallel.DataParallel"),
    (r"^torch\.nn\.utils\.clip_grad\.", "torch.nn.utils."),
    (r"^torch\.optim\.(?!lr_scheduler|swa_utils)[a-z]\w*\.(?=[A-Z])", "torch.optim."),
    (r"^torch\.utils\.data\.(?:dataloader|dataset|sampler|distributed)\.", "torch.utils.data."),
    (r"^torch\.(?:cuda|cpu)\.amp\.(?:autocast_mode\.|grad_scaler\.)?", "torch.amp."),
    (r"^torch\.amp\.(?:autocast_mode|grad_scaler)\.", "torch.amp."),
    (r"^torch\.autocast$", "torch.amp.autocast"),
    (r"^torch\.autograd\.(?:grad_mode\.)?(?=(?:no_grad|enable_grad|set_grad_enabled|inference_mode)$)", "torch."),
    (r"^torch\.autograd\.(?:function\.Function)$", "torch.autograd.Function"),
    (r"^torch\.(?:functional|_tensor|autograd\.variable|random)\.", "torch."),
    (r"^torch\.distributed\.distributed_c10d\.", "torch.distributed."),
    (r"^torchvision\.transforms\.(?:transforms|autoaugment)\.", "torchvision.transforms."),
    (r"^torchvision\.transforms\.v2\._\w+\.", "torchvision.transforms.v2."),
    (r"^(?:pytorch_lightning|lightning_lite)(?=\.|$)", "lightning.pytorch"),
    (r"^lightning\.(?!pytorch\b|fabric\b)", "lightning.pytorch."),
    (r"^lightning\.pytorch\.core\.(?:\w+\.)?", "lightning.pytorch."),
    (r"^torchvision\.ops\.\w+\.(?=[A-Z])", "torchvision.ops."),
    (r"^timm\.(?:models\.)?layers\.(?:\w+\.)?(?=[A-Z])", "timm.layers."),
    (r"^numpy\.random\.mtrand\.", "numpy.random."),
)
_COMPILED = tuple((re.compile(pattern), name) for pattern, name in _ALIASES)


@cache
def canonical(name: str) -> str:
    """The name that rules use for a qualified name.

    >>> canonical("torch.nn.modules.conv.Conv2d"), canonical("torch.optim.adamw.AdamW"), canonical("torch.cuda.amp.GradScaler")
    ('torch.nn.Conv2d', 'torch.optim.AdamW', 'torch.amp.GradScaler')
    """
    for pattern, replacement in _COMPILED:
        name = pattern.sub(replacement, name)
    return name


def prefixes(name: str) -> tuple[str, ...]:
    """A name and what stands for all names around it, the nearest first.

    >>> prefixes("torch.nn.Linear")
    ('torch.nn.Linear', 'torch.nn.*', 'torch.*')
    """
    parts = name.split(".")
    return (name, *(".".join([*parts[:count], "*"]) for count in range(len(parts) - 1, 0, -1)))
