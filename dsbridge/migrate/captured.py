"""What a user's function reads from outside: which names, what they stand for, and whether the script changes it."""

from __future__ import annotations

import ast
import builtins
import inspect
import symtable
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import CellType, FunctionType, ModuleType
from typing import Any

from dsbridge.errors import Unsupported
from dsbridge.migrate.lookup import Found
from dsbridge.migrate.source import literal

MODULES = (
    "math",
    "cmath",
    "bisect",
    "collections",
    "copy",
    "functools",
    "itertools",
    "operator",
    "random",
    "re",
    "string",
    "numpy",
)
_REFUSED = frozenset(
    ("open", "input", "eval", "exec", "compile", "__import__", "globals", "locals", "vars", "breakpoint", "super")
)
_CHANGING = frozenset(
    (
        "add",
        "append",
        "clear",
        "discard",
        "extend",
        "insert",
        "pop",
        "popitem",
        "remove",
        "reverse",
        "setdefault",
        "sort",
        "update",
    )
)
_EMPTY = object()  # of a variable that has no value yet
_LOOPS = (ast.For, ast.While)
_DEFS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)


@dataclass(frozen=True, slots=True)
class Chain:
    """``name.first.second``: names from the outside in, and the node that is the whole of it.

    >>> Chain(("args", "lr"), ast.parse("args.lr").body[0].value).names
    ('args', 'lr')
    """

    names: tuple[str, ...]
    node: ast.Name | ast.Attribute


def scopes(function: ast.FunctionDef) -> tuple[set[str], set[str]]:
    """The names that a function reads and does not define, and those that it defines; functions inside of it count.

    >>> free, bound = scopes(ast.parse("def f(x): return [k(x, y) for y in z]").body[0])
    >>> sorted(free), sorted(bound)
    (['k', 'z'], ['.0', 'x', 'y'])
    """
    free: set[str] = set()
    bound: set[str] = set()
    tables = [symtable.symtable(ast.unparse(function), "function", "exec").get_children()[0]]
    while tables:
        table = tables.pop()
        tables += table.get_children()
        free |= {symbol.get_name() for symbol in table.get_symbols() if symbol.is_global()}
        bound |= {symbol.get_name() for symbol in table.get_symbols() if symbol.is_local()}
    return free, bound


def chains(function: ast.AST, name: str) -> Iterator[Chain]:
    """Each use of a name with the attributes that are read of it; the longest chains.

    >>> [chain.names for chain in chains(ast.parse("a.b.c(a) + b.a"), "a")]
    [('a', 'b', 'c'), ('a',)]
    """
    inner = {id(node.value) for node in ast.walk(function) if isinstance(node, ast.Attribute)}
    for node in ast.walk(function):
        names, part = [], node
        while isinstance(part, ast.Attribute):
            names.append(part.attr)
            part = part.value
        if isinstance(part, ast.Name) and part.id == name and id(node) not in inner:
            assert isinstance(node, (ast.Name, ast.Attribute))
            yield Chain((name, *reversed(names)), node)


def values_of(function: FunctionType) -> dict[str, Any]:
    """What the names that a function reads stand for now: builtins, globals, and the variables of functions around it.

    >>> values_of((lambda n: lambda x: n)(7))["n"]
    7
    """
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    around = {name: _content(cell) for name, cell in cells}
    around = {name: value for name, value in around.items() if value is not _EMPTY}
    return {**vars(builtins), **function.__globals__, **around}


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _EMPTY


def is_plain(value: Any) -> bool:
    """Whether a value can be written as a constant.

    >>> is_plain([1, "a"]), is_plain(object())
    (True, False)
    """
    try:
        literal(value)
    except ValueError:
        return False
    return True


def import_line(name: str, value: Any) -> str | None:
    """How a file imports what the name stands for; None where it is nothing of ``MODULES``.

    >>> import math
    >>> import_line("m", math), import_line("cos", math.cos)
    ('import math as m', 'from math import cos')
    """
    if isinstance(value, ModuleType):
        if value.__name__.partition(".")[0] not in MODULES:
            return None
        return f"import {value.__name__}" if value.__name__ == name else f"import {value.__name__} as {name}"
    own = getattr(value, "__name__", None)
    for module in MODULES:
        if own and getattr(sys.modules.get(module), own, None) is value:
            return f"from {module} import {own}" if own == name else f"from {module} import {own} as {name}"
    return None


def is_builtin(name: str, value: Any) -> bool:
    """Whether that is Python's own function or exception of that name.

    >>> is_builtin("max", max), is_builtin("max", min)
    (True, False)
    """
    return name in vars(builtins) and vars(builtins)[name] is value


def refuse(found: Found, label: str, node: ast.AST, what: str, reason: str, hint: str = "") -> Unsupported:
    """The error for something that a function does or reads."""
    return Unsupported(label, what, found.at(node), reason, hint)


def check_builtin(name: str, found: Found, label: str, node: ast.AST) -> None:
    """Raise ``Unsupported`` for a builtin that reads files, or names by their text.

    >>> tree = ast.parse("f = lambda x: open(x)")
    >>> check_builtin("open", Found(tree.body[0].value, tree, "train.py"), "function f", tree.body[0])
    Traceback (most recent call last):
    ...
    dsbridge.errors.Unsupported: function f: open(): what it gives cannot be known from the source (train.py:1). Hint: ...
    """
    if name in _REFUSED:
        raise refuse(found, label, node, f"{name}()", "what it gives cannot be known from the source", "compute it before")


def attribute(value: Any, names: tuple[str, ...]) -> tuple[Any, int]:
    """Follow attributes until plain data comes; that, and how many names it took. Raises ``LookupError`` with the reason.

    >>> from types import SimpleNamespace
    >>> attribute(SimpleNamespace(optim=SimpleNamespace(lr=0.1)), ("optim", "lr", "real"))
    (0.1, 2)
    """
    for used, name in enumerate(names):
        if any(cls.__module__.partition(".")[0] in ("torch", "torchvision") for cls in type(value).__mro__):
            raise LookupError("it is an object of torch")
        if isinstance(inspect.getattr_static(value, name, None), property):
            raise LookupError(f"{name} is a property, which may say something else each time")
        if not hasattr(value, name):
            raise LookupError(f"it has no {name}")
        value = getattr(value, name)
        if is_plain(value):
            return value, used + 1
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    raise LookupError(f"it is a {kind}, which is no plain data")


def check_unchanged(found: Found, label: str, chain: Chain, around: bool = False) -> None:
    """Raise ``Unsupported`` where the script goes on changing what became a constant: it would stay as it was.

    ``around``: the name is a variable of a function around this one, not of the module.
    """
    changed = next(_changes(found, chain, around), None)
    if changed is not None:
        what = ".".join(chain.names)
        reason = f"the script changes {what}, at {found.at(changed)}; as a constant it would stay as it is now"
        raise refuse(found, label, chain.node, f"reads {what}", reason, f"make it a default: lambda ..., x={what}: ...")


def _changes(found: Found, chain: Chain, around: bool) -> Iterator[ast.AST]:
    """Assignments in loops, ``+=``, and those of an attribute in methods other than ``__init__``."""
    outside = next((above for node, above in _with_parents(found.tree) if node is found.node), ())
    for node, above in _with_parents(found.tree):
        if not isinstance(node, (ast.AugAssign, ast.Assign)):
            continue
        targets = [node.target] if isinstance(node, ast.AugAssign) else [t for one in node.targets for t in _targets(one)]
        if not any(_is(target, chain) for target in targets):
            continue
        owner = next((one for one in reversed(above) if isinstance(one, _DEFS)), None)
        if len(chain.names) == 1 and not (owner in outside if around else owner is None or _global(owner, chain.names[0])):
            continue  # another variable of that name
        inside = above[above.index(owner) if owner is not None else 0 :]
        method = any(isinstance(one, ast.ClassDef) and owner in one.body for one in above)
        later = len(chain.names) > 1 and method and getattr(owner, "name", "") != "__init__"
        if isinstance(node, ast.AugAssign) or later or any(isinstance(one, _LOOPS) for one in inside):
            yield node


def _global(owner: ast.AST, name: str) -> bool:
    return any(isinstance(node, ast.Global) and name in node.names for node in ast.walk(owner))


def _targets(target: ast.expr) -> Iterator[ast.expr]:
    if isinstance(target, (ast.Tuple, ast.List)):
        for one in target.elts:
            yield from _targets(one)
    else:
        yield target


def _is(target: ast.expr, chain: Chain) -> bool:
    if len(chain.names) == 1:
        return isinstance(target, ast.Name) and target.id == chain.names[0]
    return isinstance(target, ast.Attribute) and target.attr == chain.names[-1]


def _with_parents(tree: ast.AST, above: tuple[ast.AST, ...] = ()) -> Iterator[tuple[ast.AST, tuple[ast.AST, ...]]]:
    for child in ast.iter_child_nodes(tree):
        yield child, (*above, tree)
        yield from _with_parents(child, (*above, tree))


def check_body(found: Found, label: str, function: ast.FunctionDef, free: Mapping[str, Any]) -> None:
    """Raise ``Unsupported`` for what a function does to what is outside of it, and for modules that it imports itself."""
    for node in ast.walk(function):
        names: list[str] = []
        if isinstance(node, (ast.Global, ast.Nonlocal)):
            names = [name for name in node.names if isinstance(node, ast.Global) or name in free]
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            modules = [node.module or "."] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names]
            strange = [name for name in modules if name.partition(".")[0] not in MODULES]
            if strange:
                raise refuse(found, label, node, f"imports {strange[0]}", f"only {', '.join(MODULES)} can be taken along")
        elif isinstance(node, (ast.Subscript, ast.Attribute)) and not isinstance(node.ctx, ast.Load):
            names = [_root(node)]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _CHANGING:
            names = [_root(node.func)]
        changed = next((name for name in names if name in free), None)
        if changed is not None:
            reason = "it keeps something from one call to the next"
            raise refuse(found, label, node, f"changes {changed}", reason, "compute it from the arguments")


def _root(node: ast.AST) -> str:
    while isinstance(node, (ast.Subscript, ast.Attribute)):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""
