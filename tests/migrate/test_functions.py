"""Users' functions as source: what they read becomes constants, imports, definitions, or is refused with its line."""

from __future__ import annotations

import functools
import math
import pickle
import runpy
import textwrap
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cloudpickle
import numpy as np
import pytest
import torch

from dsbridge.errors import Unsupported
from dsbridge.migrate.functions import Functions, FunctionSource, function_source
from dsbridge.migrate.source import carried, literal

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def script(tmp_path: Path) -> Run:
    """Run a text as a script, the way users' are run; its globals."""

    def run(text: str, **given: Any) -> dict[str, Any]:
        path = tmp_path / "train.py"
        path.write_text(textwrap.dedent(text))
        return runpy.run_path(str(path), init_globals=given, run_name="__main__")

    return run


def live(made: FunctionSource) -> Any:
    """The function that the source defines."""
    space: dict[str, Any] = {}
    exec("\n".join(made.imports) + "\n\n\n" + made.definitions, space)
    return space[made.name]


def same(function: Any, *arguments: tuple[Any, ...], name: str = "") -> str:
    """The text of a function's source, which gives what the function gives."""
    made = function_source(function, name)
    again = live(made)
    for given in arguments or tuple((step,) for step in range(30)):
        assert again(*given) == function(*given)
    return "\n".join([*made.imports, made.definitions])


def test_a_lambda_is_cut_out_by_its_column(script: Run) -> None:
    found = script(
        """
        a, b = lambda step: 0.9 ** step, lambda step: 0.8 ** step
        both = [lambda e: e + 1, lambda e: (e
            + 2)]
        nested = lambda k: lambda e: e * k
        """
    )
    assert "0.9" in same(found["a"]) and "0.8" in same(found["b"])
    assert same(found["both"][0]) == "def function(e):  # from " + where(found["both"][0]) + "\n    return e + 1"
    assert "e + 2" in same(found["both"][1])
    assert "def function(e, *, k=3):" in same(found["nested"](3))
    assert "def nested(k):" in function_source(found["nested"]).definitions


def where(function: Any) -> str:
    path = Path(function.__code__.co_filename)
    return f"{path.parent.name}/{path.name}:{function.__code__.co_firstlineno}"


def test_closures_globals_and_settings_become_constants(script: Run) -> None:
    found = script(
        '''
        import argparse
        from dataclasses import dataclass, field

        args = argparse.Namespace(warmup=10, optim=argparse.Namespace(gamma=0.5), stages=[3, 7])
        TOTAL, NAMES = 100, {"a": (1, 2.5), "b": None}

        @dataclass
        class Config:
            floor: float = 1e-3

        config = Config()

        def make(power):
            def schedule(step: int, scale: float = TOTAL / 10) -> float:
                """Up, then "down".

                Slowly.
                """
                if step < args.warmup:
                    return step / args.warmup
                late = sum(args.optim.gamma for stage in args.stages if step > stage)
                return max(config.floor, (1 - step / TOTAL) ** power) * scale + late + NAMES["a"][1]
            return schedule

        made = make(2)
        '''
    )
    text = same(found["made"])
    head = text.splitlines()[0]
    for part in ("scale=10.0", "power=2", "TOTAL=100", "warmup=10", "gamma=0.5", "stages=[3, 7]", "floor=0.001"):
        assert part in head
    assert "args" not in text and "config" not in text and '"""Up, then "down".' in text
    (note,) = function_source(found["made"]).notes
    assert note.code == "constant" and "args.optim.gamma = 0.5" in note.message and note.where == where(found["made"])


def test_helpers_follow_and_imports_stay(script: Run) -> None:
    found = script(
        """
        import math as m
        import numpy as np
        from math import cos, pi
        from functools import lru_cache, partial

        BASE = 2

        def decay(step):
            return BASE ** -step

        @lru_cache
        def fib(n):
            return n if n < 2 else fib(n - 1) + fib(n - 2)

        def doubled(function):
            def wrapper(*args):
                return 2 * function(*args)
            return wrapper

        @doubled
        def schedule(step):
            return decay(step) + m.exp(-step) + cos(pi * step) + float(np.clip(step, 0, 5)) + fib(step % 9)

        halved = partial(decay, step=1)
        use = lambda step: halved() + step
        """
    )
    text = same(found["schedule"])
    for line in ("import math as m", "import numpy as np", "from math import cos"):
        assert line in text.splitlines()
    assert "def decay(step, *, BASE=2):" in text and "pi=3.141592653589793" in text
    assert "halved = functools.partial(decay, step=1)" in same(found["use"]) or "decay_with" in same(found["use"])


def test_methods_read_attributes_of_their_object(script: Run) -> None:
    found = script(
        """
        class Trainer:
            def __init__(self, warmup):
                self.warmup = warmup
                self.step = 0

            def rate(self, step):
                return min(1.0, (step + 1) / self.warmup)

            def fit(self):
                for _ in range(3):
                    self.step += 1
                return lambda step: step / self.warmup

            def wrong(self, step):
                return self.step

        trainer = Trainer(4)
        inner = trainer.fit()
        """
    )
    assert "def rate(step, *, warmup=4):" in same(found["trainer"].rate)
    assert "def function(step, *, warmup=4):" in same(found["inner"])
    with pytest.raises(Unsupported, match=r"reads self.step: the script changes self.step, at .*train.py:12"):
        function_source(found["trainer"].wrong)


def test_functions_that_were_pickled_are_found(script: Run) -> None:
    found = script("total = 7\nf = lambda step: step / total\n")
    again = pickle.loads(cloudpickle.dumps(found["f"]))
    assert "total=7" in same(again)


def test_two_functions_of_one_name_do_not_meet(script: Run) -> None:
    found = script("def make(k):\n    def f(step):\n        return step * k\n    return f\na, b = make(1), make(2)\n")
    functions = Functions(taken=["f"])
    names = [functions.add(found[name]) for name in ("a", "b", "a")]
    assert names == ["f_2", "f_3", "f_2"]
    assert "def f_2(step, *, k=1):" in functions.definitions and "def f_3(step, *, k=2):" in functions.definitions
    assert function_source(found["a"], "lambda").name == "lambda_2"


def test_long_lines_are_broken(script: Run) -> None:
    values = ", ".join(f"step * {n}.5" for n in range(30))
    text = same(script(f"f = lambda step: max({values})\n")["f"])
    assert max(map(len, text.splitlines())) <= 128


CHANGES = """
import random
import torch

count, best, table, shared = 0, 1.0, [1, 2], {"a": 1}
model = torch.nn.Linear(2, 2)
weights = torch.ones(3)

class Half:
    def __call__(self, step):
        return 0.5

    @property
    def now(self):
        return random.random()

half = Half()

def reads_tensor(step): return weights[0] * step  # reads weights: it is a torch.Tensor
def reads_model(step): return 1.0 if model.training else 0.5  # reads model.training: it is an object of torch
def reads_torch(step): return torch.cos(step)  # reads torch.cos
def reads_file(step): return float(open("rate").read())  # open.*cannot be known from the source
def reads_property(step): return half.now  # now is a property
def reads_object(step): return half(step)  # reads half: it is a __main__.Half
def reads_nothing(step): return missing  # reads missing: it has no value
def keeps_global(step):
    global count
    count += 1
    return count  # line -2: changes count
def keeps_list(step): table.append(step); return len(table)  # changes table
def keeps_item(step): shared["a"] += 1; return shared["a"]  # changes shared
def imports_torch(step):
    import torch.nn  # imports torch.nn
    return 1.0
def reads_best(step): return best  # reads best: the script changes best
def hidden(step): return [half.now for half in [half]][0]  # reads half

for epoch in range(3):
    best = best * 0.5
"""


@pytest.mark.parametrize("name", [line.split("(")[0][4:] for line in CHANGES.splitlines() if line.startswith("def ")])
def test_what_cannot_be_written_is_refused_with_its_line(name: str, script: Run) -> None:
    found = script(CHANGES)
    lines = CHANGES.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith(f"def {name}("))
    said = next(number for number, line in enumerate(lines) if number >= at and "# " in line)
    message = lines[said].partition("# ")[2]
    line = said + 1
    if message.startswith("line "):
        back, message = message[5:].split(": ", 1)
        line += int(back)
    with pytest.raises(Unsupported, match=message) as refused:
        function_source(found[name])
    assert refused.value.where.endswith(f"/train.py:{line}")


def test_variables_of_other_functions_are_not_mixed_up(script: Run) -> None:
    """``total`` of evaluate grows, ``total`` of the module does not."""
    found = script(
        """
        total = 10

        def evaluate():
            total = 0
            for _ in range(3):
                total += 1
            return total

        evaluate()
        f = lambda step: step / total

        def main():
            steps = 5
            for _ in range(2):
                other = 3
            def inner(step):
                return step / steps
            return inner

        inner = main()
        """
    )
    assert "total=10" in same(found["f"]) and "steps=5" in same(found["inner"])


def test_a_file_that_has_changed_is_refused(script: Run, tmp_path: Path) -> None:
    found = script("f = lambda step: 0.9 ** step\n")
    (tmp_path / "train.py").write_text("f = lambda step: 0.8 ** step  # edited\n")
    with pytest.raises(Unsupported, match=r"the file has changed since it was run \(.*train.py:1\)"):
        function_source(found["f"])
    space: dict[str, Any] = {}
    exec("f = lambda step: step", space)
    with pytest.raises(Unsupported, match="there is no source for it"):
        function_source(space["f"])


@dataclass
class Scaled:
    factor: float

    def __call__(self, step: int) -> float:
        return step * self.factor


@pytest.mark.parametrize("value", [Scaled(2.0), torch.nn.ReLU(), math.cos, functools.partial(max, torch.ones(1)), 3])
def test_what_is_no_function_of_the_users_is_refused(value: Any) -> None:
    with pytest.raises(Unsupported, match="only functions can be written as source"):
        function_source(value)


def test_an_argument_of_a_partial_must_be_plain(script: Run) -> None:
    found = script("def f(step, weight): return step\n")
    with pytest.raises(Unsupported, match="an argument cannot be written: torch.Tensor is no plain data"):
        function_source(functools.partial(found["f"], weight=torch.ones(1)))


PLAIN = [
    0.1, -3, True, None, 'a"b\\c', "line\nline", b"x", (), (1,), (1, 2.0), [], [[1], {}], {"a": {1: (None,)}}, set(), {3, 1, 2},
    frozenset({"a"}), range(3), float("inf"), -float("inf"), 1e-320, np.float64(0.1), np.int32(3), np.float32(0.1),
]  # fmt: skip


@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_plain_data_comes_back_bit_for_bit(value: Any) -> None:
    again = eval(literal(value))
    assert again == value and (isinstance(value, np.generic) or type(again) is type(value))


@pytest.mark.parametrize(
    "value", [object(), np.ones(2), torch.ones(1), Namespace(a=1), SimpleNamespace(), [object()], [0] * 1001]
)
def test_other_data_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="no plain data|more than 1000 values"):
        literal(value)


def test_carried_definitions_come_with_what_they_use() -> None:
    text = carried(["SequentialLR", "RAdam"])
    for name in ("class ChainedScheduler:", "def second_betas(", "def one_less_exp("):
        assert name in text
    assert "dsbridge" not in text
