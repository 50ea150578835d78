"""Source from syntax trees, with long calls broken over lines as people do."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

WIDTH = 100
STEP = "    "
SHORT = 24  # characters of a call at the end of a chain that stay with it


def header(name: str, arguments: Sequence[str]) -> Iterator[str]:
    """The lines that begin a method.

    >>> list(header("construct", ["self", "x"]))
    ['    def construct(self, x):']
    """
    whole = f"{STEP}def {name}({', '.join(arguments)}):"
    if len(whole) <= WIDTH:
        yield whole
        return
    yield f"{STEP}def {name}("
    line = f"{STEP}{STEP}{', '.join(arguments)}"
    if len(line) <= WIDTH:
        yield line
    else:
        yield from (f"{STEP}{STEP}{argument}," for argument in arguments)
    yield f"{STEP}):"


def statement(node: ast.stmt, indent: str = "") -> Iterator[str]:
    """The lines of a statement.

    >>> list(statement(ast.parse("x = f(1)").body[0], "  "))
    ['  x = f(1)']
    """
    if isinstance(node, ast.Assign):
        targets = "".join(f"{_bare(target)} = " for target in node.targets)
        yield from expression(node.value, indent, targets)
    elif isinstance(node, ast.Return) and node.value is not None:
        yield from expression(node.value, indent, "return ")
    elif isinstance(node, ast.Expr):
        yield from expression(node.value, indent)
    elif isinstance(node, ast.If):
        yield f"{indent}if {ast.unparse(node.test)}:"
        yield from block(node.body, indent + STEP)
        if node.orelse:
            yield f"{indent}else:"
            yield from block(node.orelse, indent + STEP)
    elif isinstance(node, ast.For):
        yield from expression(node.iter, indent, f"for {_bare(node.target)} in ", ":")
        yield from block(node.body, indent + STEP)
    else:
        yield from (indent + line for line in ast.unparse(node).splitlines())


def block(nodes: Sequence[ast.stmt], indent: str) -> Iterator[str]:
    """The lines of statements."""
    for node in nodes:
        yield from statement(node, indent)


def expression(node: ast.expr, indent: str, before: str = "", after: str = "") -> Iterator[str]:
    """The lines of an expression between two texts: on one line if it fits, else each argument on its own."""
    text = ast.unparse(node)
    if isinstance(node, ast.Tuple) and before.strip() == "return":
        text = _bare(node)
    line = f"{indent}{before}{text}{after}"
    opened = _opened(node)
    if len(line) > WIDTH and isinstance(node, ast.BinOp):
        yield f"{indent}{before}("
        for part in _operands(node):
            yield from expression(part, indent + STEP) if isinstance(part, ast.expr) else [f"{indent}{STEP}{part}"]
        yield f"{indent}){after}"
        return
    if len(line) <= WIDTH or opened is None:
        yield line
        return
    begin, parts, end = opened
    yield f"{indent}{before}{begin}"
    together = f"{indent}{STEP}{', '.join(name + ast.unparse(part) for name, part in parts)}"
    if len(together) <= WIDTH:
        yield together
        yield f"{indent}{end}{after}"
        return
    for name, part in parts:
        yield from expression(part, indent + STEP, name, ",")
    yield f"{indent}{end}{after}"


def _opened(node: ast.expr) -> tuple[str, list[tuple[str, ast.expr]], str] | None:
    """How a long expression begins, its parts with what is written before each, and how it ends."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):  # f(a, b).squeeze(-1): what is long is f's
        inner, last = _opened(node.func.value), ast.unparse(node)[len(ast.unparse(node.func.value)) :]
        if inner is not None and len(last) < SHORT:
            return inner[0], inner[1], inner[2] + last
    if isinstance(node, ast.Call) and (node.args or node.keywords):
        parts = [("", one) for one in node.args] + [(f"{k.arg}=", k.value) for k in node.keywords]
        return f"{ast.unparse(node.func)}(", parts, ")"
    if isinstance(node, ast.List) and node.elts:
        return "[", [("", one) for one in node.elts], "]"
    if isinstance(node, ast.Tuple) and node.elts:
        return "(", [("", one) for one in node.elts], ")"
    return None


def _operands(node: ast.BinOp) -> Iterator[ast.expr | str]:
    """The first of a sum (or product), then each other with its sign."""
    alike = next((kinds for kinds in ((ast.Add, ast.Sub), (ast.Mult,)) if isinstance(node.op, kinds)), ())
    hole = ast.Name("_")
    if isinstance(node.left, ast.BinOp) and isinstance(node.left.op, alike):
        yield from _operands(node.left)
    elif isinstance(node.left, ast.Call):
        yield node.left
    else:  # in parentheses where it needs them
        yield ast.unparse(ast.BinOp(node.left, node.op, hole)).rpartition(" ")[0].rpartition(" ")[0]
    yield ast.unparse(ast.BinOp(hole, node.op, node.right))[2:]


def _bare(node: ast.expr) -> str:
    """A tuple without its parentheses."""
    if isinstance(node, ast.Tuple) and len(node.elts) > 1:
        return ", ".join(map(ast.unparse, node.elts))
    return ast.unparse(node)
