"""Mixed precision."""

from __future__ import annotations

from functools import partial

from dsbridge.migrate.inspect import kinds
from dsbridge.migrate.inspect.rules.conditions import forward, receiver
from dsbridge.migrate.inspect.rules.rule import ATTENTION, FINE, UNSUPPORTED, Rule

_rule = partial(Rule, family="mixed precision", page="guide/checkpoints.md")

RULES = (
    _rule(
        "MIG652",
        UNSUPPORTED,
        ("torch.amp.autocast", "torch.amp.custom_fwd", "torch.amp.custom_bwd"),
        "inside of a model cannot be recorded",
        "put it around the call of the model",
        "class Net(nn.Module):\n    def forward(self, x):\n        with torch.autocast('cuda'): return x",
        forward,
    ),
    _rule(
        "MIG651",
        ATTENTION,
        ("torch.amp.*",),
        "chooses dtypes by operation; MindSpore's levels choose otherwise, and bfloat16 does not run on its CPU",
        'mindspore.amp.auto_mixed_precision(network, "O1" or "O2"), and compare losses',
        "torch.autocast('cuda')",
    ),
    _rule(
        "MIG653",
        FINE,
        ("torch.amp.GradScaler", "<scaler>.scale()", "<scaler>.unscale_()", "<scaler>.update()", "<scaler>.step()"),
        "becomes a DynamicLossScaler",
        "dsb.checkpoint.convert_scaler(scaler)",
        "torch.amp.GradScaler()",
    ),
    _rule(
        "MIG654",
        ATTENTION,
        (".half()", ".bfloat16()"),
        "of a model: models are converted in float32",
        "convert first, then cell.to_float(mindspore.float16)",
        "model.half()",
        receiver(kinds.MODULE),
        page="guide/models.md",
    ),
    _rule(
        "MIG655",
        ATTENTION,
        ("torch.bfloat16",),
        "is kept in checkpoints; MindSpore's CPU computes little in it",
        "float32 on the CPU",
        "torch.bfloat16",
        page="compat.md",
    ),
    _rule(
        "MIG656",
        FINE,
        ("torch.set_float32_matmul_precision", "torch.backends.cuda.matmul.*", "torch.backends.cudnn.allow_tf32"),
        "is about torch's GPU kernels",
        "leave it out",
        "torch.set_float32_matmul_precision('high')",
    ),
    _rule(
        "MIG657",
        ATTENTION,
        ("torch.set_default_dtype", "torch.set_default_tensor_type", "torch.get_default_dtype"),
        "changes what tensors are made of: sources and loaders keep their dtypes",
        "say the dtype where tensors are made",
        "torch.set_default_dtype(torch.float64)",
        page="guide/wrap.md",
    ),
    _rule(
        "MIG658",
        UNSUPPORTED,
        ("apex.amp.*", "apex.fp16_utils.*"),
        "patches torch's functions",
        "torch.amp",
        "apex.amp.initialize(model)",
    ),
)
