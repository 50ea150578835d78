"""A place in a file where something of torch is used, and what is around it there."""

from __future__ import annotations

from dataclasses import dataclass

import libcst as cst

from dsbridge.migrate.inspect.repository import Origin
from dsbridge.migrate.inspect.resolve import Names
from dsbridge.migrate.inspect.scopes import Scope


@dataclass(frozen=True, slots=True)
class Inside:
    """What a place is inside of.

    ``function``: its name. ``roots``: of the class around it, the classes of other packages that it derives from;
    ``running``: its methods that run when it is called, if it is a module.
    ``forward``: in what runs when a module is called. ``data``: in a dataset, a sampler, a transform of samples or a collate
    function. ``test``: in a condition. ``annotation``: in a type. ``loops``: how many around it in its function. ``branches``:
    the arms of ``if`` that it is in, as (number of the ``if``, arm), those outside of the innermost loop first; ``free``: how
    many of them those are.
    """

    scope: Scope
    function: str = ""
    roots: frozenset[str] = frozenset()
    running: frozenset[str] = frozenset()
    forward: bool = False
    data: bool = False
    test: bool = False
    annotation: bool = False
    loops: int = 0
    branches: tuple[tuple[int, int], ...] = ()
    free: int = 0

    @property
    def conditional(self) -> bool:
        """Whether an ``if`` decides about it, in its function or in the innermost loop there."""
        return len(self.branches) > self.free

    def excludes(self, other: Inside) -> bool:
        """Whether only one of two places can run: they are in different arms of one ``if``."""
        arms = dict(self.branches)
        return any(arms.get(number, arm) != arm for number, arm in other.branches)


@dataclass(frozen=True, slots=True)
class Use:
    """Something that rules may be about.

    ``keys``: what a rule's ``on`` may say to mean it, the most particular first (see ``rules.rule.Rule``). ``name``: what
    messages call it. ``node``: where it is. ``call``: with its arguments. ``value``: of an argument or assignment, the
    expression.
    """

    keys: tuple[str, ...]
    name: str
    node: cst.CSTNode
    inside: Inside
    names: Names
    call: cst.Call | None = None
    value: cst.CSTNode | None = None
    detail: str = ""

    def argument(self, keyword: str, position: int | None = None) -> cst.CSTNode | None:
        """The expression given for an argument, None where it is not given."""
        if self.call is None:
            return None
        for number, one in enumerate(self.call.args):
            if (one.keyword is not None and one.keyword.value == keyword) or (one.keyword is None and number == position):
                return one.value
        return None

    def kind(self, expression: cst.CSTNode) -> str:
        """What an expression is: see ``Names.kind``."""
        return self.names.kind(expression, self.inside.scope)

    def origin(self, expression: cst.CSTNode) -> Origin | None:
        """Where a name comes from: see ``Names.origin``."""
        return self.names.origin(expression, self.inside.scope)
