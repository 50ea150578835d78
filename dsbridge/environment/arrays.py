"""What numpy's version breaks in mindspore and pyarrow: found by trying, each thing in turn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dsbridge.environment.child import ask
from dsbridge.environment.diagnosis import Fact
from dsbridge.environment.matrix import PACKAGES, installed
from dsbridge.report import Finding

Found = Iterator[Fact | Finding]


@dataclass(frozen=True, slots=True)
class Trial:
    """An expression of MindSpore as a user writes it; ``advice``: what to do where it fails.

    Trials run in one child, in order, because the very first operation of a process is one of them.
    """

    name: str
    code: str
    advice: str


TRIALS = (
    Trial(
        "first-operation",
        "ms.Tensor(np.ones(1, np.float32)) + 1",
        "dsbridge runs and swallows it where it makes tensors; in code of your own: try once, ignore the SystemError",
    ),
    Trial("operations", "ms.Tensor(np.ones(1, np.float32)) * 2", "{numpy1}"),
    Trial(
        "mint",
        "ms.mint.nn.functional.relu(ms.mint.add(ms.Tensor(np.ones(1, np.float32)), 1))",
        "use mindspore.ops, or {numpy1}",
    ),
    Trial(
        "bfloat16",
        "ms.Tensor(np.ones(1, np.float32)).astype(ms.bfloat16).asnumpy()",
        "tensor.astype(mindspore.float32).asnumpy(), which is exact, or {numpy1}",
    ),
    Trial(
        "dataset-of-scalars",
        "list(ds.GeneratorDataset([(1, 2.0)], ['a', 'b'], shuffle=False).create_tuple_iterator(num_epochs=1))",
        "dsbridge.to_mindspore(dataset), which delivers arrays, or {numpy1}",
    ),
    Trial(
        "dataset-of-arrays",
        "list(ds.GeneratorDataset([(np.ones(1),)], ['a'], shuffle=False).create_tuple_iterator(num_epochs=1))",
        "{numpy1}",
    ),
)

_RUN = r"""
import re, numpy as np, mindspore as ms, mindspore.dataset as ds
failed = {{}}
for name, code in {trials!r}:
    try:
        eval(code)
    except BaseException as exc:
        lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
        causes = [line for line in lines if re.match(r"\w+(Error|Exception): ", line)]  # MindSpore quotes Python's
        failed[name] = ": ".join([type(exc).__name__, *(causes or lines)[:1]])
    answer(failed=failed, tried=name)
"""


def check_mindspore_with_numpy(trials: tuple[Trial, ...] = TRIALS) -> Found:
    """Each trial, in one child; a child that dies names the trial it died in."""
    if not installed("mindspore") or not installed("numpy"):
        return
    answer = ask(_RUN.format(trials=[(trial.name, trial.code) for trial in trials]))
    failed: dict[str, str] = answer.data.get("failed", {})
    if answer.error:
        names = [trial.name for trial in trials]
        died = names.index(answer.data["tried"]) + 1 if "tried" in answer.data else 0
        if died < len(names):
            failed[names[died]] = answer.error
        elif not failed:  # the end of the process itself
            failed[names[-1]] = answer.error
    version = installed("numpy")
    yield Fact("mindspore with numpy", "works" if not failed else f"fails: {', '.join(failed)}")
    for trial in trials:
        if trial.name in failed:
            message = f"{trial.code} fails with numpy {version}: {failed[trial.name]}"
            yield Finding(
                f"numpy-{trial.name}", "warning", "mindspore", message, trial.advice.format(numpy1="pip install 'numpy<2'")
            )


def check_pyarrow() -> Found:
    """Whether pyarrow's compiled part belongs to the numpy that is there."""
    if not installed("pyarrow"):
        return
    answer = ask("import pyarrow as pa; answer(same=pa.array([1, 2]).to_numpy().tolist() == [1, 2])", timeout_s=60)
    yield Fact("pyarrow with numpy", "works" if not answer.error else "fails")
    if answer.error:
        package = next(package for package in PACKAGES if package.name == "pyarrow")
        two = (installed("numpy") or "").startswith("2")
        line = f"pip install pyarrow=={package.np2 if two else package.np1}"
        yield Finding("pyarrow-numpy", "error", "pyarrow", f"with numpy {installed('numpy')}: {answer.error}", line)
