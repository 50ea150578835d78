"""What forward decides by values: a recording sees one side of it only."""

from __future__ import annotations

from functools import partial

import libcst as cst

from dsbridge.migrate.inspect import kinds
from dsbridge.migrate.inspect.rules.conditions import forward
from dsbridge.migrate.inspect.rules.rule import ATTENTION, UNSUPPORTED, Rule
from dsbridge.migrate.inspect.scopes import PARAMETER, VALUE
from dsbridge.migrate.inspect.use import Use
from dsbridge.migrate.inspect.values import Values
from dsbridge.migrate.inspect.walk import text_of, within

_rule = partial(Rule, family="control flow", page="guide/models.md")
_FORWARD = "class Net(nn.Module):\n    def forward(self, x):\n        "
_FINITE = ("torch.isnan", "torch.isinf", "torch.isfinite")
_BY_VALUE = ("nonzero", "masked_select", "unique", "unique_consecutive", "argwhere", "bincount", "histc")


def _on_values(use: Use) -> bool:
    return forward(use) and use.value is not None and Values(use.names).is_tensor(use.value, use.inside.scope)


def _reading(use: Use) -> bool:
    """Reading outside of a condition, which has a rule of its own."""
    return forward(use) and not use.inside.test


def _number(use: Use) -> bool:
    """``int(x)``, ``float(x)``, ``bool(x)`` of a tensor; of ``x.item()`` the other rule says it."""
    given = use.call.args[0].value if use.call is not None and use.call.args else None
    item = isinstance(given, cst.Call) and isinstance(given.func, cst.Attribute) and given.func.attr.value == "item"
    return _reading(use) and given is not None and not item and Values(use.names).is_tensor(given, use.inside.scope)


def _masked(use: Use) -> bool:
    return use.value is not None and Values(use.names).is_mask(use.value, use.inside.scope)


def _one_argument(use: Use) -> bool:
    return forward(use) and use.call is not None and len(use.call.args) == 1


def _by_loss(use: Use) -> bool:
    """A condition outside of models on what ``.item()`` gives, or on whether a tensor is finite."""
    if forward(use) or use.value is None:
        return False
    called = [one.func for one in within(use.value) if isinstance(one, cst.Call)]
    items = (one.value for one in called if isinstance(one, cst.Attribute) and one.attr.value == "item")
    return any(use.kind(one) in ("", kinds.TENSOR) for one in items) or any(use.origin(one) in _FINITE for one in called)


def _of_others(use: Use) -> bool:
    """Of an argument, or of what a module returns; what forward makes itself may be written to, and so may dicts."""
    if not isinstance(use.node, cst.Subscript) or any(text_of(one) is not None for one in within(use.node)):
        return False
    bound = use.inside.scope.lookup(use.value.value) if isinstance(use.value, cst.Name) else []
    made = [one.node for one in bound if one.what == VALUE]
    if not made:
        return any(one.what == PARAMETER for one in bound)
    last = made[-1]
    return isinstance(last, cst.Call) and use.kind(last.func) == kinds.MODULE


RULES = (
    _rule(
        "MIG351",
        UNSUPPORTED,
        ("condition",),
        "depends on a tensor's values: only one side of it would be recorded",
        "torch.where, or decide outside of the model",
        f"{_FORWARD}return x if x.sum() > 0 else -x",
        _on_values,
    ),
    _rule(
        "MIG352",
        UNSUPPORTED,
        (".item()", ".tolist()", ".numpy()", "torch.equal", "torch.allclose"),
        "makes Python look at a tensor's values, which are others for other inputs",
        "stay with tensors, or compute it outside",
        f"{_FORWARD}return x * x.max().item()",
        _reading,
    ),
    _rule(
        "MIG353",
        UNSUPPORTED,
        ("builtin int", "builtin float", "builtin bool"),
        "of a tensor makes Python look at its values",
        "stay with tensors, or compute it outside",
        f"{_FORWARD}return x * float(x.sum())",
        _number,
    ),
    _rule(
        "MIG354",
        UNSUPPORTED,
        (*(f"torch.{name}" for name in _BY_VALUE), *(f".{name}()" for name in _BY_VALUE)),
        "has a shape that depends on values",
        "torch.where with a mask, which keeps the shape",
        f"{_FORWARD}return torch.nonzero(x)",
        forward,
    ),
    _rule(
        "MIG355",
        UNSUPPORTED,
        ("[]",),
        "with a mask has a shape that depends on values",
        "torch.where, or multiply by the mask",
        f"{_FORWARD}return x[x > 0]",
        _masked,
    ),
    _rule(
        "MIG356",
        UNSUPPORTED,
        ("torch.where",),
        "with one argument has a shape that depends on values",
        "torch.where with three",
        f"{_FORWARD}return torch.where(x > 0)",
        _one_argument,
    ),
    _rule(
        "MIG357",
        UNSUPPORTED,
        ("random.*", "numpy.random.*"),
        "in forward is drawn once, when the model is recorded, and stays that number",
        "torch.rand(()), which stays random; or draw outside and pass it in",
        f"{_FORWARD}return x * random.random()",
        forward,
    ),
    _rule(
        "MIG358",
        ATTENTION,
        ("self.* =",),
        "in forward outlives the call: converted where each call sets it before it reads it, refused otherwise, buffers too",
        "a variable; or pass it in and return it, or keep it in the training loop",
        f"{_FORWARD}self.last = x\n        return x",
    ),
    _rule(
        "MIG359",
        ATTENTION,
        ("condition",),
        "depends on a loss or another number of the training: a loop that does this is written by hand",
        "look at it when you write the loop",
        "if loss.item() > 10: stop()",
        _by_loss,
        page="guide/migrating.md",
    ),
    _rule(
        "MIG360",
        UNSUPPORTED,
        ("[] =",),
        "writes into an argument, or into what a module returned",
        "write into a copy: x = x.clone()",
        f"{_FORWARD}x[:, 0] = 0\n        return x",
        _of_others,
    ),
    _rule(
        "MIG361",
        UNSUPPORTED,
        ("self.* +=",),
        "in forward goes on from the call before: a recording is one call, and what the next would find changed is refused",
        "pass it in and return it, or keep it in the training loop",
        f"{_FORWARD}self.calls += 1\n        return x",
    ),
)
