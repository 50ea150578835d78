"""Whether an expression in forward is a tensor, and whether Python looks at its values."""

from __future__ import annotations

import libcst as cst

from dsbridge.migrate.inspect import kinds
from dsbridge.migrate.inspect.resolve import Names
from dsbridge.migrate.inspect.scopes import PARAMETER, VALUE, Binding, Scope
from dsbridge.migrate.inspect.tables import tables
from dsbridge.migrate.inspect.walk import text_of

_BOOLEAN = ("any", "all", "item")  # of whatever: nobody asks this of anything but arrays
_REDUCING = ("sum", "mean", "max", "min", "norm", "isnan", "isinf", "isfinite", "argmax", "argmin")  # of unknown variables
_PYTHONS = ("bool", "float", "int", "max", "min", "sum", "any", "all", "abs")
_KEEPING = ("T", "mT", "data", "grad", "real", "imag")  # attributes that are tensors
_RELATIONS = (cst.GreaterThan, cst.LessThan, cst.GreaterThanEqual, cst.LessThanEqual, cst.Equal, cst.NotEqual)


class Values:
    """What is a tensor among the expressions of a forward, as far as one sees; in doubt it is none.

    >>> from pathlib import Path
    >>> from dsbridge.migrate.inspect.repository import Repository
    >>> module = cst.parse_module("import torch\\nx = torch.rand(3)\\nx.sum() > 0\\nx.shape[0] > 1")
    >>> names = Names(module, Path("a.py"), Repository(Path("/no/such/folder")))
    >>> [Values(names).is_tensor(one.body[0].value, names.scopes[module]) for one in module.body[2:]]
    [True, False]
    """

    def __init__(self, names: Names) -> None:
        self._names = names
        self._asked: set[tuple[str, Scope]] = set()

    def is_tensor(self, node: cst.CSTNode, scope: Scope) -> bool:
        """Whether an expression is a tensor; where Python asks for its truth, its values decide."""
        handler = getattr(self, f"_{type(node).__name__}", None)
        return bool(handler is not None and handler(node, scope))

    def is_mask(self, index: cst.CSTNode, scope: Scope) -> bool:
        """Whether an index is a comparison of tensors, or made of such."""
        if isinstance(index, cst.Name):
            bound = [one for one in scope.lookup(index.value) if one.what == VALUE]
            return bool(bound) and all(
                isinstance(one.node, cst.Comparison) and self.is_mask(one.node, one.scope) for one in bound
            )
        if isinstance(index, cst.UnaryOperation) and isinstance(index.operator, cst.BitInvert):
            return self.is_mask(index.expression, scope)
        if isinstance(index, cst.BinaryOperation) and isinstance(index.operator, (cst.BitAnd, cst.BitOr)):
            return self.is_mask(index.left, scope) and self.is_mask(index.right, scope)
        return isinstance(index, cst.Comparison) and self.is_tensor(index, scope)

    def _any(self, scope: Scope, *nodes: cst.CSTNode) -> bool:
        return any(self.is_tensor(one, scope) for one in nodes)

    def _Call(self, node: cst.Call, scope: Scope) -> bool:
        origin = self._names.origin(node.func, scope)
        if isinstance(origin, str):
            known = tables()
            return known.function(origin) is not None and known.short_name(known.live(origin)) not in known.asking
        if isinstance(node.func, cst.Attribute):
            return self._method(node.func, scope)
        python = isinstance(node.func, cst.Name) and node.func.value in _PYTHONS and not scope.lookup(node.func.value)
        return python and self._any(scope, *(one.value for one in node.args))

    def _method(self, func: cst.Attribute, scope: Scope) -> bool:
        name = func.attr.value
        if self.is_tensor(func.value, scope):
            return name not in tables().asking
        return name in _BOOLEAN or (name in _REDUCING and isinstance(func.value, cst.Name) and self._is_open(func.value, scope))

    def _is_open(self, node: cst.Name, scope: Scope) -> bool:
        """Whether a name may stand for anything: an argument, or what was made of others."""
        if self._names.origin(node, scope) is not None or self._names.kind(node, scope) not in ("", kinds.TENSOR):
            return False
        made = (cst.Call, cst.Subscript, cst.BinaryOperation)
        return all(one.what != VALUE or isinstance(one.node, made) for one in scope.lookup(node.value))

    def _Attribute(self, node: cst.Attribute, scope: Scope) -> bool:
        return node.attr.value in _KEEPING and self.is_tensor(node.value, scope)

    def _Subscript(self, node: cst.Subscript, scope: Scope) -> bool:
        return self.is_tensor(node.value, scope)

    def _BinaryOperation(self, node: cst.BinaryOperation, scope: Scope) -> bool:
        return self._any(scope, node.left, node.right)

    def _UnaryOperation(self, node: cst.UnaryOperation, scope: Scope) -> bool:
        return self.is_tensor(node.expression, scope)

    _BooleanOperation = _BinaryOperation

    def _Comparison(self, node: cst.Comparison, scope: Scope) -> bool:
        sides = (node.left, *(one.comparator for one in node.comparisons))
        relations = all(isinstance(one.operator, _RELATIONS) for one in node.comparisons)
        return relations and all(text_of(one) is None for one in sides) and self._any(scope, *sides)

    def _Name(self, node: cst.Name, scope: Scope) -> bool:
        key = (node.value, scope)
        if key in self._asked:  # x = x + 1 is what x is
            return True
        self._asked.add(key)
        bound = scope.lookup(node.value)
        found = bool(bound) and all(self._bound(one) for one in bound)
        self._asked.discard(key)
        return found

    def _bound(self, one: Binding) -> bool:
        if one.what == VALUE and one.node is not None:
            return self._names.kind(one.node, one.scope) == kinds.TENSOR or self.is_tensor(one.node, one.scope)
        if one.what != PARAMETER or not isinstance(one.node, cst.Param) or one.node.default is not None:
            return False
        if one.node.annotation is not None:
            return self._names.origin(one.node.annotation.annotation, one.scope) == "torch.Tensor"
        function = one.scope.node
        return (
            isinstance(function, cst.FunctionDef)
            and function.name.value == "forward"
            and one.node in function.params.params[1:2]
        )
