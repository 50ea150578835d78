"""The names of one file: where they come from, and what kind of value they are."""

from __future__ import annotations

from pathlib import Path

import libcst as cst

from dsbridge.migrate.inspect import kinds
from dsbridge.migrate.inspect.canonical import canonical
from dsbridge.migrate.inspect.exports import member
from dsbridge.migrate.inspect.repository import Origin, Own, Repository
from dsbridge.migrate.inspect.scopes import CLASS, FUNCTION, IMPORT, PARAMETER, VALUE, Binding, Scope, chosen, scopes_of
from dsbridge.migrate.inspect.tables import tables

_FAR = 8  # aliases of aliases
_SAME_KIND = ("to", "cuda", "cpu", "half", "float", "bfloat16", "double", "train", "eval", "requires_grad_", "detach", "clone")


class Names:
    """Where the names of a file come from.

    >>> module = cst.parse_module("from torch import nn as layers\\nlayers.Linear")
    >>> names = Names(module, Path("a.py"), Repository(Path("/no/such/folder")))
    >>> names.origin(module.body[1].body[0].value, names.scopes[module])
    'torch.nn.Linear'
    """

    def __init__(self, module: cst.Module, file: Path, repository: Repository) -> None:
        self.scopes = scopes_of(module)
        self._file, self._repository = file, repository
        self._roots: dict[cst.ClassDef, frozenset[str]] = {}

    def origin(self, expression: cst.CSTNode, scope: Scope, far: int = _FAR) -> Origin | None:
        """Where a name with or without dots comes from; None for variables and everything that is no name."""
        path: list[str] = []
        while isinstance(expression, cst.Attribute):
            path.insert(0, expression.attr.value)
            expression = expression.value
        if not isinstance(expression, cst.Name):
            return None
        found = chosen(scope.lookup(expression.value))
        if found is None:
            return self._from_star(expression.value, path, scope)
        if found.what == IMPORT:
            return self._repository.follow(".".join([found.target, *path]), self._file)
        if found.what == CLASS and isinstance(found.node, cst.ClassDef):
            return Own() if path else Own(self.roots(found.node))
        if found.what == FUNCTION:
            return Own()
        if found.what == VALUE and isinstance(found.node, (cst.Name, cst.Attribute)) and far:
            alias = self.origin(found.node, found.scope, far - 1)
            return canonical(".".join([alias, *path])) if isinstance(alias, str) else alias
        return None

    def _from_star(self, name: str, path: list[str], scope: Scope) -> Origin | None:
        top = list(scope.outward())[-1]
        for star in top.stars:
            if star.split(".")[0] == "torch":
                if tables().exists(f"{star}.{name}"):
                    return canonical(".".join([star, name, *path]))
            elif self._repository.offers(star, name, self._file):
                return self._repository.follow(".".join([member(star, name), *path]), self._file)
        return None

    def roots(self, node: cst.ClassDef) -> frozenset[str]:
        """The classes of other packages that a class derives from, through classes of the repository."""
        if node not in self._roots:
            self._roots[node] = frozenset()  # of classes that derive from each other
            scope = self.scopes[node].parent
            assert scope is not None
            found: set[str] = set()
            for base in node.bases:
                origin = self.origin(base.value, scope)
                found |= {origin} if isinstance(origin, str) else origin.roots if origin is not None else set()
            self._roots[node] = frozenset(found)
        return self._roots[node]

    # ---- kinds

    def kind(self, expression: cst.CSTNode, scope: Scope, far: int = _FAR) -> str:
        """What an expression is ("optimizer", "module", "tensor", ...), "" where nothing says it."""
        if not far:
            return ""
        if isinstance(expression, cst.Call):
            return self._called(expression, scope, far - 1)
        if isinstance(expression, cst.Name):
            return self._agreed(scope.lookup(expression.value), far - 1) or kinds.called(expression.value)
        if isinstance(expression, cst.Attribute):
            return self._attribute(expression, scope, far - 1) or kinds.called(expression.attr.value)
        if isinstance(expression, cst.IfExp):
            return self.kind(expression.body, scope, far - 1) or self.kind(expression.orelse, scope, far - 1)
        if isinstance(expression, cst.Subscript):  # optimizers[0]
            return kinds.called(expression.value.value.removesuffix("s")) if isinstance(expression.value, cst.Name) else ""
        return ""

    def _called(self, call: cst.Call, scope: Scope, far: int) -> str:
        origin = self.origin(call.func, scope)
        if isinstance(origin, str):
            return kinds.made_by(origin)
        if isinstance(origin, Own):
            return next((kind for kind in map(kinds.made_by, sorted(origin.roots)) if kind), "")
        if isinstance(call.func, cst.Attribute) and call.func.attr.value in _SAME_KIND:
            return self.kind(call.func.value, scope, far)
        return kinds.TENSOR if self.kind(call.func, scope, far) in (kinds.MODULE, kinds.LOSS) else ""

    def _attribute(self, expression: cst.Attribute, scope: Scope, far: int) -> str:
        if not isinstance(expression.value, cst.Name):
            return ""
        method = next((one for one in scope.outward() if one.me), None)
        if method is None or method.me != expression.value.value or method.parent is None:
            return ""
        return self._agreed(method.parent.attributes.get(expression.attr.value, []), far)

    def _agreed(self, bindings: list[Binding], far: int) -> str:
        """The kind of what a name is bound to, if all that are known are of one kind."""
        found = {kind for kind in (self._bound(one, far) for one in bindings) if kind}
        return found.pop() if len(found) == 1 else ""

    def _bound(self, binding: Binding, far: int) -> str:
        node = binding.node
        if binding.what == VALUE and node is not None:
            return self.kind(node, binding.scope, far)
        if binding.what == PARAMETER:
            annotation = node.annotation if isinstance(node, cst.Param) else node
            return self._annotated(annotation, binding.scope) if isinstance(annotation, cst.Annotation) else ""
        if isinstance(node, (cst.For, cst.CompFor)) and isinstance(node.iter, cst.Attribute):
            return kinds.GROUP if node.iter.attr.value == "param_groups" else ""
        return ""

    def _annotated(self, annotation: cst.Annotation, scope: Scope) -> str:
        origin = self.origin(annotation.annotation, scope)
        names = [origin] if isinstance(origin, str) else sorted(origin.roots) if origin is not None else []
        return next((kind for kind in map(kinds.made_by, names) if kind), "")
