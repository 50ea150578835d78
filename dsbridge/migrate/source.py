"""A piece of an emitted file, and how values are written in it."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from dsbridge.model.helpers import names_in
from dsbridge.report import Finding

_RUNTIME = ("optimizers.py", "schedules.py", "cycles.py", "chains.py", "state.py", "averages.py")
_IMPORTS = {
    "math": "import math",
    "bisect_right": "from bisect import bisect_right",
    "ms": "import mindspore as ms",
    "ops": "from mindspore import ops",
    "optim": "from mindspore.experimental import optim",
}
_FILE = (  # what train.py defines and imports
    "ACCUMULATE", "Accumulated", "CLIP_NORM", "CLIP_VALUE", "HERE", "Path", "TrainStep", "argparse", "average", "build",
    "clip_by_norm", "clip_by_value", "contextlib", "data", "epoch_of", "json", "main", "make_optimizer", "make_scheduler",
    "make_train_step", "nn", "np", "pickle", "rates", "resume", "save", "state_of", "tqdm",
)  # fmt: skip
_LARGEST = 1000  # numbers and strings in one literal
_WIDTH = 100


@dataclass(frozen=True, slots=True)
class Source:
    """A piece of an emitted file: import lines, definitions that it carries, statements, and what is to be said of them.

    ``definitions``: the text of classes and functions, may be empty. ``lines``: those of the statements, after them.

    >>> piece = Source(("import math",), "", ("half_turn = math.pi",))
    >>> print(piece.text)
    import math
    <BLANKLINE>
    <BLANKLINE>
    half_turn = math.pi
    """

    imports: tuple[str, ...] = ()
    definitions: str = ""
    lines: tuple[str, ...] = ()
    notes: tuple[Finding, ...] = ()

    @property
    def text(self) -> str:
        """The piece as a file of its own."""
        parts = ("\n".join(self.imports), self.definitions, "\n".join(self.lines))
        return "\n\n\n".join(part for part in parts if part)


@cache
def _carried() -> dict[str, str]:
    """Name and text of each definition of ``runtime/``, in the order of the files; nothing is imported."""
    found: dict[str, str] = {}
    for name in _RUNTIME:
        text = (resources.files("dsbridge.migrate.runtime") / name).read_text()
        nodes = [node for node in ast.parse(text).body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
        found |= {node.name: ast.get_source_segment(text, node) or "" for node in nodes}
    return found


def carried(names: Iterable[str]) -> str:
    """Those definitions of ``runtime/``, and those they use, as text.

    >>> carried(["StepLR"]).count("class ")
    2
    """
    known = _carried()
    waiting, wanted = list(names), set()
    while waiting:
        name = waiting.pop()
        if name not in wanted:
            wanted.add(name)
            waiting += [used for used in names_in(known[name]) if used in known]
    return "\n\n\n".join(text for name, text in known.items() if name in wanted)


def taken() -> tuple[str, ...]:
    """The names that an emitted file may have already: of what it carries, imports and defines.

    >>> "StepLR" in taken() and "make_optimizer" in taken()
    True
    """
    return (*_carried(), *_IMPORTS, *_FILE)


def imports_of(*texts: str) -> tuple[str, ...]:
    """The import lines that those texts need.

    >>> imports_of("x = ms.Tensor(math.pi)")
    ('import math', 'import mindspore as ms')
    """
    used = set().union(*(names_in(text) for text in texts))
    return tuple(line for name, line in _IMPORTS.items() if name in used)


def literal(value: Any) -> str:
    """Plain data as Python source that gives it back bit for bit. Raises ``ValueError`` for what is no plain data.

    >>> literal((0.1, {"a": [True, None]})), literal(float("-inf"))
    ('(0.1, {"a": [True, None]})', 'float("-inf")')
    """
    if _count(value) > _LARGEST:
        raise ValueError(f"it holds more than {_LARGEST} values")
    return _written(value)


def _count(value: Any) -> int:
    if isinstance(value, Mapping):
        return sum(map(_count, value.values())) + len(value)
    return sum(map(_count, value)) if isinstance(value, (list, tuple, set, frozenset)) else 1


def _written(value: Any) -> str:
    if hasattr(value, "dtype") and type(value).__module__ == "numpy" and value.ndim == 0:
        value = value.item()  # a numpy scalar
    if type(value) is float and not math.isfinite(value):
        return f'float("{value}")'
    if type(value) is str:
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' if value.isprintable() else repr(value)
    if value is None or type(value) in (bool, int, float, bytes, range):
        return repr(value)
    if type(value) in _ENCLOSED and value:
        items = list(map(_written, value))
        if type(value) not in (list, tuple):
            items.sort()  # the order of a set is another one in each process
        comma = "," if type(value) is tuple and len(value) == 1 else ""
        return _ENCLOSED[type(value)].format(", ".join(items) + comma)
    if type(value) in _ENCLOSED:
        return repr(value)
    if type(value) is dict:
        return "{" + ", ".join(f"{_written(key)}: {_written(item)}" for key, item in value.items()) + "}"
    raise ValueError(f"{type(value).__module__}.{type(value).__qualname__} is no plain data")


_ENCLOSED: dict[type, str] = {list: "[{}]", tuple: "({})", set: "{{{}}}", frozenset: "frozenset({{{}}})"}


def call(before: str, function: str, arguments: Iterable[str], indent: str = "    ") -> list[str]:
    """The lines of a call, each argument on its own where it is long.

    >>> call("return ", "f", ["1", "x=2"])
    ['    return f(1, x=2)']
    """
    given = list(arguments)
    line = f"{indent}{before}{function}({', '.join(given)})"
    if len(line) <= _WIDTH:
        return [line]
    return [f"{indent}{before}{function}(", *(f"{indent}    {one}," for one in given), f"{indent})"]


def filled(template: str, **parts: object) -> str:
    """A template whose ``{name}`` are replaced; other braces stay.

    >>> filled("{a} + {b}", a=1)
    '1 + {b}'
    """
    for name, part in parts.items():
        template = template.replace(f"{{{name}}}", str(part))
    return template
