"""Which names mean what where: the scopes of a file and what is bound in each, as Python itself resolves names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import libcst as cst

from dsbridge.migrate.inspect.exports import member
from dsbridge.migrate.inspect.walk import below, dotted

IMPORT, VALUE, CLASS, FUNCTION, PARAMETER, OTHER = "import", "value", "class", "function", "parameter", "other"
COMPREHENSIONS = (cst.ListComp, cst.SetComp, cst.DictComp, cst.GeneratorExp)


@dataclass(eq=False, slots=True)
class Scope:
    """The names of a module, class, function, lambda or comprehension (``node``).

    ``outer``: names declared global or nonlocal. ``stars``: modules of ``from x import *``. ``attributes``, of a class: what
    its methods assign to ``self.name``. ``function``: the first argument's name, where it is a method.
    """

    node: cst.CSTNode
    parent: Scope | None = None
    bindings: dict[str, list[Binding]] = field(default_factory=dict)
    outer: set[str] = field(default_factory=set)
    stars: list[str] = field(default_factory=list)
    attributes: dict[str, list[Binding]] = field(default_factory=dict)
    me: str = ""

    def lookup(self, name: str) -> list[Binding]:
        """What binds a name as seen from here; a class's own names are not seen from its methods.

        >>> found = scopes_of(cst.parse_module("import torch\\ndef f(torch):\\n    torch"))
        >>> [[one.what for one in scope.lookup("torch")] for scope in found.values()]
        [['import'], ['parameter']]
        """
        scope: Scope | None = self
        while scope is not None:
            if name in scope.bindings and (scope is self or not isinstance(scope.node, cst.ClassDef)):
                return scope.bindings[name]
            scope = scope.parent
        return []

    def outward(self) -> Iterator[Scope]:
        """This scope and those around it."""
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.parent


@dataclass(eq=False, slots=True)
class Binding:
    """One thing a name is bound to: an import (``target``: its qualified name) or what ``node`` says, seen from ``scope``.

    ``certain``: not under an ``if`` or in a ``try``.
    """

    what: str
    scope: Scope
    node: cst.CSTNode | None = None
    target: str = ""
    certain: bool = True


def chosen(bindings: Sequence[Binding]) -> Binding | None:
    """The one that holds: the last that is certain, else an import (``try: import x; except ImportError: x = None``).

    >>> scope = next(iter(scopes_of(cst.parse_module("try:\\n    import x\\nexcept ImportError:\\n    x = None")).values()))
    >>> chosen(scope.lookup("x")).what
    'import'
    """
    certain = [one for one in bindings if one.certain]
    imports = [one for one in bindings if one.what == IMPORT]
    found = certain[-1:] or imports or bindings
    return found[0] if found else None


def scopes_of(module: cst.Module) -> dict[cst.CSTNode, Scope]:
    """The scope that each module, class, function, lambda and comprehension opens, by its node.

    >>> [type(node).__name__ for node in scopes_of(cst.parse_module("f = lambda x: [y for y in x]"))]
    ['Module', 'Lambda', 'ListComp']
    """
    builder = _Builder(module)
    for statement in module.body:
        builder.visit(statement)
    return builder.scopes


class _Builder:
    def __init__(self, module: cst.Module) -> None:
        self.scope = Scope(module)
        self.scopes: dict[cst.CSTNode, Scope] = {module: self.scope}
        self.unsure = 0

    def visit(self, node: cst.CSTNode) -> None:
        handler = getattr(self, type(node).__name__, None)
        if handler is not None:
            handler(node)
        else:
            self._below(node)

    def _below(self, node: cst.CSTNode) -> None:
        for one in below(node):
            self.visit(one)

    def _enter(self, node: cst.CSTNode, parts: Sequence[cst.CSTNode], scope: Scope) -> None:
        outside, unsure = self.scope, self.unsure
        self.scope, self.unsure = self.scopes.setdefault(node, scope), 0
        for part in parts:
            self.visit(part)
        self.scope, self.unsure = outside, unsure

    # ---- what binds

    def _bind(self, name: str, what: str, node: cst.CSTNode | None = None, target: str = "") -> None:
        scope = self.scope
        while isinstance(scope.node, COMPREHENSIONS) and what == VALUE and scope.parent is not None:  # := binds outside
            scope = scope.parent
        if name in scope.outer:
            scope = next((one for one in list(scope.outward())[1:] if name in one.bindings), list(scope.outward())[-1])
        scope.bindings.setdefault(name, []).append(Binding(what, self.scope, node, target, not self.unsure))

    def _target(self, target: cst.CSTNode, value: cst.CSTNode | None) -> None:
        """``value``: what is assigned to all of the target, None where no expression stands for it."""
        if isinstance(target, cst.Name):
            self._bind(target.value, OTHER if value is None else VALUE, value)
        elif isinstance(target, (cst.Tuple, cst.List)):
            values = value.elements if isinstance(value, (cst.Tuple, cst.List)) else ()
            paired = len(values) == len(target.elements) and not any(isinstance(one, cst.StarredElement) for one in values)
            for number, element in enumerate(target.elements):
                self._target(element.value, values[number].value if paired else None)
        elif isinstance(target, cst.Attribute) and isinstance(target.value, cst.Name):
            holder = next((one for one in self.scope.outward() if one.me), None)
            if holder is not None and holder.me == target.value.value and holder.parent is not None:
                bound = Binding(OTHER if value is None else VALUE, self.scope, value)
                holder.parent.attributes.setdefault(target.attr.value, []).append(bound)
            self.visit(target.value)
        else:
            self._below(target)

    def Import(self, node: cst.Import) -> None:
        for alias in node.names:
            name = dotted(alias.name)
            if alias.asname is not None:
                self._bind(dotted(alias.asname.name), IMPORT, node, name)
            else:
                root = name.partition(".")[0]
                self._bind(root, IMPORT, node, root)

    def ImportFrom(self, node: cst.ImportFrom) -> None:
        base = "." * len(node.relative) + dotted(node.module)
        if isinstance(node.names, cst.ImportStar):
            self.scope.stars.append(base)
            return
        for alias in node.names:
            bound = alias.asname.name if alias.asname is not None else alias.name
            self._bind(dotted(bound), IMPORT, node, member(base, dotted(alias.name)))

    LazyImport, LazyImportFrom = Import, ImportFrom

    def Assign(self, node: cst.Assign) -> None:
        self.visit(node.value)
        for one in node.targets:
            self._target(one.target, node.value)

    def AnnAssign(self, node: cst.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)
            self._target(node.target, node.value)
        elif isinstance(node.target, cst.Name):
            self._bind(node.target.value, PARAMETER, node.annotation)

    def NamedExpr(self, node: cst.NamedExpr) -> None:
        self.visit(node.value)
        self._target(node.target, node.value)

    def For(self, node: cst.For) -> None:
        self._loop(node)
        self.visit(node.body)
        if node.orelse is not None:
            self.visit(node.orelse)

    def CompFor(self, node: cst.CompFor) -> None:
        self._loop(node)
        for one in (*node.ifs, *([node.inner_for_in] if node.inner_for_in else [])):
            self.visit(one)

    def _loop(self, node: cst.For | cst.CompFor) -> None:
        self.visit(node.iter)
        if isinstance(node.target, cst.Name):
            self._bind(node.target.value, OTHER, node)
        else:
            self._target(node.target, None)

    def WithItem(self, node: cst.WithItem) -> None:
        self.visit(node.item)
        if node.asname is not None:
            self._target(node.asname.name, node.item)

    def ExceptHandler(self, node: cst.ExceptHandler) -> None:
        if node.name is not None:
            self._target(node.name.name, None)
        self.visit(node.body)

    ExceptStarHandler = ExceptHandler

    def MatchAs(self, node: cst.MatchAs) -> None:
        if node.name is not None:
            self._bind(node.name.value, OTHER)
        if node.pattern is not None:
            self.visit(node.pattern)

    def MatchStar(self, node: cst.MatchStar) -> None:
        if node.name is not None:
            self._bind(node.name.value, OTHER)

    def TypeAlias(self, node: cst.TypeAlias) -> None:
        self._bind(node.name.value, OTHER)

    def Global(self, node: cst.Global | cst.Nonlocal) -> None:
        self.scope.outer |= {item.name.value for item in node.names}

    Nonlocal = Global

    def If(self, node: cst.If) -> None:
        self.visit(node.test)
        self.unsure += 1
        self.visit(node.body)
        if node.orelse is not None:
            self.visit(node.orelse)
        self.unsure -= 1

    def Try(self, node: cst.Try | cst.TryStar) -> None:
        self.unsure += 1
        self._below(node)
        self.unsure -= 1

    TryStar = Try

    # ---- what opens a scope

    def FunctionDef(self, node: cst.FunctionDef) -> None:
        self._bind(node.name.value, FUNCTION, node)
        for one in (*node.decorators, *_outside(node.params)):
            self.visit(one)
        method = isinstance(self.scope.node, cst.ClassDef) and node.params.params
        scope = Scope(node, self.scope, me=node.params.params[0].name.value if method else "")
        self._enter(node, [node.params, node.body], scope)

    def Lambda(self, node: cst.Lambda) -> None:
        for one in _outside(node.params):
            self.visit(one)
        self._enter(node, [node.params, node.body], Scope(node, self.scope))

    def Parameters(self, node: cst.Parameters) -> None:
        for one in parameters(node):
            self._bind(one.name.value, PARAMETER, one)

    def ClassDef(self, node: cst.ClassDef) -> None:
        self._bind(node.name.value, CLASS, node)
        for one in (*node.decorators, *node.bases, *node.keywords):
            self.visit(one)
        self._enter(node, [node.body], Scope(node, self.scope))

    def ListComp(self, node: cst.ListComp | cst.SetComp | cst.DictComp | cst.GeneratorExp) -> None:
        parts = (node.key, node.value) if isinstance(node, cst.DictComp) else (node.elt,)
        self._enter(node, [node.for_in, *parts], Scope(node, self.scope))

    SetComp = DictComp = GeneratorExp = ListComp


def parameters(node: cst.Parameters) -> list[cst.Param]:
    """All parameters, in order.

    >>> [one.name.value for one in parameters(cst.parse_expression("lambda a, /, b, *c, d=1, **e: 0").params)]
    ['a', 'b', 'c', 'd', 'e']
    """
    found = [*node.posonly_params, *node.params, node.star_arg, *node.kwonly_params, node.star_kwarg]
    return [one for one in found if isinstance(one, cst.Param)]


def _outside(node: cst.Parameters) -> list[cst.CSTNode]:
    return [one.default for one in parameters(node) if one.default is not None]
