"""What is sent to other processes: by value, but torch's odd modules by name."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dsbridge.frameworks.pickling import dumps

SCRIPT = """
import torch

import dsbridge as dsb
from dsbridge.frameworks.pickling import dumps

class Named(torch.utils.data.Dataset):
    classes, ops = ("a", "b", "c"), 2

    def __len__(self):
        return 6

    def __getitem__(self, index):
        return torch.tensor(index % len(self.classes) * self.ops)

if __name__ == "__main__":
    with dsb.DataLoader(Named(), batch_size=3, num_workers=1, multiprocessing_context="spawn") as loader:
        print([batch.tolist() for batch in loader])
    with open("named.pkl", "wb") as file:
        file.write(dumps(Named()))
"""


def test_attributes_with_the_names_of_torchs_odd_modules(tmp_path: Path) -> None:
    """``torch.classes`` and ``torch.ops`` cannot be pickled, and are not what ``self.classes`` means."""
    (tmp_path / "train.py").write_text(SCRIPT)
    done = subprocess.run([sys.executable, "train.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines() == ["[[0, 2, 4], [0, 2, 4]]"]
    assert pickle.loads((tmp_path / "named.pkl").read_bytes())[2] == torch.tensor(4)
    assert sorted(os.listdir(tmp_path)) == ["named.pkl", "train.py"]


@pytest.mark.parametrize("module", [torch.classes, torch.ops])
def test_a_module_is_the_same_one_where_it_arrives(module: object) -> None:
    assert pickle.loads(dumps(module)) is module
