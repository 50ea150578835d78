"""Emitted source: runs without torch and dsbridge, gives the same bytes, reads clean."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from harness import array
from torchvision_shim import v1, v2

from dsbridge.transforms import catalog, ops, translate
from dsbridge.transforms.bundle import Bundle

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
TRAIN = v1.Compose([v1.RandomResizedCrop(24), v1.RandomHorizontalFlip(), v1.ToTensor(), v1.Normalize(MEAN, STD)])
HEAVY = v2.Compose(
    [
        v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.7),
        v2.RandomChoice([v2.RandomRotation(20), v2.RandomAffine(10, (0.1, 0.1))]),
        v2.RandAugment(),
        v2.Resize((20, 22)),
        v2.ToImage(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(MEAN, STD),
        v2.RandomErasing(0.5),
    ]
)
RUN = """
import sys
for name in ("torch", "torchvision", "dsbridge"):
    sys.modules[name] = None
import numpy as np
import pipeline
images = np.load("images.npz")
np.savez("results.npz", **{name: pipeline.transform(images[name], np.array([1, int(name[1:])])) for name in images})
"""


def ruff(path: Path) -> None:
    rules = ["--isolated", "--select", "E,F,W,I,UP,B", "--line-length", "128"]
    done = subprocess.run([sys.executable, "-m", "ruff", "check", *rules, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + path.read_text()


@pytest.mark.parametrize(
    ("chain", "policy"), [(TRAIN, "exact"), (TRAIN, "native"), (HEAVY, "exact")], ids=["exact", "native", "heavy"]
)
def test_the_script_gives_the_same_bytes(chain, policy: str, tmp_path: Path) -> None:
    t = translate(chain, policy=policy, seed=9)
    (tmp_path / "pipeline.py").write_text(t.to_python())
    ruff(tmp_path / "pipeline.py")
    np.savez(tmp_path / "images.npz", **{f"n{number}": array(number) for number in range(6)})
    done = subprocess.run([sys.executable, "-c", RUN], cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    results = np.load(tmp_path / "results.npz")
    for number in range(6):
        assert results[f"n{number}"].tobytes() == t(array(number), key=(1, number)).tobytes()


def own_code(image):
    return image


def test_what_could_not_be_translated_raises_with_the_reason(tmp_path: Path, monkeypatch) -> None:
    """The script is valid Python all the same."""
    source = translate([v1.RandomHorizontalFlip(), own_code, v1.ElasticTransform(), v1.ToTensor()]).to_python()
    (tmp_path / "pipeline.py").write_text(source)
    ruff(tmp_path / "pipeline.py")
    module = type(sys)("pipeline")
    monkeypatch.setitem(sys.modules, "pipeline", module)  # where dataclasses look their annotations up
    exec(compile(source, "pipeline.py", "exec"), module.__dict__)
    with pytest.raises(NotImplementedError, match=r"operation 2 own_code @ test_emit.py:\d+: a user's own code"):
        module.STEPS[1].op.call(None, None, 2)


def test_every_operation_can_be_bundled_with_every_other() -> None:
    """No two definitions share a name, and nothing of dsbridge or torch is imported."""
    bundle = Bundle()
    catalog.built_in()
    for name in ops.__all__:
        bundle.need(getattr(ops, name).__module__, name)
    source = bundle.source()
    imported = [line for line in source.splitlines() if line.strip().startswith(("import ", "from "))]
    assert not [line for line in imported if "dsbridge" in line or "torch" in line]
    compile("from __future__ import annotations\n" + source, "bundle.py", "exec")


def test_two_definitions_of_one_name_are_refused() -> None:
    bundle = Bundle()
    bundle.need("dsbridge.transforms.ops.containers", "Sequence")
    bundle._from["RandomOrder"] = "elsewhere"
    with pytest.raises(ValueError, match="RandomOrder is defined in elsewhere and in dsbridge.transforms.ops.containers"):
        bundle.need("dsbridge.transforms.ops.containers", "RandomOrder")
