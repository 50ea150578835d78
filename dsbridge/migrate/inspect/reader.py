"""Walks a file and notes each place that a rule may be about, with what is around it."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import replace

import libcst as cst

from dsbridge.migrate.inspect import kinds
from dsbridge.migrate.inspect.canonical import prefixes
from dsbridge.migrate.inspect.resolve import Names
from dsbridge.migrate.inspect.scopes import parameters
from dsbridge.migrate.inspect.use import Inside, Use
from dsbridge.migrate.inspect.walk import below, dotted, text_of, within

_ENVIRONMENT = ("os.environ.get", "os.getenv", "os.environ.pop", "os.environ.setdefault")
_DATA = ("collate", "worker_init")


def uses(module: cst.Module, names: Names, known: Container[str]) -> list[Use]:
    """The uses in a file whose keys are ``known``, in the order of the syntax tree.

    >>> from pathlib import Path
    >>> from dsbridge.migrate.inspect.repository import Repository
    >>> module = cst.parse_module("import torch\\ntorch.save({}, 'a.pt')")
    >>> names = Names(module, Path("a.py"), Repository(Path("/no/such/folder")))
    >>> [one.name for one in uses(module, names, {"import torch", "torch.save"})]
    ['torch', 'torch.save']
    """
    reader = _Reader(names, known, Inside(names.scopes[module]))
    for statement in module.body:
        reader.visit(statement)
    return reader.found


class _Reader:
    def __init__(self, names: Names, known: Container[str], inside: Inside) -> None:
        self.names, self.known, self.inside = names, known, inside
        self.found: list[Use] = []
        self._ifs = 0

    def visit(self, node: cst.CSTNode | None) -> None:
        if node is None:
            return
        handler = getattr(self, type(node).__name__, None)
        if handler is not None:
            handler(node)
        else:
            for one in below(node):
                self.visit(one)

    def _within(self, inside: Inside, *nodes: cst.CSTNode | None) -> None:
        outside, self.inside = self.inside, inside
        for node in nodes:
            self.visit(node)
        self.inside = outside

    def _emit(
        self, keys: tuple[str, ...], name: str, node: cst.CSTNode, call: cst.Call | None = None,
        value: cst.CSTNode | None = None,
    ) -> None:  # fmt: skip
        keys = tuple(key for key in keys if key in self.known)
        if keys:
            self.found.append(Use(keys, name, node, self.inside, self.names, call, value))

    # ---- imports

    def Import(self, node: cst.Import) -> None:
        for alias in node.names:
            name = dotted(alias.name)
            self._emit(_imports(name), name, alias)

    def ImportFrom(self, node: cst.ImportFrom) -> None:
        name = dotted(node.module)
        if name and not node.relative:
            star = ("import *",) if isinstance(node.names, cst.ImportStar) else ()
            self._emit((*(f"{one} {name.partition('.')[0]}" for one in star), *_imports(name)), name, node)

    LazyImport, LazyImportFrom = Import, ImportFrom

    # ---- names, methods, arguments

    def Name(self, node: cst.Name) -> None:
        self._name(node, None)

    def Attribute(self, node: cst.Attribute) -> None:
        if not self._name(node, None):
            self._emit((f".{node.attr.value}",), f".{node.attr.value}", node)
            self.visit(node.value)

    def _name(self, node: cst.CSTNode, call: cst.Call | None) -> bool:
        """Note a name of another package; whether it is one."""
        origin = self.names.origin(node, self.inside.scope)
        if not isinstance(origin, str):
            return origin is not None
        if self.inside.annotation:
            self._emit(("annotation",) if origin.startswith("torch.") else (), origin, node)
            return True
        self._emit(prefixes(origin), origin, node, call)
        if call is not None:
            self._arguments((origin,), origin, call)
            if origin in _ENVIRONMENT and call.args:
                self._environment(call, call.args[0].value)
        return True

    def Call(self, node: cst.Call) -> None:
        if not self._name(node.func, node):
            if isinstance(node.func, cst.Attribute):
                self._method(node, node.func)
            elif isinstance(node.func, cst.Name) and not self.inside.scope.lookup(node.func.value):
                self._emit((f"builtin {node.func.value}",), f"{node.func.value}()", node, node)
            else:
                self.visit(node.func)
        for one in node.args:
            self.visit(one.value)

    def _method(self, node: cst.Call, func: cst.Attribute) -> None:
        name = func.attr.value
        kind = self.names.kind(func.value, self.inside.scope)
        owners = (f"<{kind}>.{name}", f".{name}") if kind else (f".{name}",)
        anything = (".*()",) if self.inside.forward else ()
        self._emit((*(f"{owner}()" for owner in owners), *anything), f".{name}()", func.attr, node)
        self._arguments(owners, f".{name}", node)
        self.visit(func.value)

    def _arguments(self, owners: tuple[str, ...], name: str, call: cst.Call) -> None:
        for one in call.args:
            if one.keyword is not None:
                word = one.keyword.value
                self._emit(tuple(f"{owner}({word})" for owner in owners), f"{name}({word}=)", one, call, one.value)

    def _environment(self, node: cst.CSTNode, key: cst.CSTNode) -> None:
        variable = text_of(key)
        if variable:
            self._emit((f"environment {variable}",), variable, node)

    def Subscript(self, node: cst.Subscript) -> None:
        inner = node.slice[0].slice if len(node.slice) == 1 else None
        if isinstance(inner, cst.Index):
            if self.names.origin(node.value, self.inside.scope) == "os.environ":
                self._environment(node, inner.value)
            elif self.inside.forward and not self.inside.annotation:
                self._emit(("[]",), "indexing", node, value=inner.value)
        for one in below(node):
            self.visit(one)

    def Annotation(self, node: cst.Annotation) -> None:
        self._within(replace(self.inside, annotation=True), node.annotation)

    # ---- assignments

    def Assign(self, node: cst.Assign) -> None:
        for one in node.targets:
            self._target(one.target, node.value)
        if not self._is_alias(node):
            self.visit(node.value)

    def _is_alias(self, node: cst.Assign) -> bool:
        """``F = torch.nn.functional``: what the new name is used for is noted there."""
        names = [one.target for one in node.targets]
        origins = {self.names.origin(one, self.inside.scope) for one in (*names, node.value)}
        return all(isinstance(one, cst.Name) for one in names) and len(origins) == 1 and isinstance(origins.pop(), str)

    def AugAssign(self, node: cst.AugAssign) -> None:
        self._target(node.target, node.value, reads=True)
        self.visit(node.value)

    def AnnAssign(self, node: cst.AnnAssign) -> None:
        self._target(node.target, node.value)
        self.visit(node.annotation)
        self.visit(node.value)

    def _target(self, target: cst.CSTNode, value: cst.CSTNode | None, reads: bool = False) -> None:
        """``reads``: whether the target's value before goes into it, as in ``self.calls += 1``."""
        if isinstance(target, cst.Name):
            return
        if isinstance(target, (cst.Tuple, cst.List)):
            for one in target.elements:
                self._target(one.value, None)
        elif isinstance(target, cst.Attribute):
            if self._name(target, None):
                return
            name = target.attr.value
            me = isinstance(target.value, cst.Name) and any(one.me == target.value.value for one in self.inside.scope.outward())
            own = (f"self.* {'+' if reads else ''}=",) if me and self.inside.forward else ()
            self._emit((*own, f".{name} ="), f".{name} =", target, value=value)
            self.visit(target.value)
        elif isinstance(target, cst.Subscript):
            if self._is_group(target.value):
                self._emit(("<group>[] =",), "param_groups", target, value=value)
            elif self.inside.forward:
                self._emit(("[] =",), "an assignment", target, value=target.value)
            for element in target.slice:
                self.visit(element)
            self.visit(target.value)
        else:
            self.visit(target)

    def _is_group(self, node: cst.CSTNode) -> bool:
        """A param group: the variable of a loop over ``param_groups``, or one of them by its number."""
        if isinstance(node, cst.Subscript):
            return isinstance(node.value, cst.Attribute) and node.value.attr.value == "param_groups"
        return self.names.kind(node, self.inside.scope) == kinds.GROUP

    # ---- what decides and repeats

    def If(self, node: cst.If) -> None:
        self._test(node.test)
        self._ifs += 1
        number, before = self._ifs, self.inside
        for arm, part in enumerate((node.body, node.orelse)):
            self._within(replace(before, branches=(*before.branches, (number, arm))), part)

    def IfExp(self, node: cst.IfExp) -> None:
        self._test(node.test)
        self.visit(node.body)
        self.visit(node.orelse)

    def Assert(self, node: cst.Assert) -> None:
        self._test(node.test)
        self.visit(node.msg)

    def _test(self, test: cst.CSTNode) -> None:
        outside, self.inside = self.inside, replace(self.inside, test=True)
        self._emit(("condition",), "a condition", test, value=test)
        self.visit(test)
        self.inside = outside

    def While(self, node: cst.While) -> None:
        self._test(node.test)
        self._within(_in_loop(self.inside), node.body)
        self.visit(node.orelse)

    def For(self, node: cst.For) -> None:
        self.visit(node.iter)
        self._target(node.target, None)
        self._within(_in_loop(self.inside), node.body)
        self.visit(node.orelse)

    # ---- what opens a scope

    def FunctionDef(self, node: cst.FunctionDef) -> None:
        for one in (*node.decorators, *_types(node)):
            self.visit(one)
        name, outer = node.name.value, self.inside
        forward = outer.forward or (isinstance(outer.scope.node, cst.ClassDef) and name in outer.running)
        inside = replace(
            outer, scope=self.names.scopes[node], function=name, forward=forward, loops=0, branches=(), free=0, test=False,
            data=outer.data or any(word in name for word in _DATA),
        )  # fmt: skip
        self._within(inside, node.body)

    def Lambda(self, node: cst.Lambda) -> None:
        for one in parameters(node.params):
            self.visit(one.default)
        self._within(replace(self.inside, scope=self.names.scopes[node]), node.body)

    def ClassDef(self, node: cst.ClassDef) -> None:
        roots = self.names.roots(node)
        self._emit(("class *",), node.name.value, node.name)
        for root in sorted(roots) or [""]:
            if root:
                self._emit((*(f"class {one}" for one in prefixes(root)), *prefixes(root)), root, node.name, value=node)
        for one in node.decorators:
            self.visit(one)
        for keyword in node.keywords:
            self.visit(keyword.value)
        data = self.inside.data or kinds.is_data(roots) or _is_transform(node)
        running = _running(node) if kinds.is_module(roots) and not data else frozenset()
        inside = replace(
            self.inside, scope=self.names.scopes[node], roots=roots, data=data, running=running, branches=(), free=0, loops=0,
        )  # fmt: skip
        self._within(inside, node.body)

    def ListComp(self, node: cst.ListComp | cst.SetComp | cst.DictComp | cst.GeneratorExp) -> None:
        self._within(replace(self.inside, scope=self.names.scopes[node]), *below(node))

    SetComp = DictComp = GeneratorExp = ListComp

    def Global(self, node: cst.CSTNode) -> None:
        """Names in a declaration are not used there."""

    Nonlocal = Global


def _imports(name: str) -> tuple[str, ...]:
    parts = name.split(".")
    return tuple(f"import {'.'.join(parts[:count])}" for count in range(len(parts), 0, -1))


def _in_loop(inside: Inside) -> Inside:
    return replace(inside, loops=inside.loops + 1, free=len(inside.branches))


def _types(node: cst.FunctionDef) -> Iterator[cst.CSTNode]:
    for one in parameters(node.params):
        yield from (part for part in (one.annotation, one.default) if part is not None)
    if node.returns is not None:
        yield node.returns


def _is_transform(node: cst.ClassDef) -> bool:
    """A transform of samples, which may be a module as well: torchvision's way to write one."""
    methods = {one.name.value for one in node.body.body if isinstance(one, cst.FunctionDef)}
    return node.name.value.startswith("Random") or "get_params" in methods


def _running(node: cst.ClassDef) -> frozenset[str]:
    """The methods of a module that run when it is called: forward, and what it calls of its own."""
    methods = {one.name.value: one for one in node.body.body if isinstance(one, cst.FunctionDef)}
    found: set[str] = set()
    waiting = [name for name in methods if name.lstrip("_").startswith("forward")]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        method = methods[name]
        me = method.params.params[0].name.value if method.params.params else ""
        own = (dotted(one).split(".") for one in within(method.body) if isinstance(one, cst.Attribute))
        waiting += [path[1] for path in own if me and path[0] == me and path[1] in methods]
    return frozenset(found)
