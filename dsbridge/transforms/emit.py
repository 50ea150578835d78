"""A translation as source code: a module that needs numpy and Pillow, no torch and no dsbridge."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import dsbridge
from dsbridge.transforms.bundle import Bundle
from dsbridge.transforms.fallback import Albumentation, Original
from dsbridge.transforms.stage import Step

_USAGE = """Image operations for mindspore.dataset: transform(image, key) or transform(image).

    dataset = dataset.map(transform, ["image", "key"], ["image"])   # key: int64 (epoch, index): the same for any workers
    dataset = dataset.map(transform, ["image"])                     # without: a counter; the same with one worker only"""

_MAIN = '''KIND = {kind!r}
SEED = {seed}
STEPS: tuple[Step, ...] = {steps}
_calls = itertools.count()


def transform(image: Array, key: Array | None = None) -> Any:
    """One image as an array; ``key``: (epoch, index) or (epoch, index, occurrence)."""
    drawn = Key(-1, next(_calls)) if key is None else Key(*map(int, key))
    return from_image(run(STEPS, Sample(from_array(image, KIND)), Draws(SEED, drawn)).image)
'''

_MISSING = '''class {name}:
    """{label} could not be translated."""

    def call(self, sample: Sample, draws: Draws, position: int) -> None:
        raise NotImplementedError(
{message}
        )
'''

_WIDTH, _LIMIT = 120, 128  # of lines: where they are broken, what is never exceeded without a word
_NEEDED = {
    "images": ("from_array", "from_image"),
    "ops.values": ("Array",),
    "randomness": ("Draws", "Key"),
    "stage": ("Sample", "Step", "run"),
}


def emit(translation: Any, usage: str = _USAGE, imports: Iterable[tuple[Any, ...]] = (), more: str = "") -> str:
    """The source of a translation; what could not be translated raises NotImplementedError with the reason.

    ``usage``: the beginning of the module's docstring. ``imports``, ``more``: what else the module imports and holds.
    """
    bundle = Bundle()
    for module, names in _NEEDED.items():
        for name in names:
            bundle.need(f"dsbridge.transforms.{module}", name)
    for wanted in (("itertools",), ("typing", "Any"), *imports):
        bundle.need_import(*wanted)
    reasons = {row.position: row.reason for row in translation.report.rows}
    missing: list[str] = []
    steps = _steps(translation.program.steps, bundle, reasons, missing, 1)
    main = _MAIN.format(kind=translation.input, seed=translation.seed, steps=steps)
    text = "\n\n".join([_head(translation, usage), bundle.source(), *missing, main, *([f"\n{more}"] if more else [])])
    return text if max(map(len, text.splitlines())) <= _LIMIT else f"# ruff: noqa: E501\n{text}"


def _head(translation: Any, usage: str) -> str:
    made = f"Made by dsbridge {dsbridge.__version__}, policy {translation.policy!r}, input {translation.input!r}:"
    rows = [f"{row.position:>3} {'  ' * row.depth}{row.source}: {row.exactness}" for row in translation.report.rows]
    text = "\n".join([usage, "", made, *rows]).replace("\\", "\\\\").replace('"""', "'''")
    return f'"""{text}\n"""\n\nfrom __future__ import annotations'


def _steps(steps: Sequence[Step], bundle: Bundle, reasons: dict[int, str], missing: list[str], depth: int) -> str:
    if not steps:
        return "()"
    pad = "    " * depth
    lines = []
    for step in steps:
        if isinstance(step.op, (Original, Albumentation)):
            made = _missing(step, reasons[step.position], missing)
        elif any(hasattr(getattr(step.op, field.name), "dtype") for field in fields(step.op)):
            made = _missing(step, "its settings are arrays, which no source text should hold: save them beside it", missing)
        else:
            _need(step.op, bundle)
            made = _call(step.op)
        parts = [made, str(step.position), repr(step.label)]
        if step.children:
            parts.append(_steps(step.children, bundle, reasons, missing, depth + 1))
        line = f"{pad}Step({', '.join(parts)}),"
        if max(map(len, line.splitlines())) > _WIDTH:
            inner = "".join(f"{pad}    {part},\n" for part in (part.replace("\n", "\n    ") for part in parts))
            line = f"{pad}Step(\n{inner}{pad}),"
        lines.append(line)
    return "(\n" + "\n".join(lines) + "\n" + "    " * (depth - 1) + ")"


def _call(op: Any) -> str:
    """The operation's constructor call, without what is its default."""
    given = [field for field in fields(op) if getattr(op, field.name) != field.default]
    values = ((field.name, getattr(op, field.name)) for field in given)
    texts = [f"{name}={_call(value) if is_dataclass(value) else repr(value)}" for name, value in values]
    return f"{type(op).__name__}({', '.join(texts)})"


def _need(op: Any, bundle: Bundle) -> None:
    bundle.need(type(op).__module__, type(op).__qualname__)
    inner = getattr(op, "inner", None)
    if inner is not None:
        _need(inner, bundle)


def _missing(step: Step, reason: str, missing: list[str]) -> str:
    name = f"Missing{step.position}"
    parts = textwrap.wrap(f"{step.label}: {reason}. Write here what it does to sample.image", 100, drop_whitespace=False)
    message = "\n".join(f"            {part!r}" for part in parts)
    missing.append(_MISSING.format(name=name, label=step.label, message=message))
    return f"{name}()"
