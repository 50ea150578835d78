"""The emitted file: header, helpers it uses, classes from the innermost out."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator, Sequence

import dsbridge
from dsbridge.model import helpers, layout
from dsbridge.model.classes import CellClass
from dsbridge.model.construct import Cells, Construct, written
from dsbridge.model.variants import branched


def module_source(made: Sequence[CellClass], used: Sequence[str], title: str) -> str:
    """The whole file, which needs MindSpore and nothing else: helpers, then classes. The last class is the model's."""
    parts = ["\n".join(_class(one)) for one in made]
    body = double_quoted("\n\n\n".join(parts))
    head = [helpers.sources()[name] for name in used]
    everything = helpers.names_in("\n".join([*head, body]))
    standard = {"math": "import math", "OrderedDict": "from collections import OrderedDict"}
    imports = [line for name, line in standard.items() if name in everything]
    imports += [""] if imports else []
    imports += ["import mindspore as ms"] if "ms" in everything else []
    wanted = [name for name in ("mint", "nn", "ops") if name in everything]
    imports += [f"from mindspore import {', '.join(wanted)}"]
    text = f'"""{title}\n\nWritten by dsbridge {dsbridge.__version__}; needs MindSpore and nothing else.\n"""\n\n'
    return text + "\n".join(imports) + "\n\n\n" + "\n\n\n".join([*head, body]) + "\n"


def double_quoted(source: str) -> str:
    """Strings in double quotes, as formatters have them; ``ast`` prints single ones."""
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        text = token.string
        if token.type == tokenize.STRING and text.startswith("'") and '"' not in text and "\\" not in text:
            row, (begin, end) = token.start[0] - 1, (token.start[1], token.end[1])
            lines[row] = f'{lines[row][:begin]}"{text[1:-1]}"{lines[row][end:]}'
    return "\n".join(lines)


def _class(made: CellClass) -> Iterator[str]:
    origin = f"  # from {made.origin}" if made.origin else ""
    yield f"class {made.name}({made.base}):{origin}"
    arguments = [f"{name}={made.defaults[name]!r}" if name in made.defaults else name for name in made.parameters]
    yield from layout.header("__init__", ["self", *arguments])
    yield from layout.block(list(_init(made)), "        ")
    if made.train is None:
        return
    yield ""
    yield from layout.header("construct", ["self", *made.arguments])
    yield from layout.block(_both(made.train, made.evaluated), "        ")


def _init(made: CellClass) -> Iterator[ast.stmt]:
    if made.base == "nn.Cell":
        yield ast.parse("super().__init__()").body[0]
    else:
        yield ast.Expr(Cells(made.base, made.children).code("super().__init__").tree)
    for name, value in made.numbers.items():
        yield _attribute(name, written(value))
    for name, own in made.own.items():
        yield _attribute(name, _parameter(own))
    if made.base == "nn.Cell":
        for name, child in made.children.items():
            yield _attribute(name, written(child))
    for target, source in made.ties:
        yield ast.Assign([target], source, lineno=0)
    yield from made.frozen


def _attribute(name: str, value: ast.expr) -> ast.stmt:
    return ast.Assign([ast.Attribute(ast.Name("self", ast.Load()), name, ast.Store())], value, lineno=0)


def _parameter(own: Construct) -> ast.expr:
    """A parameter of the class's own: zeros, until weights are loaded."""
    sizes = ast.Tuple([written(value) for name, value in own.args.items() if name.startswith("size")], ast.Load())
    zeros = ast.parse("ops.zeros(s, d)", mode="eval").body
    assert isinstance(zeros, ast.Call)
    zeros.args = [sizes, written(own.args["dtype"])]
    keywords = [] if own.args["trainable"] else [ast.keyword("requires_grad", ast.Constant(False))]
    return ast.Call(ast.parse("ms.Parameter", mode="eval").body, [zeros], keywords)


def _both(train: list[ast.stmt], evaluated: list[ast.stmt] | None) -> list[ast.stmt]:
    """One body for both modes: what they share at the beginning and the end once, the rest under ``if self.training``."""
    if evaluated is None:
        return train
    return branched(train, evaluated, ast.parse("self.training", mode="eval").body)
