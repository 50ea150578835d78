"""``train.py``: the training loop as a MindSpore user would write it, from what was recorded."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field

import dsbridge
from dsbridge.migrate.missing import Missing
from dsbridge.migrate.pattern import EPOCH, STEP, Pattern
from dsbridge.migrate.source import Source, carried, filled

NORM = '''
def clip_by_norm(gradients, limit):
    """All gradients together, as torch.nn.utils.clip_grad_norm_ does it."""
    total = 0.0
    for gradient in gradients:
        total = total + (gradient * gradient).sum()
    scale = ops.minimum(limit / (ops.sqrt(total) + 1e-6), ops.ones_like(total))
    return tuple([gradient * scale for gradient in gradients])
'''

VALUE = '''
def clip_by_value(gradients, limit):
    """Each element, as torch.nn.utils.clip_grad_value_ does it."""
    return tuple([ops.clamp(gradient, -limit, limit) for gradient in gradients])
'''

ONE = '''
def make_train_step(network, optimizer{average}, graph=False):
    """A function of {arguments} that trains once and returns the loss."""{missing}
    gradients_of = ms.value_and_grad(network, None, optimizer.parameters)

    def train_step({arguments}):
        loss, gradients = gradients_of({arguments})
{clip}        optimizer(gradients)
{averaged}        return loss

    return ms.jit(train_step) if graph else train_step
'''

SEVERAL = '''
class Accumulated:
    """Adds up the gradients of several batches, then trains on them."""

    def __init__(self, network, optimizer{average}, graph=False):{missing}
        gradients_of = ms.value_and_grad(network, None, optimizer.parameters)
        sums = ms.ParameterTuple(
            [
                ms.Parameter(ops.zeros(p.shape, p.dtype), name=f"sum.{p.name}", requires_grad=False)
                for p in optimizer.parameters
            ]
        )

        def add({arguments}):
            loss, gradients = gradients_of({arguments})
            for number in range(len(sums)):
                ops.assign_add(sums[number], gradients[number])
            return loss

        def update():
            gradients = tuple([one + 0.0 for one in sums])
{clip}            optimizer(gradients)
{averaged}            for number in range(len(sums)):
                ops.assign(sums[number], ops.zeros_like(sums[number]))
            return 0

        self.add, self.update = (ms.jit(add), ms.jit(update)) if graph else (add, update)


def make_train_step(network, optimizer{average}, graph=False):
    """Its ``add`` is a function of {arguments}, which returns the loss; ``update`` trains on the sum of the gradients."""
    return Accumulated(network, optimizer{average}, graph)
'''

STATE = """
def state_of(network, optimizer):
    \"\"\"Weights, statistics, moments and rates, by name.\"\"\"
    return {**{p.name: p for p in network.get_parameters()}, **gathered(optimizer)}


def save(folder, network, optimizer, scheduler, loader, epoch, step):
    \"\"\"What is needed to go on from here.\"\"\"
    folder.mkdir(parents=True, exist_ok=True)
    parameters = [{"name": name, "data": parameter} for name, parameter in state_of(network, optimizer).items()]
    ms.save_checkpoint(parameters, str(folder / "training.ckpt"))
    schedule = None if scheduler is None else scheduler.state_dict()
    (folder / "state.json").write_text(json.dumps({"epoch": epoch, "step": step, "scheduler": schedule}) + "\\n")
    (folder / "loader.pkl").write_bytes(pickle.dumps(data.state_of(loader)))


def resume(folder, network, optimizer, scheduler, loader):
    \"\"\"Take up what ``save`` wrote; returns how many epochs and steps were done.\"\"\"
    held = state_of(network, optimizer)
    found = ms.load_checkpoint(str(folder / "training.ckpt"))
    missing = sorted(set(held) - set(found))
    if missing:
        raise ValueError(f"{folder} has no {', '.join(missing[:5])}")
    for name, parameter in held.items():
        ops.assign(parameter, found[name])
    state = json.loads((folder / "state.json").read_text())
    if scheduler is not None:
        scheduler.load_state_dict(state["scheduler"])
    data.load_state(loader, pickle.loads((folder / "loader.pkl").read_bytes()))
    return state["epoch"], state["step"]
"""

BUILD = """
def build(graph=False):
    \"\"\"The network with its loss and first weights, the optimizer, the schedule, the training step.\"\"\"
    with contextlib.suppress(SystemError):  # with numpy 2 the first operation of a process fails
        (ms.Tensor([1.0]) + 1.0).asnumpy()
    network = TrainStep()
    missing, _ = ms.load_param_into_net(network, ms.load_checkpoint(str(HERE / "weights.safetensors"), format="safetensors"))
    if missing:
        raise ValueError(f"weights.safetensors has no {', '.join(missing[:5])}")
    network.set_train()
{frozen}    optimizer = make_optimizer(network)
{averages}{begun}    scheduler = {scheduler}
    return network, optimizer, scheduler, make_train_step(network, optimizer{average}, graph)
"""

ONE_EPOCH = """
def epoch_of(batches, total, train_step, scheduler):
    \"\"\"Train on ``total`` batches (None: nobody knows); yields the loss of each, and whether it was a step.\"\"\"
    for batch in batches:
        loss = train_step(*batch)
{every}        yield loss, True
{after}"""

ONE_EPOCH_SEVERAL = """
def epoch_of(batches, total, train_step, scheduler):
    \"\"\"Train on ``total`` batches (None: nobody knows); yields the loss of each, and whether it was a step.\"\"\"
    for number, batch in enumerate(batches, 1):
        loss = train_step.add(*batch)
        full = number % ACCUMULATE == 0{rest}
        if full:
            train_step.update()
{every}        yield loss, full
{after}"""

MAIN = """
def main():
    \"\"\"Train.\"\"\"{missing}
    parser = argparse.ArgumentParser(description="Train {model}.")
    parser.add_argument("--epochs", type=int, default={epochs})
    parser.add_argument("--graph", action="store_true", help="compile the training step")
    parser.add_argument("--native", action="store_true", help="MindSpore's own data pipeline: not torch's order")
    parser.add_argument("--max-steps", type=int, help="end after so many steps")
    parser.add_argument("--out", type=Path, default=HERE / "checkpoints", help="where checkpoints go, one an epoch")
    parser.add_argument("--resume", type=Path, help="a folder of checkpoints to go on from")
    arguments = parser.parse_args()

    network, optimizer, scheduler, train_step = build(arguments.graph)
    loader = data.loader(arguments.native)
    state = json.loads((HERE / "state.json").read_text())
    epoch, step = state["epoch"], state["step"]
    if arguments.resume:
        epoch, step = resume(arguments.resume, network, optimizer, scheduler, loader)
    while epoch < arguments.epochs:
        total = data.size(loader)
        losses = epoch_of(data.batches(loader), total, train_step, scheduler)
        for loss, stepped in (bar := tqdm(losses, total=total, desc=f"epoch {epoch + 1}")):
            step += stepped
            bar.set_postfix(loss=f"{float(loss.asnumpy()):.4f}")
            if step == arguments.max_steps:
                return
        epoch += 1
        save(arguments.out, network, optimizer, scheduler, loader, epoch, step)


if __name__ == "__main__":
    main()
"""


@dataclass(slots=True)
class Parts:
    """What a ``train.py`` is made of. ``evaluated``: cells that stay in eval mode; ``frozen``: parameters without gradients;
    ``begun``: the optimizer has a state, which is in optimizer.npz; ``averages``: of the weights."""

    title: str
    model: str
    arguments: list[str]
    pattern: Pattern
    optimizer: Source
    schedule: Source | None
    epochs: int
    averages: Source | None = None
    evaluated: list[str] = field(default_factory=list)
    frozen: list[str] = field(default_factory=list)
    begun: bool = False
    missing: Missing = field(default_factory=Missing)

    @property
    def several(self) -> bool:
        """Whether gradients of several batches make a step."""
        return self.pattern.accumulate > 1 or self.pattern.rest


def train_source(parts: Parts) -> str:
    """The text of the file."""
    schedule, averages = parts.schedule or Source(), parts.averages or Source()
    state = carried(["gathered", "load_optimizer"] if parts.begun else ["gathered"])
    body = [parts.optimizer.definitions, schedule.definitions, averages.definitions, state]
    body += ["\n".join(parts.optimizer.lines), "\n".join(schedule.lines)]
    body += [{"norm": NORM, "value": VALUE}[kind] for kind, _ in parts.pattern.clips]
    body += [_step(parts), STATE, _build(parts), _epoch(parts), _main(parts)]
    text = "\n\n\n".join(one.strip("\n") for one in body if one.strip()) + "\n"
    return _head(parts, text, {*parts.optimizer.imports, *schedule.imports, *averages.imports}) + text


def _step(parts: Parts) -> str:
    inner = " " * (12 if parts.several else 8)
    clips = [f"{inner}gradients = clip_by_{kind}(gradients, CLIP_{kind.upper()})\n" for kind, _ in parts.pattern.clips]
    return filled(
        SEVERAL if parts.several else ONE,
        arguments=", ".join(parts.arguments),
        clip="".join(clips),
        average=_average(parts),
        averaged=f"{inner}average()\n" if parts.averages else "",
        missing=parts.missing.block("step", " " * (8 if parts.several else 4)),
    )


def _average(parts: Parts) -> str:
    return ", average" if parts.averages else ""


def _build(parts: Parts) -> str:
    frozen = [f"    network.{path}.set_train(False)\n" for path in parts.evaluated]
    if parts.frozen:
        names = "".join(f'        "{name}",\n' for name in parts.frozen)
        frozen.append("    frozen = {\n" + names + "    }\n    for parameter in network.trainable_params():\n")
        frozen.append("        parameter.requires_grad = parameter.name not in frozen\n")
    begun = '    load_optimizer(optimizer, dict(np.load(HERE / "optimizer.npz")))\n' if parts.begun else ""
    scheduler = "make_scheduler(optimizer)" if parts.schedule else "None"
    averages = "".join(f"{line}\n" for line in parts.averages.lines) if parts.averages else ""
    return filled(BUILD, frozen="".join(frozen), scheduler=scheduler, begun=begun, averages=averages, average=_average(parts))


def _epoch(parts: Parts) -> str:
    each = parts.pattern.scheduler_every if parts.schedule else ""
    margin = " " * (12 if parts.several else 8)
    every = f"{margin}scheduler.step()\n" if each == STEP else ""
    after = "    scheduler.step()\n" if each == EPOCH else ""
    rest = " or number == total" if parts.pattern.rest else ""
    return filled(ONE_EPOCH_SEVERAL if parts.several else ONE_EPOCH, every=every, after=after, rest=rest)


def _main(parts: Parts) -> str:
    return filled(MAIN, missing=parts.missing.block("main", "    "), model=parts.model, epochs=parts.epochs)


def _head(parts: Parts, text: str, imports: set[str]) -> str:
    standard = {"import argparse", "import contextlib", "import json", "import pickle", "from pathlib import Path"}
    standard |= {line for line in imports if line.split()[1] in sys.stdlib_module_names}
    others = {line for line in imports - standard if not line.startswith(("from mindspore import", "import mindspore as"))}
    others |= {"import data", "import mindspore as ms", "from model import TrainStep", "from tqdm import tqdm"}
    others |= {"import numpy as np"} if re.search(r"\bnp\.", text) else set()
    used = [name for name in ("nn", "ops") if re.search(rf"(?<![.\w]){name}\.", text)]
    others |= {f"from mindspore import {', '.join(used)}"}
    constants = ["HERE = Path(__file__).resolve().parent"]
    constants += [f"ACCUMULATE = {parts.pattern.accumulate}  # batches a step"] if parts.several else []
    constants += [f"CLIP_{kind.upper()} = {limit!r}" for kind, limit in parts.pattern.clips]
    written = f"Written by dsbridge {dsbridge.__version__}; PARITY.md says what was measured, verify.py measures it again."
    title = [f'"""{parts.title}', "", "python train.py [--graph] [--native] [--resume checkpoints]", "", written, '"""', ""]
    return "\n".join([*title, *sorted(standard, key=_order), "", *sorted(others, key=_order), "", *constants, "", "", ""])


def _order(line: str) -> tuple[bool, str]:
    """As import sorters have it: plain imports first."""
    return line.startswith("from"), line
