"""A forward recorded in train and in eval mode: one body where only values differ, else two."""

from __future__ import annotations

from typing import Any

from dsbridge.model.code import code
from dsbridge.model.frames import Frame
from dsbridge.model.nodes import Node

TRAINING = "self.training"


def merged(train: Frame, evaluated: Frame) -> bool:
    """Whether both did the same; values that differ are written into ``train`` as ``a if self.training else b``."""
    if list(train.arguments) != list(evaluated.arguments) or len(train.nodes) != len(evaluated.nodes):
        return False
    alike = _Alike(train, evaluated)
    if not all(map(alike.nodes, train.nodes, evaluated.nodes)) or not alike.values(train.outputs, evaluated.outputs):
        return False
    for node, args, kwargs in alike.switched:
        node.args, node.kwargs = args, kwargs
    return True


class _Alike:
    def __init__(self, train: Frame, evaluated: Frame) -> None:
        self._partner = {id(a): b for a, b in zip(train.arguments.values(), evaluated.arguments.values(), strict=True)}
        self.switched: list[tuple[Node, Any, Any]] = []

    def nodes(self, a: Node, b: Node) -> bool:
        if id(a) in self._partner:
            return self._partner[id(a)] is b
        if (a.op, a.target, a.shape, a.dtype) != (b.op, b.target, b.shape, b.dtype):
            return False
        self._partner[id(a)] = b
        if not self.values(a.args, b.args) or not self.values(a.kwargs, b.kwargs):
            return False
        args, kwargs = switched(a.args, b.args), switched(a.kwargs, b.kwargs)
        self.switched.append((a, args, kwargs))
        return True

    def values(self, a: Any, b: Any) -> bool:
        if isinstance(a, Node) or isinstance(b, Node):
            return isinstance(a, Node) and isinstance(b, Node) and self.nodes(a, b)
        if isinstance(a, dict):
            return isinstance(b, dict) and a.keys() == b.keys() and all(self.values(a[key], b[key]) for key in a)
        if isinstance(a, (tuple, list)):
            return type(a) is type(b) and len(a) == len(b) and all(map(self.values, a, b))
        if isinstance(a, slice):
            return isinstance(b, slice) and self.values((a.start, a.stop, a.step), (b.start, b.stop, b.step))
        return type(a) is type(b) and (a is None) == (b is None)


def switched(a: Any, b: Any) -> Any:
    """The value of train mode, with what differs in eval mode as an expression of ``self.training``.

    >>> switched((1, True, 0.5), (1, False, 0.0))
    (1, self.training, 0.5 if self.training else 0.0)
    """
    if isinstance(a, Node):
        return a
    if isinstance(a, dict):
        return {key: switched(a[key], b[key]) for key in a}
    if isinstance(a, (tuple, list)):
        return type(a)(map(switched, a, b))
    if isinstance(a, slice) or a == b:
        return a
    if a is True and b is False:
        return code(TRAINING)
    return code(f"a if {TRAINING} else b", a=a, b=b)
