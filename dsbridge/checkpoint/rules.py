"""Rules that users write: patterns of names, operations in between, in TOML files.

    version = 1

    [[rule]]
    source = "blocks.{i}.attn.qkv.weight"
    target = ["blocks.{i}.q.weight", "blocks.{i}.k.weight", "blocks.{i}.v.weight"]
    operations = [{name = "split", axis = 0, sizes = 3}]

``{i}`` stands for one component of a name, ``{i*}`` for one or more; in a target ``{i+1}`` is a number moved by one.
A rule without a target drops; a rule without a source keeps the values that the network has there (``const``).
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsbridge.checkpoint.ops import OPERATIONS, arguments, spelled
from dsbridge.checkpoint.rows import Operation
from dsbridge.errors import CheckpointError, MissingDependencyError
from dsbridge.schema.dtypes import lookup

VERSION = 1
_HOLE = re.compile(r"\{(\w+)([*]|[+-]\d+)?\}")
_KEYS = {"source", "target", "operations", "guessed", "note"}


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: ``sources`` and ``targets`` are patterns of names; the first source's holes fill all others.

    ``guessed``: nobody confirmed it yet, so what it makes stays a guess.

    >>> Rule(("a.{i}.w",), ("b.{i+1}.w",)).bind("a.3.w")
    {'i': '3'}
    """

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    operations: tuple[Operation, ...] = ()
    guessed: bool = False
    note: str = ""

    @property
    def exact(self) -> bool:
        """Whether it names one pair, without holes."""
        return not any(_HOLE.search(pattern) for pattern in (*self.sources, *self.targets))

    def bind(self, name: str) -> dict[str, str] | None:
        """What the holes of the first pattern (of the sources, else targets) stand for in ``name``; None: no match."""
        found = re.fullmatch(_expression((self.sources or self.targets)[0]), name)
        return found.groupdict() if found else None

    def __str__(self) -> str:
        return f"rule {' + '.join(self.sources) or 'keep'} -> {' + '.join(self.targets) or 'drop'}"


def _expression(pattern: str) -> str:
    text, end = "", 0
    seen: set[str] = set()
    for hole in _HOLE.finditer(pattern):
        name, how = hole.group(1), hole.group(2)
        text += re.escape(pattern[end : hole.start()])
        text += f"(?P={name})" if name in seen else f"(?P<{name}>{'.+' if how == '*' else '[^.]+'})"
        seen.add(name)
        end = hole.end()
    return text + re.escape(pattern[end:])


def fill(pattern: str, bound: Mapping[str, str]) -> str:
    """The pattern with its holes filled.

    >>> fill("layers.{i-1}.w", {"i": "3"})
    'layers.2.w'
    """

    def value(hole: re.Match[str]) -> str:
        name, how = hole.group(1), hole.group(2)
        if not how or how == "*":
            return bound[name]
        if not bound[name].isdecimal():
            raise CheckpointError(f"pattern {pattern!r}: {{{name}}} is {bound[name]!r}, expected a number")
        return str(int(bound[name]) + int(how))

    return _HOLE.sub(value, pattern)


@dataclass(frozen=True, slots=True)
class RuleSet:
    """Rules in order: the first that matches a name takes it.

    >>> RuleSet.of({"a.weight": "b.weight"}).rules[0].targets
    ('b.weight',)
    """

    rules: tuple[Rule, ...] = ()
    where: str = "rules"

    @classmethod
    def of(cls, rules: RuleSet | Mapping[str, Any] | Iterable[Rule] | str | Path) -> RuleSet:
        """From "auto" (none), the path of a TOML file, a dict {source: target or targets}, or rules."""
        if isinstance(rules, RuleSet):
            return rules
        if isinstance(rules, (str, Path)):
            return cls() if rules == "auto" else cls.from_toml(rules)
        if isinstance(rules, Mapping):
            pairs = {"rule": [{"source": source, "target": target} for source, target in rules.items()]}
            return cls.from_dict({"version": VERSION, **pairs}, "rules=")
        return cls(tuple(rules))

    @classmethod
    def from_toml(cls, path: str | Path) -> RuleSet:
        """Read a rule file; raises ``CheckpointError`` with the rule's number for what does not fit the schema."""
        try:
            toml: Any = importlib.import_module("tomllib")  # Python 3.11
        except ImportError:
            try:
                toml = importlib.import_module("tomli")
            except ImportError as exc:
                raise MissingDependencyError("tomli", "reading rule files on Python 3.10") from exc
        try:
            return cls.from_dict(toml.loads(Path(path).read_text(encoding="utf-8")), str(path))
        except (OSError, ValueError) as exc:
            raise CheckpointError(f"cannot read the rules in {path}: {exc}") from exc

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: str = "rules") -> RuleSet:
        """From plain data of the schema: {"version": 1, "rule": [...]}.

        >>> RuleSet.from_dict({"version": 1, "rule": [{"source": "a", "target": "b"}]}).rules[0].sources
        ('a',)
        """
        if data.get("version") != VERSION:
            raise CheckpointError(f"{where}: version {data.get('version')!r}, expected {VERSION}")
        if extra := sorted(set(data) - {"version", "rule"}):
            raise CheckpointError(f"{where}: unknown keys {', '.join(extra)}", hint="rules are [[rule]] tables")
        rules = data.get("rule", [])
        if not isinstance(rules, list):
            raise CheckpointError(f"{where}: 'rule' is a {type(rules).__name__}, expected [[rule]] tables")
        return cls(tuple(_rule(item, f"{where}, rule {number}") for number, item in enumerate(rules, 1)), where)

    def to_toml(self, path: str | Path) -> None:
        """Write a rule file; reading it gives these rules again."""
        Path(path).write_text(self.text(), encoding="utf-8")

    def text(self) -> str:
        """The rule file as text.

        >>> print(RuleSet.of({"a": "b"}).text())
        version = 1
        <BLANKLINE>
        [[rule]]
        source = "a"
        target = "b"
        <BLANKLINE>
        """
        return "\n\n".join([f"version = {VERSION}", *map(_table, self.rules)]) + "\n"


def _rule(item: Any, where: str) -> Rule:
    if not isinstance(item, Mapping):
        raise CheckpointError(f"{where}: a {type(item).__name__}, expected a table")
    if extra := sorted(set(item) - _KEYS):
        raise CheckpointError(f"{where}: unknown keys {', '.join(extra)}", hint=f"known are {', '.join(sorted(_KEYS))}")
    sources, targets = (_names(item.get(key, []), f"{where}, {key}") for key in ("source", "target"))
    if not sources and not targets:
        raise CheckpointError(f"{where}: neither source nor target")
    leading, others = (sources or targets)[0], (*sources, *targets)
    unknown = {hole[0] for name in others for hole in _HOLE.findall(name)} - {hole[0] for hole in _HOLE.findall(leading)}
    if unknown:
        raise CheckpointError(f"{where}: {', '.join(sorted(unknown))} is not in {leading!r}, whose holes fill the others")
    if any(how and how != "*" for _, how in _HOLE.findall(leading)):
        raise CheckpointError(f"{where}: {leading!r} is what is matched, so it cannot count", hint="count in the target")
    if left := [name for name in others if set("{}") & set(_HOLE.sub("", name))]:
        raise CheckpointError(f"{where}: {left[0]!r} has braces that are no hole", hint="write {i}, {i*} or {i+1}")
    guessed, note = item.get("guessed", False), item.get("note", "")
    if not isinstance(guessed, bool) or not isinstance(note, str):
        raise CheckpointError(f"{where}: guessed is true or false, note is text")
    operations = item.get("operations", [])
    if not isinstance(operations, list):
        raise CheckpointError(f"{where}: operations is a {type(operations).__name__}, expected a list of tables")
    return Rule(sources, targets, tuple(_operation(one, where) for one in operations), guessed, note)


def _names(value: Any, where: str) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) and name for name in names):
        raise CheckpointError(f"{where}: {value!r}, expected a name or a list of names")
    return tuple(names)


def _operation(item: Any, where: str) -> Operation:
    kind = OPERATIONS.get(item.get("name", "")) if isinstance(item, Mapping) else None
    if kind is None:
        raise CheckpointError(f"{where}: no operation {item!r}", hint=f"{{name = ...}} with one of {', '.join(OPERATIONS)}")
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in item.items() if key != "name"}
    try:
        content = given.get("value")
        if isinstance(content, str):
            given["value"] = bytes.fromhex(content)
        _check(given)
        return kind(**given)
    except (TypeError, ValueError) as exc:
        raise CheckpointError(f"{where}: operation {item['name']!r} does not take {given}: {exc}") from exc


_NUMBERS = {"axis", "dim", "axes", "sizes", "g", "shape"}


def _check(given: Mapping[str, Any]) -> None:
    for key, value in given.items():
        items = value if isinstance(value, tuple) else (value,)
        if key in _NUMBERS and not all(type(item) is int for item in items):
            raise ValueError(f"{key} is {value!r}, expected integers")
        if key in ("axis", "dim") and isinstance(value, tuple):
            raise ValueError(f"{key} is {value!r}, expected one integer")
        if key in ("axes", "shape", "g") and not isinstance(value, tuple):
            raise ValueError(f"{key} is {value!r}, expected a list")
        if key in ("dtype", "source"):
            lookup(value)  # raises SchemaError, which is a ValueError
        if key == "value" and not isinstance(value, (int, float, bytes)):
            raise ValueError(f"value is {value!r}, expected a number, or bytes as hexadecimal digits")


def _table(rule: Rule) -> str:
    lines = ["[[rule]]"]
    for key, names in (("source", rule.sources), ("target", rule.targets)):
        if names:
            lines.append(f"{key} = {_value(names[0] if len(names) == 1 else names)}")
    if rule.operations:
        lines.append(f"operations = [{', '.join(_inline(operation) for operation in rule.operations)}]")
    if rule.guessed:
        lines.append("guessed = true")
    if rule.note:
        lines.append(f"note = {_value(rule.note)}")
    return "\n".join(lines)


def _inline(operation: Operation) -> str:
    given = {"name": spelled(operation), **arguments(operation)}
    return "{" + ", ".join(f"{key} = {_value(value)}" for key, value in given.items()) + "}"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, bytes):
        return f'"{value.hex()}"'
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)
