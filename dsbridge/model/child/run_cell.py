"""Runs emitted models in a process of its own: ``python run_cell.py JOB.npz RESULT.npz ...``; needs MindSpore and numpy only.

JOB holds ``source`` (path), ``root``, ``mode`` (0: graph, 1: PyNative), ``training``, ``dropout`` (0: switched off),
``repeat`` (how often more; results ``again:N:TIME``), arrays ``in:N``, which ``layout`` nests, ``weight:PATH`` and
``along:N`` (what each output is multiplied with; the sum of all is what gradients are of). RESULT holds ``out:N``,
``grad:PATH``, in train mode ``state:PATH`` of what has no gradient, and ``quieted``: whether anything random was switched off;
or ``error``. Everything is fetched before the process ends, as MindSpore's errors come late.
"""

import contextlib
import importlib.util
import json
import re
import sys

import mindspore as ms
import numpy as np
from mindspore import nn, ops

# in the place of random functions: dropout does nothing, and every number is a half
NO_RANDOM = """

import mindspore as ms
from mindspore import nn, ops


class _NoDropout(nn.Cell):
    def __init__(self, p=0.5):
        super().__init__()

    def construct(self, x):
        return x


def _no_dropout(x, p=0.5, training=True):
    return x


_no_dropout1d = _no_dropout2d = _no_dropout3d = _no_dropout


def _no_rand(*size, dtype=ms.float32):
    return ops.ones(size, dtype) * 0.5


def _no_rand_like(x, dtype=None):
    return ops.ones_like(x, dtype=x.dtype if dtype is None else dtype) * 0.5


_no_randn, _no_randn_like = _no_rand, _no_rand_like
"""


def without_random(path):
    """A copy of a source file in which nothing is random; returns its path, and at how many places something was."""
    with open(path) as file:
        text = file.read()
    text, layers = re.subn(r"\bnn\.Dropout[123]?d?\(", "_NoDropout(", text)
    text, calls = re.subn(r"\bops\.(dropout[123]d|dropout|rand|randn|rand_like|randn_like)\(", r"_no_\1(", text)
    path = path.removesuffix(".py") + "_no_dropout.py"
    with open(path, "w") as file:
        file.write(text + NO_RANDOM)
    return path, layers + calls


def no_depth(network):
    """Switch off what drops without calling a function for it; returns how many cells do."""
    quieted = 0
    for _, cell in network.cells_and_names():
        name = "p" if type(cell).__name__ == "StochasticDepth" else "dropout"
        if isinstance(getattr(cell, name, None), float):
            quieted += bool(getattr(cell, name))
            setattr(cell, name, 0.0)
    return quieted


def load(path, root, dropout):
    """The root cell of a source file; with dropout switched off, of a copy in which nothing is random; whether anything was."""
    quieted = 0
    if not dropout:
        path, quieted = without_random(path)
    spec = importlib.util.spec_from_file_location("emitted_model", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["emitted_model"] = module
    spec.loader.exec_module(module)
    network = getattr(module, root)()
    if not dropout:
        quieted += no_depth(network)
    return network, bool(quieted)


def parameters(cell, path=""):
    """Parameters by structural path; a tied one under each of its paths."""
    for name, parameter in cell._params.items():
        if parameter is not None:
            yield path + name, parameter
    for name, child in cell._cells.items():
        if child is not None:
            yield from parameters(child, f"{path}{name}.")


def tensors(value):
    """The tensors of an output, in order."""
    if isinstance(value, ms.Tensor):
        return [value]
    if isinstance(value, (tuple, list)):
        return [tensor for one in value for tensor in tensors(one)]
    return []


class Total(nn.Cell):
    """The sum of all outputs, each multiplied with an array: a number that depends on all of them."""

    def __init__(self, network, along):
        super().__init__(auto_prefix=False)
        self.network, self.along = network, along

    def construct(self, *args):
        outputs = self.network(*args)
        if not isinstance(outputs, tuple):
            outputs = (outputs,)
        value = 0.0
        for number, direction in enumerate(self.along):
            value = value + (outputs[number] * direction).sum()
        return value, outputs


def nested(layout, job):
    """An input: a number stands for a tensor, ``{"": value}`` for a plain value."""
    if isinstance(layout, int):
        return ms.Tensor(job[f"in:{layout}"])
    if isinstance(layout, list):
        return tuple(nested(one, job) for one in layout)
    if "" in layout:
        return layout[""]
    return {key: nested(one, job) for key, one in layout.items()}


def run(job):
    """One job."""
    ms.set_context(mode=int(job["mode"]))
    network, quieted = load(str(job["source"]), str(job["root"]), bool(job["dropout"]))
    network.set_train(bool(job["training"]))
    found = dict(parameters(network))
    for name, array in job.items():
        if name.startswith("weight:"):
            found[name[7:]].set_data(ms.Tensor(array))
    inputs = [nested(one, job) for one in json.loads(str(job["layout"]))]
    along = [ms.Tensor(job[f"along:{n}"]) for n in range(sum(name.startswith("along:") for name in job))]
    result = {"quieted": quieted}
    if along:
        trained, seen = {}, set()
        for path, parameter in found.items():
            if parameter.requires_grad and id(parameter) not in seen:
                seen.add(id(parameter))
                trained[path] = parameter

        total = Total(network, along)
        if trained:
            step = ms.value_and_grad(total, None, ms.ParameterTuple(trained.values()), has_aux=True)
            (_, outputs), gradients = step(*inputs)
        else:
            (_, outputs), gradients = total(*inputs), ()
        by_identity = {id(parameter): gradient for parameter, gradient in zip(trained.values(), gradients, strict=True)}
        for path, parameter in found.items():
            if id(parameter) in by_identity:  # a tied one under each of its paths
                result[f"grad:{path}"] = by_identity[id(parameter)].asnumpy()
    else:
        outputs = tensors(network(*inputs))
        for number in range(int(job["repeat"])):
            for place, output in enumerate(tensors(network(*inputs))):
                result[f"again:{place}:{number}"] = output.asnumpy()
    for number, output in enumerate(tensors(outputs)):
        result[f"out:{number}"] = output.asnumpy()
    if along and network.training:
        for path, parameter in found.items():
            if f"grad:{path}" not in result:  # statistics
                result[f"state:{path}"] = parameter.asnumpy()
    return result


def main(*files):
    """All jobs in turn; one that fails leaves its error."""
    with contextlib.suppress(SystemError):  # numpy 2: the first operation of a process
        ops.add(ms.Tensor(np.ones(2, np.float32)), 1).asnumpy()
    for job_file, result_file in zip(files[::2], files[1::2], strict=True):
        try:
            result = run(dict(np.load(job_file)))
        except Exception as exc:
            lines = [line for line in str(exc).splitlines() if line.strip(" -")]
            result = {"error": f"{type(exc).__name__}: {' '.join(lines[:3])[:500]}"}
        np.savez(result_file, **result)


if __name__ == "__main__":
    main(*sys.argv[1:])
