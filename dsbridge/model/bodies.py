"""A frame as statements of ``construct``: what the source wrote as one expression stays one, and names stay names."""

from __future__ import annotations

import ast
import keyword
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from dsbridge.errors import Unsupported
from dsbridge.model import mint
from dsbridge.model.code import Hole, code, lift, named
from dsbridge.model.construct import Refused
from dsbridge.model.frames import Frame
from dsbridge.model.functions.registry import express
from dsbridge.model.hints import default_name, give_hints, same_statement
from dsbridge.model.nodes import ARITHMETIC, CALL, INPUT, ITEM, MODULE, NUMBER, SIZE, STATE, Node
from dsbridge.model.source import statement

RESERVED = {"self", "nn", "ops", "ms", "mint", "OrderedDict", "math", *keyword.kwlist}


@dataclass(slots=True)
class Body:
    """``construct``: its arguments and statements; ``numbers``: attributes it reads, by (module path, name)."""

    arguments: list[str]
    statements: list[ast.stmt]
    numbers: dict[tuple[str, str], Any] = field(default_factory=dict)
    states: dict[str, Node] = field(default_factory=dict)

    def text(self) -> str:
        """The statements as source."""
        return "\n".join(map(ast.unparse, self.statements))


def body(
    frame: Frame, spell: Callable[[str], ast.expr], taken: frozenset[str] = frozenset(),
    takes: Mapping[str, tuple[int, ...]] | None = None, flavour: str = "nn",
) -> Body:  # fmt: skip
    """The body of a frame. ``spell``: a path below the module (``"layers.0.norm"``, ``"scale"``) as an expression.

    ``takes``: for modules that do not read all arguments they are called with, the positions of those they do.

    Raises ``Unsupported`` with module path, operation and line for what has no expression.
    """
    return _Writer(frame, spell, taken, takes or {}, flavour).write()


Target = Node | None | list[Any]  # None: what nobody reads; a list of targets: a tuple within the tuple


@dataclass(slots=True)
class _Line:
    """A statement to be: the nodes it names, and a tree whose holes are named nodes."""

    targets: list[Target]
    tree: ast.expr
    unpacks: bool = False
    stores: bool = False  # the tree is (x[index], value)


class _Writer:
    def __init__(
        self,
        frame: Frame,
        spell: Callable[[str], ast.expr],
        taken: frozenset[str],
        takes: Mapping[str, tuple[int, ...]],
        flavour: str,
    ) -> None:
        self._frame, self._spell, self._takes, self._flavour = frame, spell, takes, flavour
        self._trees: dict[Node, ast.expr] = {}
        self._uses: Counter[Node] = Counter()
        self._consumer: dict[Node, Node | None] = {}
        self._written: set[Node] = set()
        self._named: set[Node] = set(frame.arguments.values())
        self._lines: list[_Line] = []
        self._reserved = RESERVED | taken
        self._body = Body(list(frame.arguments), [])
        self._own = {id(node) for node in (*frame.nodes, *frame.arguments.values())}

    def write(self) -> Body:
        frame = self._frame
        give_hints(frame.nodes)
        returned = lift(tuple(frame.outputs)) if len(frame.outputs) > 1 else lift(frame.outputs[0])
        self._need(returned)
        self._count(returned)
        for node in frame.nodes:
            if node in self._trees and node.op in (CALL, MODULE) and node not in self._named and not self._inlined(node):
                self._assign(node)
        self._line([], returned)
        self._body.statements += self._statements()
        return self._body

    # ---- which expressions there are

    def _need(self, tree: ast.expr) -> None:
        """Make the expressions of all nodes in a tree, and of those in theirs."""
        for node in _holes(tree):
            if node not in self._trees:
                tree = self._tree(node)
                self._trees.setdefault(node, tree)  # unless it turned out to be written to on the way
                self._need(self._trees[node])

    def _count(self, returned: ast.expr) -> None:
        """How often each node is read once sizes and the like are written where they are used, and by whom last."""

        def walk(tree: ast.expr, consumer: Node | None) -> None:
            for node in _holes(tree):
                self._uses[node] += 1
                self._consumer[node] = consumer
                if self._stands_for_another(node):
                    walk(self._trees[node], consumer)

        walk(returned, None)
        for node in self._frame.nodes:
            if node in self._trees and node.op in (CALL, MODULE) and not self._stands_for_another(node):
                walk(self._trees[node], node)

    def _stands_for_another(self, node: Node) -> bool:
        """Whether it is written out wherever it is read: sizes and numbers, and other names for the same tensor."""
        if node.op in (CALL, MODULE):
            return isinstance(self._trees[node], Hole) or node.target == "constant"
        return node.op != INPUT

    def _tree(self, node: Node) -> ast.expr:
        try:
            return self._made(node)
        except (Refused, TypeError, AssertionError) as exc:
            raise Unsupported(self._frame.path, str(node.target), str(node.place), str(exc)) from exc

    def _made(self, node: Node) -> ast.expr:
        if node.is_origin and id(node) not in self._own:
            raise Refused("it uses a size of another module's tensor, which was not passed to it")
        if node.op == INPUT:
            return ast.Name(str(node.target), ast.Load())
        if node.op == CALL and node.target == "__setitem__":
            return self._store(node)
        if node.op == CALL:
            return lift(mint.express(node) if self._flavour == "mint" else express(node))
        if node.op == MODULE:
            function, keywords = self._spell(self._below(node.target)), node.kwargs.items()
            positions = self._takes.get(node.target, range(len(node.args)))
            return ast.Call(
                function, [lift(_tuples(node.args[at])) for at in positions], [ast.keyword(k, lift(v)) for k, v in keywords]
            )
        if node.op == STATE:
            self._body.states[str(node.target)] = node
            return self._spell(str(node.target))
        if node.op == ITEM:
            return code("x[i]", x=node.args[0], i=node.target).tree
        if node.op == SIZE:
            return code("x.shape[i]", x=node.args[0], i=node.target).tree
        if node.op == NUMBER:
            return self._number(node)
        assert node.op == ARITHMETIC, node.op
        if node.target == "neg":
            return code("-x", x=node.args[0]).tree
        return code(f"x {node.target} y", x=node.args[0], y=node.args[1]).tree

    def _store(self, node: Node) -> ast.expr:
        x, index, value = node.args
        while x.op == CALL and x.target != "clone" and isinstance(tree := self._tree(x), Hole):
            x = tree.node  # another name for the same tensor
        if x.op == CALL and x.target == "clone":
            self._trees[x] = code("x.copy()", x=x.args[0]).tree
            self._need(self._trees[x])
        if x.op != CALL:
            raise Refused("it writes into an argument or a parameter")
        self._written.add(x)
        return ast.Tuple([code("x[i]", x=x, i=index).tree, lift(value)], ast.Load())

    def _below(self, path: str) -> str:
        if self._frame.path and not path.startswith(f"{self._frame.path}."):
            raise Refused(f"{path} is not a part of the module that calls it")
        return path[len(self._frame.path) + 1 :] if self._frame.path else path

    def _number(self, node: Node) -> ast.expr:
        path, name = node.target
        if path != self._frame.path:  # another module's: as it is now
            return lift(node.value)
        self._body.numbers[node.target] = node.value
        return code(f"self.{name}").tree

    # ---- which become statements

    def _inlined(self, node: Node) -> bool:
        if self._stands_for_another(node):
            return True
        if self._uses[node] != 1 or node in self._written or node.target == "__setitem__":
            return False
        consumer = self._consumer[node]
        if consumer is None:
            return not node.hint
        return same_statement(node, consumer) and (not node.hint or node.hint == consumer.hint)

    def _assign(self, node: Node) -> None:
        count = node.value or len(statement(node.place).targets)  # a module's may be fewer: what is no tensor is not returned
        targets = self._unpacked(node, count) if statement(node.place).unpacks else None
        if targets is not None:
            self._line(targets, self._trees[node], unpacks=True)
        else:
            self._line([node], self._trees[node])

    def _unpacked(self, node: Node, count: int) -> list[Target] | None:
        """What the items of a node are assigned to, if all that are read have names."""
        read = [item for item in self._frame.nodes if item.op == ITEM and item.args[0] is node and self._uses[item]]
        targets: list[Target] = [None] * count
        for item in read:
            within = self._unpacked(item, len(nested)) if (nested := self._nested(item)) and not item.hint else None
            if int(item.target) >= count or not (item.hint or within):
                return None
            targets[int(item.target)] = within or item
        return targets if read else None

    def _nested(self, item: Node) -> tuple[str | None, ...]:
        return statement(item.place).nested.get(item.target, ())

    def _line(self, targets: list[Target], tree: ast.expr, unpacks: bool = False) -> None:
        tree, nodes = self._expanded(tree), list(_nodes(targets))
        self._lines.append(_Line(targets, tree, unpacks, any(node.target == "__setitem__" for node in nodes)))
        self._named.update(nodes)

    def _expanded(self, tree: ast.expr) -> ast.expr:
        """The tree down to named nodes. Sizes and sums that the source names and reads twice become lines of their own."""

        def fill(node: Node) -> ast.expr | str:
            if node in self._named:
                return Hole.of(node)
            if node.hint and node.op in (SIZE, ARITHMETIC) and self._uses[node] > 1:
                self._line([node], self._trees[node])
                return Hole.of(node)
            return named(self._trees[node], fill)

        return named(tree, fill)

    # ---- what they are called

    def _statements(self) -> list[ast.stmt]:
        last: dict[Node, int] = {}
        for number, line in enumerate(self._lines):
            for node in _holes(line.tree):
                last[node] = number
        names: dict[Node, str] = {node: name for name, node in self._frame.arguments.items()}
        holder: dict[str, Node] = dict(self._frame.arguments)
        made: list[ast.stmt] = []
        for number, line in enumerate(self._lines):
            value = named(line.tree, lambda node: names[node])
            if not line.targets:
                made.append(ast.Return(value))
                continue
            if line.stores:
                assert isinstance(value, ast.Tuple)
                (stored_to,), (place, stored_value) = line.targets, value.elts
                assert isinstance(stored_to, Node)
                assert isinstance(place, ast.Subscript)
                names[stored_to] = ast.unparse(place.value)
                holder[names[stored_to]] = stored_to
                place.ctx = ast.Store()
                made.append(ast.Assign([place], stored_value, lineno=0))
                continue

            def store(target: Target, number: int = number) -> ast.expr:
                if isinstance(target, list):
                    return ast.Tuple([store(one) for one in target], ast.Store())
                name = "_"
                if target is not None:
                    name = self._free(target, number, holder, last)
                    names[target], holder[name] = name, target
                return ast.Name(name, ast.Store())

            target = store(line.targets if line.unpacks else line.targets[0])
            made.append(ast.Assign([target], value, lineno=0))
        return made

    def _free(self, node: Node, number: int, holder: dict[str, Node], last: dict[Node, int]) -> str:
        """Its name, or one like it: none that holds something that is still to be read."""
        said = statement(node.place)
        part = said.targets[0] if len(said.targets) == 1 and not said.unpacks else ""  # on the way to what it assigns
        wanted = node.hint or part or default_name(node)
        name, suffix = wanted, 1
        while name in self._reserved or (name in holder and last.get(holder[name], -1) > number):
            name, suffix = f"{wanted}_{suffix}", suffix + 1
        return name


def _tuples(value: Any) -> Any:
    """Lists of tensors as tuples, which graph mode takes as arguments."""
    return tuple(map(_tuples, value)) if isinstance(value, (tuple, list)) else value


def _nodes(targets: Iterable[Target]) -> Iterator[Node]:
    for target in targets:
        if isinstance(target, list):
            yield from _nodes(target)
        elif target is not None:
            yield target


def _holes(tree: ast.AST) -> Iterator[Node]:
    for part in ast.walk(tree):
        if isinstance(part, Hole):
            yield part.node
