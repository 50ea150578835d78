"""A function of the user's as source for another file: with the constants it reads, and the functions it calls."""

from __future__ import annotations

import ast
import copy
import functools
import keyword
from collections.abc import Iterable
from dataclasses import dataclass
from types import FunctionType, MethodType
from typing import Any

from dsbridge.errors import Unsupported
from dsbridge.migrate.captured import (
    Chain,
    attribute,
    chains,
    check_body,
    check_builtin,
    check_unchanged,
    import_line,
    is_builtin,
    is_plain,
    refuse,
    scopes,
    values_of,
)
from dsbridge.migrate.lookup import Found, find
from dsbridge.migrate.source import literal
from dsbridge.model import layout
from dsbridge.model.write import double_quoted
from dsbridge.report import Finding

_WIDTH = 128


@dataclass(frozen=True, slots=True)
class FunctionSource:
    """A function as a definition of a module, under ``name``, and the import lines and definitions that it needs.

    ``definitions``: text, the function itself last. ``notes``: which values became constants.

    >>> FunctionSource("half", (), "def half(x): return x / 2").name
    'half'
    """

    name: str
    imports: tuple[str, ...]
    definitions: str
    notes: tuple[Finding, ...] = ()


def function_source(function: Any, name: str = "") -> FunctionSource:
    """The source of a function, lambda, bound method or ``functools.partial`` of the user's, ready for another file.

    What it reads from outside becomes a default (numbers, strings, tuples, lists, dicts, attributes of arguments and
    settings), an import (math, numpy ...), or another definition (its own functions). ``name``: what to call it.
    Raises ``Unsupported`` with file and line for anything else: tensors, files, objects of torch, values that change.

    >>> import colorsys
    >>> made = function_source(colorsys.hls_to_rgb)
    >>> made.name, "def _v(m1, m2, hue, *, ONE_SIXTH=" in made.definitions
    ('hls_to_rgb', True)
    """
    functions = Functions()
    called = functions.add(function, name)
    return FunctionSource(called, functions.imports, functions.definitions, functions.notes)


class Functions:
    """Functions of one emitted file: each is written once, and no two have one name. ``taken``: names that the file has.

    >>> import colorsys
    >>> functions = Functions(taken=["rgb_to_yiq"])
    >>> functions.add(colorsys.rgb_to_yiq), functions.add(colorsys.rgb_to_yiq)
    ('rgb_to_yiq_2', 'rgb_to_yiq_2')
    """

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)
        self._names: dict[Any, str] = {}  # by identity of the code and what it reads
        self._texts: dict[str, str] = {}
        self._imports: set[str] = set()
        self._notes: dict[Finding, None] = {}

    @property
    def imports(self) -> tuple[str, ...]:
        """The import lines that they need."""
        return tuple(sorted(self._imports, key=lambda line: (line.startswith("from"), line)))

    @property
    def definitions(self) -> str:
        """Their text, each after those that it calls."""
        return "\n\n\n".join(self._texts.values())

    @property
    def notes(self) -> tuple[Finding, ...]:
        """Which values became constants."""
        return tuple(self._notes)

    def add(self, function: Any, name: str = "", otherwise: str = "function") -> str:
        """Take in a function; what it is called here. ``otherwise``: where it has no name. Raises ``Unsupported``."""
        label = f"function {name or getattr(function, '__name__', type(function).__name__)}"
        if isinstance(function, functools.partial):
            return self._partial(function, name, label)
        while not isinstance(function, (FunctionType, MethodType)) and hasattr(function, "__wrapped__"):
            function = function.__wrapped__  # lru_cache: the same values
        bound = function.__self__ if isinstance(function, MethodType) else None
        plain = function.__func__ if isinstance(function, MethodType) else function
        if not isinstance(plain, FunctionType):
            kind = f"{type(function).__module__}.{type(function).__qualname__}"
            raise Unsupported(label, kind, "", "only functions can be written as source", "make it a function")
        key = (id(plain), id(bound))
        if key not in self._names:
            found = find(plain.__code__)
            self._names[key] = called = self._free(
                name or _name(plain, found) or otherwise, self._taken
            )  # first: it may call itself
            self._texts[called] = _Writer(self, plain, bound, found, f"function {called}").text(called)
            self._texts[called] = self._texts.pop(called)  # after those that it calls
        return self._names[key]

    def _partial(self, function: functools.partial[Any], name: str, label: str) -> str:
        inner = self.add(function.func)
        try:
            given = [literal(one) for one in function.args]
            given += [f"{key}={literal(one)}" for key, one in function.keywords.items()]
        except ValueError as exc:
            raise Unsupported(label, "functools.partial", "", f"an argument cannot be written: {exc}") from None
        called = self._free(name or f"{inner}_with", self._taken)
        self._imports.add("import functools")
        self._texts[called] = f"{called} = functools.partial({', '.join([inner, *given])})"
        return called

    def _free(self, name: str, taken: set[str]) -> str:
        called, number = name, 1
        while called in taken or keyword.iskeyword(called):
            number += 1
            called = f"{name}_{number}"
        taken.add(called)
        return called

    def imported(self, line: str) -> None:
        """Take in an import line."""
        self._imports.add(line)

    def said(self, note: Finding) -> None:
        """Take in a note."""
        self._notes[note] = None


def _name(function: FunctionType, found: Found) -> str:
    """The function's own name; a lambda's is that of the variable it is assigned to, or of the argument it is."""
    if function.__name__.isidentifier():
        return function.__name__
    for node in ast.walk(found.tree):
        if isinstance(node, ast.Assign) and node.value is found.node and isinstance(node.targets[0], ast.Name):
            return node.targets[0].id
        if isinstance(node, ast.keyword) and node.value is found.node and node.arg:
            return node.arg
    return ""


class _Writer:
    """Writes one function: resolves each name that it reads."""

    def __init__(self, functions: Functions, function: FunctionType, bound: Any, found: Found, label: str) -> None:
        self._functions, self._function, self._bound, self._found, self._label = functions, function, bound, found, label
        self._defaults: dict[str, str] = {}  # keyword-only arguments that are added, as text
        self._renamed: dict[int, str] = {}  # nodes and the names that take their place
        self._constants: list[str] = []
        self._bound_names: set[str] = set()

    def text(self, called: str) -> str:
        """The definition, under that name."""
        made = self._bare(called)
        values = values_of(self._function)
        if self._bound is not None:
            values[made.args.args.pop(0).arg] = self._bound
        names, self._bound_names = scopes(made)
        free = {name: values[name] for name in sorted(names) if name in values}
        missing = sorted(names - set(free))
        check_body(self._found, self._label, made, free)
        if missing:
            node = next(chains(made, missing[0])).node
            raise refuse(self._found, self._label, node, f"reads {missing[0]}", "it has no value")
        used = {node.id for node in ast.walk(made) if isinstance(node, ast.Name)} | {one.arg for one in _arguments(made.args)}
        for name, value in free.items():
            self._resolve(name, value, list(chains(made, name)), used)
        made = _Renamed(self._renamed).visit(made)
        for name, text in self._defaults.items():
            made.args.kwonlyargs.append(ast.arg(name))
            made.args.kw_defaults.append(ast.parse(text, mode="eval").body)
        if self._constants:
            where = self._found.at(self._found.node)
            self._functions.said(
                Finding("constant", "info", where, f"{called} reads {', '.join(self._constants)}, now constants")
            )
        return _printed(made, self._found.at(self._found.node))

    def _bare(self, called: str) -> ast.FunctionDef:
        """The function without decorators and annotations, with its defaults as they are now."""
        node = copy.deepcopy(self._found.node)
        if isinstance(node, ast.Lambda):
            body: list[ast.stmt] = [ast.copy_location(ast.Return(node.body), node.body)]
        else:
            body = node.body
        for one in _arguments(node.args):
            one.annotation = None
        given = [self._constant(value, f"a default of {called}") for value in self._function.__defaults__ or ()]
        node.args.defaults = given
        named = self._function.__kwdefaults__ or {}
        node.args.kw_defaults = [
            self._constant(named[one.arg], f"the default of {one.arg}") if one.arg in named else None
            for one in node.args.kwonlyargs
        ]
        made = ast.FunctionDef(called, node.args, body, [], None)
        return ast.fix_missing_locations(ast.copy_location(made, node))

    def _constant(self, value: Any, what: str) -> ast.expr:
        try:
            return ast.parse(literal(value), mode="eval").body
        except ValueError as exc:
            raise refuse(self._found, self._label, self._found.node, what, f"it cannot be written: {exc}") from None

    def _resolve(self, name: str, value: Any, uses: list[Chain], used: set[str]) -> None:
        if is_builtin(name, value):
            check_builtin(name, self._found, self._label, uses[0].node)
        elif is_plain(value):
            around = name in self._function.__code__.co_freevars
            check_unchanged(self._found, self._label, Chain((name,), uses[0].node), around)
            self._defaults[name] = literal(value)
            self._constants.append(f"{name} = {literal(value)}")
        elif (line := import_line(name, value)) is not None:
            self._functions.imported(line)
        elif name in self._bound_names:
            reason = "the function has a variable of that name, too"
            raise refuse(self._found, self._label, uses[0].node, f"reads {name}", reason, "rename one of them")
        elif isinstance(value, (FunctionType, MethodType, functools.partial)) or hasattr(value, "__wrapped__"):
            called = self._functions.add(value, "" if isinstance(value, MethodType) else name)
            self._renamed |= {id(part): called for use in uses for part in ast.walk(use.node) if isinstance(part, ast.Name)}
        else:
            for use in uses:
                self._attribute(value, use, used)

    def _attribute(self, value: Any, use: Chain, used: set[str]) -> None:
        """Something of an object: ``args.warmup`` becomes ``warmup``."""
        try:
            found, count = attribute(value, use.names[1:])
        except LookupError as exc:
            what = f"reads {'.'.join(use.names)}"
            raise refuse(self._found, self._label, use.node, what, str(exc), "give it numbers, strings or lists") from None
        read, node = use.names[: count + 1], use.node
        for _ in use.names[count + 1 :]:  # a method of what was found
            assert isinstance(node, ast.Attribute)
            node = node.value  # type: ignore[assignment]
        check_unchanged(self._found, self._label, Chain(read, node))
        text, called = literal(found), read[-1]
        if called in used and self._defaults.get(called) != text:
            called = "_".join(read)
        if called in used and self._defaults.get(called) != text:
            raise refuse(self._found, self._label, node, f"reads {'.'.join(read)}", f"{called} is another name in it")
        used.add(called)
        self._defaults[called] = text
        self._renamed[id(node)] = called
        said = f"{'.'.join(read)} = {text}"
        self._constants += [] if said in self._constants else [said]


class _Renamed(ast.NodeTransformer):
    def __init__(self, names: dict[int, str]) -> None:
        self._names = names

    def visit(self, node: ast.AST) -> Any:
        if id(node) in self._names:
            return ast.copy_location(ast.Name(self._names[id(node)], ast.Load()), node)
        return self.generic_visit(node)


def _arguments(arguments: ast.arguments) -> list[ast.arg]:
    single = [one for one in (arguments.vararg, arguments.kwarg) if one is not None]
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *single]


def _printed(made: ast.FunctionDef, where: str) -> str:
    """The text, with long lines broken, and a word on where it comes from."""
    doc = ast.get_docstring(made)
    said = int(doc is not None)
    body: list[ast.stmt] = [ast.Expr(ast.Constant((doc or "").replace("\n", "\n    ")))]
    head = ast.FunctionDef(made.name, made.args, body, [], None, lineno=0)
    first, *lines = ast.unparse(head).splitlines()[: None if said else 1]
    lines = [f"{first}  # from {where}", *lines]
    for node in made.body[said:]:
        plain = [f"    {line}" for line in ast.unparse(node).splitlines()]
        lines += plain if max(map(len, plain)) <= _WIDTH else list(layout.statement(node, "    "))
    return double_quoted("\n".join(lines))
