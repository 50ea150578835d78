"""Names are followed as Python does: aliases, scopes, shadows, re-exports; and what a value is, as far as the code says it."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from dsbridge.migrate.inspect import Row, inspect


def rows(folder: Path, code: str) -> list[Row]:
    path = folder / "code.py"
    path.write_text(textwrap.dedent(code))
    return list(inspect(path).rows)


def said(folder: Path, code: str, *without: str) -> list[str]:
    """Rule and line of each row but for imports."""
    return [f"{row.rule}:{row.line}" for row in rows(folder, code) if row.rule not in ("MIG101", *without)]


@pytest.mark.parametrize(
    "code",
    [
        "import torch\ntorch.nn.Conv2d(1, 2, 3)",
        "import torch as t\nt.nn.Conv2d(1, 2, 3)",
        "import torch.nn\ntorch.nn.Conv2d(1, 2, 3)",
        "import torch.nn as nn\nnn.Conv2d(1, 2, 3)",
        "from torch import nn as layers\nlayers.Conv2d(1, 2, 3)",
        "from torch.nn import Conv2d as C\nC(1, 2, 3)",
        "from torch.nn.modules.conv import Conv2d\nConv2d(1, 2, 3)",
        "from torch.nn import *\nConv2d(1, 2, 3)",
        "import torch; layers = torch.nn; C = layers.Conv2d\nC(1, 2, 3)",
        "try:\n    from torch import nn\nexcept ImportError:\n    nn = None\nnn.Conv2d(1, 2, 3)",
        "from torch import nn\ndef f():\n    g = lambda: [nn.Conv2d(1, 2, i) for i in (1, 3)]",
        "from torch import nn\nif (made := nn.Conv2d(1, 2, 3)):\n    pass",
        "def f():\n    from torch import nn\n    def g():\n        return nn.Conv2d(1, 2, 3)",
        "from torch import nn\nclass A:\n    made = nn.Conv2d(1, 2, 3)\n    class B:\n        def f(self, c=nn.Conv2d): pass",
        "def f():\n    global nn\n    from torch import nn\nnn.Conv2d(1, 2, 3)",
    ],
)
def test_a_name_is_known_however_it_is_imported(code: str, tmp_path: Path) -> None:
    """One layer in the table, by fifteen ways."""
    assert "MIG303" in {row.rule for row in rows(tmp_path, code)}
    assert {row.message.split()[0] for row in rows(tmp_path, code) if row.rule == "MIG303"} == {"torch.nn.Conv2d"}


@pytest.mark.parametrize(
    "code",
    [
        "torch = 3\ntorch.nn.Conv2d",
        "import torch\ndef f(torch):\n    torch.nn.Conv2d",
        "import torch\ndef f():\n    torch = g()\n    torch.nn.Conv2d",
        "import torch\n[torch.nn.Conv2d for torch in x]",
        "import torch\nlambda torch: torch.nn.Conv2d",
        "from torch.nn import Conv2d\ndef Conv2d(): pass\nConv2d()",
        "from torch.nn import Conv2d\nclass Conv2d: pass\nConv2d()",
        "from torch.nn import Conv2d\nfor Conv2d in x:\n    Conv2d()",
        "from torch.nn import Conv2d\ndef f():\n    with g() as Conv2d:\n        Conv2d()",
        "from torch.nn import Conv2d\ndef f():\n    try: g()\n    except E as Conv2d:\n        Conv2d()",
        "from torch.nn import Conv2d\ndef f(x):\n    match x:\n        case [Conv2d, *_]: Conv2d()",
        "class A:\n    from torch.nn import Conv2d\n    def f(self):\n        Conv2d()",
        "def f():\n    from torch.nn import Conv2d\nConv2d()",
        "import torch\nx.torch.nn.Conv2d()",
        "import torch\nf(torch=1); x = {'torch.nn.Conv2d': 1}  # torch.nn.Conv2d",
        "from mine.torch.nn import Conv2d\nConv2d()",
        "import torch\ntype Conv2d = int",
    ],
)
def test_what_only_looks_like_torch_is_not(code: str, tmp_path: Path) -> None:
    """Arguments, variables, own functions and classes, loop variables, keywords, strings and comments."""
    assert "MIG303" not in {row.rule for row in rows(tmp_path, code)}


def test_an_own_relu_is_not_that_of_torch(tmp_path: Path) -> None:
    """Only the second call below is torch's."""
    code = """\
    import torch.nn.functional as F
    def relu(x): return x
    relu(x)
    F.relu(x)
    """
    assert said(tmp_path, code) == ["MIG305:4"]


def test_aliases_are_rows_where_they_are_used(tmp_path: Path) -> None:
    """Of two under an ``if`` each is one where it is assigned, as the use may mean either."""
    code = """\
    from torch import nn
    norm = nn.BatchNorm2d
    norm(3)
    if fast:
        act = nn.ReLU
    else:
        act = nn.GELU
    act()
    """
    assert said(tmp_path, code) == ["MIG303:3", "MIG303:7", "MIG303:8"]


def test_a_small_repository_hands_names_on(tmp_path: Path) -> None:
    """Through relative imports, stars, packages, aliases and files that import each other; classes keep their roots."""
    files = {
        "train.py": "from net import models\nfrom net.layers import Conv, optimizer\nfrom net import *\n"
        "import net.tools as tools\nConv(1, 2, 3)\nmodel = models.Big()\nmodel.eval()\ntools.F.relu(x)\nSGD(p)\n"
        "made = models.Optimizer(p)\nmade.step()",
        "net/__init__.py": "from .layers import *\nfrom .models import Net\n",
        "net/layers.py": "from torch.nn import Conv2d as Conv\nfrom torch.optim import SGD\nfrom . import models\n"
        "optimizer = SGD\n",
        "net/models.py": "from .base import Base\nclass Net(Base):\n    def forward(self, x):\n        return x.item()\n"
        "class Big(Net): pass\nfrom .layers import SGD as Optimizer\n",
        "net/base.py": "from torch import nn\nfrom .models import Net\nclass Base(nn.Module): pass\n",
        "net/tools/__init__.py": "from torch.nn import functional as F\n",
        "other/unrelated.py": "import json\njson.loads('1')\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    report = inspect(tmp_path)
    found = {f"{row.path}:{row.line} {row.rule}" for row in report.rows}
    expected = {
        "train.py:5 MIG303", "train.py:7 MIG614", "train.py:8 MIG305", "train.py:9 MIG501", "train.py:10 MIG501",
        "train.py:11 MIG607", "net/models.py:2 MIG301", "net/models.py:4 MIG352", "net/base.py:3 MIG301",
    }  # fmt: skip
    assert expected <= found, sorted(found)
    assert report.files == 7
    assert not any(row.path == "other/unrelated.py" for row in report.rows)


def test_packages_are_found_beside_under_src_and_by_their_own_name(tmp_path: Path) -> None:
    """``src/`` layouts, scripts in a folder of their own, and a package inspected by itself."""
    (tmp_path / "src" / "pkg").mkdir(parents=True)
    (tmp_path / "tools").mkdir()
    (tmp_path / "src" / "pkg" / "__init__.py").write_text("from torch.nn import Linear as Dense\n")
    (tmp_path / "src" / "pkg" / "use.py").write_text("from pkg import Dense\nDense(3, 2)\n")
    (tmp_path / "tools" / "helper.py").write_text("from torch.nn import Linear as Dense\n")
    (tmp_path / "tools" / "run.py").write_text("from helper import Dense\nfrom pkg import Dense as D\nDense(3, 2); D(3, 2)\n")
    layers = [row.where for row in inspect(tmp_path).rows if row.rule == "MIG303"]
    assert layers == ["src/pkg/use.py:2:1", "tools/run.py:3:1", "tools/run.py:3:14"]
    assert [row.where for row in inspect(tmp_path / "src" / "pkg").rows if row.rule == "MIG303"] == ["use.py:2:1"]


@pytest.mark.parametrize(
    ("made", "method", "rule"),
    [
        ("x = torch.optim.SGD(p)", "x.step()", "MIG607"),
        ("x = torch.optim.SGD(p) if fast else torch.optim.Adam(p)", "x.step()", "MIG607"),
        ("x: torch.optim.Optimizer", "x.step()", "MIG607"),
        ("def f(x: torch.optim.Optimizer): ...", "optimizer.step()", "MIG607"),
        ("x = torch.optim.lr_scheduler.StepLR(o, 3)", "x.step()", "MIG557"),
        ("x = torch.amp.GradScaler()", "x.update()", "MIG653"),
        ("x = torch.nn.Linear(3, 2).cuda()", "x.eval()", "MIG614"),
        ("class N(torch.nn.Module): pass\nx = N()", "x.eval()", "MIG614"),
        ("x, y = torch.nn.Linear(3, 2), 1", "x.eval()", "MIG614"),
        ("x = torch.compile(m)", "x.eval()", "MIG614"),
        ("y = torch.optim.SGD(p)\nx = y", "x.step()", "MIG607"),
        ("for x in [1]: pass", "lr_scheduler.step()", "MIG557"),
    ],
)
def test_methods_are_known_by_what_their_owner_is(made: str, method: str, rule: str, tmp_path: Path) -> None:
    """By its maker, its annotation, or what people call such a thing."""
    assert f"{rule}:{made.count(chr(10)) + 3}" in said(tmp_path, f"import torch\n{made}\n{method}\n")


def test_attributes_of_self_are_known_in_all_methods(tmp_path: Path) -> None:
    """``self.opt`` is made in one method and stepped in another."""
    code = """\
    import torch
    class Trainer:
        def __init__(self, p):
            self.chosen = torch.optim.SGD(p)
        def go(self):
            self.chosen.step()
            self.other.step()
    """
    assert said(tmp_path, code) == ["MIG501:4", "MIG607:6"]


def test_forward_reaches_as_far_as_it_calls(tmp_path: Path) -> None:
    """Methods that forward calls belong to it, others of the class do not."""
    code = """\
    from torch import nn
    class Net(nn.Module):
        def forward(self, x):
            return self._head(x)
        def _head(self, x):
            def inner(y):
                return y.item()
            return inner(x)
        def summary(self, x):
            return x.item()
    """
    assert said(tmp_path, code, "MIG301") == ["MIG352:7"]


@pytest.mark.parametrize(
    ("condition", "reads"),
    [
        ("x.sum() > 0", True),
        ("not torch.isfinite(x).all()", True),
        ("(x > 0).any() and self.training", True),
        ("x[0] == 1", True),
        ("y > 3", True),  # y = x * 2
        ("torch.rand([]) < 0.5", True),
        ("bool(x.any())", True),
        ("x.shape[0] > 3", False),
        ("x.size(0) == x.numel()", False),
        ("x.dtype == torch.float16 or x.is_cuda", False),
        ("x is not None and len(x) > 2", False),
        ("self.rate > 0.5", False),
        ("torch.is_grad_enabled() or torch.jit.is_scripting()", False),
        ("flag", False),
        ("mode == 'fast'", False),
        ("n > 3", False),  # n = x.shape[0]
    ],
)
def test_conditions_on_values_are_told_from_those_on_sizes(condition: str, reads: bool, tmp_path: Path) -> None:
    """A recording follows sizes, dtypes and settings."""
    code = f"""\
    import torch
    class Net(torch.nn.Module):
        def forward(self, x, flag=None, mode="fast"):
            y = x * 2
            n = x.shape[0]
            if {condition}:
                return y
            return x
    """
    assert ("MIG351:6" in said(tmp_path, code)) == reads


def test_columns_count_characters_from_one(tmp_path: Path) -> None:
    """Not bytes; the end is one past the last character."""
    (row,) = [row for row in rows(tmp_path, "import torch\nüü = 'é', torch.save({}, 'ü')\n") if row.rule == "MIG801"]
    assert (row.line, row.column, row.end) == (2, 11, (2, 21))
