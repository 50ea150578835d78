"""Files of all kinds: none is a crash, none is left out in silence."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import libcst
import pytest

from dsbridge.errors import UsageError
from dsbridge.migrate.inspect import InspectReport, inspect


def one(folder: Path, data: bytes, name: str = "code.py") -> InspectReport:
    path = folder / name
    path.write_bytes(data)
    return inspect(path)


@pytest.mark.parametrize(
    ("data", "rule", "line", "words"),
    [
        (b"import torch\nx = (\n", "MIG001", 2, "was never closed"),
        (b"print 'x'\n", "MIG001", 1, "Missing parentheses"),
        (b"import torch\n\xff\n", "MIG002", 2, "invalid start byte"),
        (b"# -*- coding: no-such -*-\nimport torch\n", "MIG002", 1, "unknown encoding"),
        (b"import torch\nx = 1\x00\n", "MIG001", 1, "null bytes"),
        (b"x = " + b"(" * 5000 + b")" * 5000, "MIG001", 1, "nested too deeply"),
        (b"x = " + b"-" * 100_000 + b"1", "MIG001", 1, "nested too deeply"),
        (b"import torch\n" + b"if a: pass\n" + b"elif a: pass\n" * 5000, "MIG001", 1, "nested too deeply"),
    ],
    ids=["open", "python 2", "bytes", "coding", "null", "brackets", "signs", "elifs"],
)
def test_what_cannot_be_read_is_a_row(data: bytes, rule: str, line: int, words: str, tmp_path: Path) -> None:
    """With the line and the reason; libcst alone dies on the brackets and hangs on the signs."""
    (row,) = one(tmp_path, data).rows
    assert (row.rule, row.line, row.severity) == (rule, line, "unsupported")
    assert words in row.message


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xef\xbb\xbfimport torch\n",
        b"# -*- coding: latin-1 -*-\nimport torch  # \xe9\n",
        b"import torch\r\nx = torch.relu(x)\r\n",
        b"import torch\n\x0cx = 1",
        b"import torch\ntype X = int\ndef f[T](x: T): pass\n",
        b"import torch\nx = t'{y}'\n",
        b"import torch\nx = '\\d'\nos.environ['\\d']; x.to('\\d')\n",
        b"import torch\nawait x\n",
        b"import torch\ntry:\n    pass\nexcept* ValueError:\n    pass\n",
        b"import torch\nmatch x:\n    case {'a': torch, **rest}: pass\n    case [*all] | str(real=b): pass\n",
        b"import torch\ndel torch\nassert x, y\nwith a as (b, c): pass\nx[1:2, ...], *y = z\n",
        b"import torch\nclass A(metaclass=B, **c): x: int\nasync def f(*, a, **k): return [i async for i in a]\n",
    ],
)
def test_odd_but_valid_files_are_read(data: bytes, tmp_path: Path) -> None:
    """Encodings, line ends, syntax of later versions than the Python that runs."""
    assert not [row for row in one(tmp_path, data).rows if row.family == "files"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_a_row(tmp_path: Path) -> None:
    """And the others are read."""
    (tmp_path / "a.py").write_text("import torch\n")
    (tmp_path / "b.py").write_text("import torch\n")
    (tmp_path / "a.py").chmod(0)
    assert [row.rule for row in inspect(tmp_path).rows] == ["MIG003", "MIG101"]


def test_an_error_while_reading_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a file without permission, which root cannot make."""

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a.py").write_text("import torch\n")
    monkeypatch.setattr(Path, "read_bytes", refuse)
    (row,) = inspect(tmp_path).rows
    assert (row.rule, row.message) == ("MIG003", "the file is not read: Permission denied")


def test_what_is_skipped_is_counted(tmp_path: Path) -> None:
    """Version control, environments, caches, packages of others, links, pipes, huge files."""
    torch = "import torch\n"
    for name in (".git/hook.py", "env/lib/x.py", "__pycache__/x.py", "node_modules/x.py", "src/a.py", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(torch)
    (tmp_path / "env" / "pyvenv.cfg").touch()
    (tmp_path / "huge.py").write_text("x = 1\n" * 400_000)
    (tmp_path / "src" / "loop").symlink_to(tmp_path)
    (tmp_path / "again.py").symlink_to(tmp_path / "src" / "a.py")
    (tmp_path / "broken.py").symlink_to(tmp_path / "nowhere.py")
    os.mkfifo(tmp_path / "pipe.py")
    report = inspect(tmp_path)
    assert [row.where for row in report.rows] == ["src/a.py:1:8"]
    assert {one.path: one.reason for one in report.skipped} == {
        ".git": "version control",
        "__pycache__": "caches",
        "again.py": "links to files that are read anyway",
        "broken.py": "links to nowhere, pipes and devices",
        "env": "virtual environments",
        "huge.py": "files of more than 2 MB",
        "node_modules": "packages of others",
        "pipe.py": "links to nowhere, pipes and devices",
        "src/loop": "links to folders",
    }
    assert "2 links to nowhere, pipes and devices" in str(report)


def test_a_link_out_of_the_folder_is_read(tmp_path: Path) -> None:
    """One to a file, under the name that it has here."""
    (tmp_path / "repo").mkdir()
    (tmp_path / "shared.py").write_text("import torch\n")
    (tmp_path / "repo" / "a.py").symlink_to(tmp_path / "shared.py")
    assert [row.where for row in inspect(tmp_path / "repo").rows] == ["a.py:1:8"]


def notebook(*cells: str | None, **metadata: object) -> bytes:
    """None: a cell of text."""
    made = [
        {"cell_type": "markdown", "source": ["# torch"]}
        if cell is None
        else {"cell_type": "code", "source": cell.splitlines(True)}
        for cell in cells
    ]
    return json.dumps({"cells": made, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}).encode()


def test_cells_of_a_notebook_know_each_other_and_their_numbers(tmp_path: Path) -> None:
    """What is imported in one is used in the next; magic commands are no errors; lines are the cell's own."""
    data = notebook(
        "!pip install torch\n%matplotlib inline\nimport torch\nfiles = !ls\n",
        None,
        "%%time\nx = 1\ntorch.jit.script(model)\nmodel?",
        "x = (7\n % 3)\ntorch.jit.trace(model, x)",
    )
    found = [row.where for row in one(tmp_path, data, "a.ipynb").rows if row.rule != "MIG309"]
    assert found == ["a.ipynb:cell 1:3:8", "a.ipynb:cell 3:3:1", "a.ipynb:cell 4:3:1"]


def test_cells_that_are_no_python_are_rows(tmp_path: Path) -> None:
    """Another language, and syntax errors; the other cells are read."""
    report = one(tmp_path, notebook("import torch", "%%bash\nls", "def f(:\n", "torch.jit.script(m)"), "a.ipynb")
    assert [(row.rule, row.place) for row in report.rows] == [
        ("MIG101", "cell 1:1:8"),
        ("MIG004", "cell 2:1:1"),
        ("MIG004", "cell 3:1:1"),
        ("MIG902", "cell 4:1:1"),
    ]
    assert report.rows[1].message == "cell 2 is not read: it is for %%bash"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"no json", "it is no notebook (JSONDecodeError)"),
        (b"[]", "it is no notebook (AttributeError)"),
        (b"{}", "it is no notebook (KeyError)"),
        (b'{"cells": [3]}', "it is no notebook (AttributeError)"),
        (notebook("1", language_info={"name": "julia"}), "its language is julia"),
    ],
)
def test_what_is_no_notebook_is_a_row(data: bytes, why: str, tmp_path: Path) -> None:
    """Whatever its content is."""
    (row,) = one(tmp_path, data, "a.ipynb").rows
    assert (row.rule, row.message) == ("MIG005", f"the file is not read: {why}")


def test_notebooks_of_format_three_are_read(tmp_path: Path) -> None:
    """Their cells are in worksheets, and called input."""
    data = json.dumps({"worksheets": [{"cells": [{"cell_type": "code", "input": "import torch"}]}]}).encode()
    assert [row.where for row in one(tmp_path, data, "a.ipynb").rows] == ["a.ipynb:cell 1:1:8"]


def test_comments_silence_rows_and_are_counted(tmp_path: Path) -> None:
    """By rule, on the row's line; one that silences nothing is a row itself."""
    data = b"""import torch  # dsbridge: ignore[MIG101]
torch.jit.script(m)  # dsbridge: ignore[MIG101, MIG902]
text = "# dsbridge: ignore[MIG902]"; torch.jit.script(m)
"""
    report = one(tmp_path, data)
    assert [(row.rule, row.line) for row in report.rows] == [("MIG006", 2), ("MIG902", 3)]
    assert [(row.rule, row.line) for row in report.silenced] == [("MIG101", 1), ("MIG902", 2)]
    assert "there is no MIG101 on this line" in report.rows[0].message
    assert "silenced by comments: 2" in str(report)


def test_comments_in_notebooks_count_by_cell(tmp_path: Path) -> None:
    """The second cell's first line is not the first cell's."""
    data = notebook("import torch  # dsbridge: ignore[MIG101]", "import torch\nx = 1  # dsbridge: ignore[MIG902]")
    report = one(tmp_path, data, "a.ipynb")
    assert [(row.rule, row.place) for row in report.rows] == [("MIG101", "cell 2:1:8"), ("MIG006", "cell 2:2:1")]
    assert len(report.silenced) == 1


@pytest.mark.slow  # processor time, which tests beside it double
def test_a_report_takes_less_than_four_times_the_parsing(tmp_path: Path) -> None:
    """Of two thousand lines, once the tables are there: processor time, interleaved, the best of three each."""
    block = """
class Block{n}(nn.Module):
    def __init__(self, width, heads=8, dropout=0.1):
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x, mask=None):
        y = self.norm(x)
        attended, _ = self.attention(y, y, y, attn_mask=mask)
        x = x + F.dropout(attended, 0.1, self.training)
        if x.sum() > 0:
            x = x.view(x.shape[0], -1, x.size(-1)).contiguous()
        return torch.cat([x, self.mlp(x)], dim=-1)[:, :, : x.shape[-1]]
"""
    code = "import torch\nimport torch.nn.functional as F\nfrom torch import nn\n"
    (tmp_path / "code.py").write_text(code + "".join(block.replace("{n}", str(n)) for n in range(133)))
    assert len((tmp_path / "code.py").read_text().splitlines()) > 1990
    inspect(tmp_path)
    parsed, taken = [], []
    for _ in range(3):
        start = time.process_time()
        libcst.parse_module((tmp_path / "code.py").read_text())
        parsed.append(time.process_time() - start)
        start = time.process_time()
        report = inspect(tmp_path)
        taken.append(time.process_time() - start)
    assert min(taken) < 4 * min(parsed)
    assert len(report.rows) == 1998


def test_progress_is_told_by_file(tmp_path: Path) -> None:
    """Name, number, all."""
    for name in ("a.py", "b.py"):
        (tmp_path / name).touch()
    told: list[tuple[str, int, int]] = []
    inspect(tmp_path, lambda name, done, total: told.append((Path(name).name, done, total)))
    assert told == [("a.py", 0, 2), ("b.py", 1, 2)]


def test_a_path_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    """Nothing was inspected."""
    with pytest.raises(UsageError, match="is not there"):
        inspect(tmp_path / "no")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="is neither a file nor a folder"):
        inspect(tmp_path / "pipe")
