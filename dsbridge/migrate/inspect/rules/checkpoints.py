"""What is saved and loaded."""

from __future__ import annotations

from functools import partial

import libcst as cst

from dsbridge.migrate.inspect import kinds
from dsbridge.migrate.inspect.rules.conditions import false
from dsbridge.migrate.inspect.rules.rule import ATTENTION, FINE, Rule
from dsbridge.migrate.inspect.use import Use

_rule = partial(Rule, family="checkpoints", page="guide/checkpoints.md")


def _whole(use: Use) -> bool:
    """A module, not its state."""
    given = use.argument("obj", 0)
    return isinstance(given, (cst.Name, cst.Attribute)) and use.kind(given) == kinds.MODULE


RULES = (
    _rule(
        "MIG802",
        ATTENTION,
        ("torch.save",),
        "pickles a whole model: its classes are needed to read it",
        "torch.save(model.state_dict(), path)",
        "torch.save(model, 'a.pth')",
        _whole,
    ),
    _rule(
        "MIG801",
        FINE,
        ("torch.save", "safetensors.torch.*"),
        "writes what dsbridge reads, tensor by tensor, without running anything",
        "dsb.checkpoint.convert(path, 'model.ckpt', model=, network=)",
        "torch.save(model.state_dict(), 'a.pth')",
    ),
    _rule("MIG803", FINE, ("torch.load",), "has a counterpart", "dsb.checkpoint.load(path, network)", "torch.load('a.pth')"),
    _rule(
        "MIG804",
        ATTENTION,
        ("torch.load(weights_only)",),
        "=False runs what the file says; dsbridge never does: unknown classes are named",
        "dsbridge inspect path shows what is in it",
        "torch.load('a.pth', weights_only=False)",
        false,
    ),
    _rule(
        "MIG805",
        FINE,
        (".state_dict()", ".load_state_dict()"),
        "goes along: weights, optimizer, scheduler, scaler",
        "dsb.checkpoint.convert, convert_optimizer, convert_scheduler, convert_scaler",
        "model.load_state_dict(state)",
    ),
    _rule(
        "MIG806",
        ATTENTION,
        (".load_state_dict(strict)",),
        "=False leaves out what does not fit; dsb.checkpoint.load is strict",
        "say which by rules: dsb.checkpoint.plan(..., rules=)",
        "model.load_state_dict(state, strict=False)",
        false,
    ),
    _rule(
        "MIG807",
        ATTENTION,
        ("torch.hub.*", "torchvision.models.utils.*"),
        "loads code or weights from the network",
        "load once in torch, then dsb.model.convert(model, inputs)",
        "torch.hub.load('a/b', 'c')",
    ),
    _rule(
        "MIG808",
        FINE,
        ("torch.distributed.checkpoint.*",),
        "writes sharded checkpoints, which dsbridge reads whole",
        "dsb.checkpoint.convert(folder, 'model.ckpt', ...)",
        "torch.distributed.checkpoint.save({})",
    ),
    _rule(
        "MIG809",
        ATTENTION,
        (".load_from_checkpoint()", ".save_checkpoint()", "<trainer>.fit(ckpt_path)"),
        "is a trainer's own: its files are torch's with the trainer's state beside",
        "dsb.checkpoint.convert reads the tensors",
        "Net.load_from_checkpoint('a.ckpt')",
    ),
)
