"""The training loop: backward and step, gradients, seeds, trainers of others."""

from __future__ import annotations

from functools import partial

import libcst as cst

from dsbridge.migrate.inspect import kinds
from dsbridge.migrate.inspect.rules.conditions import given, in_optimizer, of_parameter, outside
from dsbridge.migrate.inspect.rules.rule import ATTENTION, FINE, UNSUPPORTED, Rule
from dsbridge.migrate.inspect.use import Use

_rule = partial(Rule, family="training loop", page="guide/migrating.md")
_AUTOGRAD = "torch.autograd"


def _conditional(use: Use) -> bool:
    return use.inside.conditional


def _data(use: Use) -> bool:
    """``p.data``, ``layer.weight.data``: not the data of anything else."""
    return of_parameter(use) and not in_optimizer(use)


def _grad(use: Use) -> bool:
    """The gradient of a tensor; in an optimizer of yours it is one row that says it."""
    owner = use.node.value if isinstance(use.node, cst.Attribute) else None
    return owner is not None and use.kind(owner) in ("", kinds.TENSOR) and not in_optimizer(use)


def _of_module(use: Use) -> bool:
    """``model.train()``, ``model.train(True)``."""
    return use.call is not None and len(use.call.args) <= 1


def _frozen(use: Use) -> bool:
    """``p.requires_grad = False``, ``p.requires_grad_(False)``, or something that may be False."""
    value = use.value if use.call is None else use.argument("requires_grad", 0)
    return value is not None and not (isinstance(value, cst.Name) and value.value == "True")


RULES = (
    _rule(
        "MIG603",
        UNSUPPORTED,
        (".backward(create_graph)", f"{_AUTOGRAD}.grad(create_graph)"),
        "differentiates gradients: second derivatives of MindSpore's operations are not proven here",
        "mindspore.grad of a function that calls mindspore.grad, and compare",
        "loss.backward(create_graph=True)",
        given,
    ),
    _rule(
        "MIG602",
        ATTENTION,
        (".backward(retain_graph)", f"{_AUTOGRAD}.grad(retain_graph)"),
        "goes through one forward several times: in MindSpore each gradient is a call of its own",
        "one value_and_grad of the sum of the losses",
        "loss.backward(retain_graph=True)",
        given,
    ),
    _rule(
        "MIG601",
        FINE,
        (".backward()",),
        "becomes value_and_grad: the loop changes its form, not its numbers",
        "dsb.migrate.capture records it; by hand mindspore.value_and_grad",
        "loss.backward()",
        outside,
    ),
    _rule(
        "MIG604",
        ATTENTION,
        (f"{_AUTOGRAD}.grad", f"{_AUTOGRAD}.backward"),
        "asks for gradients of chosen tensors",
        "mindspore.grad with grad_position",
        "torch.autograd.grad(loss, x)",
    ),
    _rule(
        "MIG605",
        UNSUPPORTED,
        (
            "torch.func.*",
            "torch.vmap",
            f"{_AUTOGRAD}.functional.*",
            f"{_AUTOGRAD}.forward_ad.*",
            "functorch.*",
            f"{_AUTOGRAD}.gradcheck",
            f"{_AUTOGRAD}.graph.*",
        ),
        "transforms functions, which cannot be recorded",
        "mindspore.grad, mindspore.jvp, mindspore.vmap",
        "torch.func.grad(f)",
    ),
    _rule(
        "MIG606",
        FINE,
        (".zero_grad()",),
        "is not needed: gradients are returned, not added up",
        "leave it out",
        "optimizer.zero_grad()",
    ),
    _rule(
        "MIG608",
        ATTENTION,
        ("<optimizer>.step()", "<scaler>.step()"),
        "is called under a condition: gradients are added up between steps, or steps left out",
        "add up the gradients of value_and_grad yourself",
        "for x in loader:\n    if done:\n        optimizer.step()",
        _conditional,
    ),
    _rule(
        "MIG607",
        FINE,
        ("<optimizer>.step()",),
        "becomes a call with the gradients",
        "optimizer(gradients)",
        "optimizer.step()",
    ),
    _rule(
        "MIG609",
        ATTENTION,
        ("several backward",),
        "is the second backward pass in this function: gradients of several losses meet",
        "value_and_grad for each loss",
        "def step():\n    a.backward()\n    b.backward()",
    ),
    _rule(
        "MIG617",
        ATTENTION,
        (".requires_grad =", ".requires_grad_()"),
        "freezes: the weights of layers that are cells come out trainable",
        "set requires_grad on the parameters of the cell, or give the optimizer those that train",
        "layer.weight.requires_grad = False",
        _frozen,
    ),
    _rule(
        "MIG610",
        FINE,
        ("torch.no_grad", "torch.inference_mode", ".requires_grad_()", ".detach()"),
        "says what has no gradient; in a model it becomes stop_gradient, in the loop it is not needed",
        "dsb.model.convert(model, inputs)",
        "torch.no_grad()",
        page="guide/models.md",
    ),
    _rule(
        "MIG611",
        ATTENTION,
        ("torch.set_grad_enabled", "torch.enable_grad"),
        "switches gradients on and off while running",
        "differentiate the function that needs it",
        "torch.set_grad_enabled(False)",
    ),
    _rule(
        "MIG612",
        FINE,
        ("torch.nn.utils.clip_grad_norm_",),
        "is part of the setup",
        "dsb.migrate.TrainingSetup(clip_grad_norm=...); mindspore.ops.clip_by_global_norm",
        "torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)",
    ),
    _rule(
        "MIG613",
        ATTENTION,
        ("torch.nn.utils.clip_grad_value_", "torch.nn.utils.get_total_norm"),
        "changes or measures gradients between backward and step",
        "do it to the gradients that value_and_grad returns",
        "torch.nn.utils.clip_grad_value_(model.parameters(), 1.0)",
    ),
    _rule(
        "MIG614",
        FINE,
        ("<module>.train()", "<module>.eval()"),
        "becomes set_train",
        "network.set_train(True or False)",
        "model.eval()",
        _of_module,
    ),
    _rule(
        "MIG615",
        ATTENTION,
        (".grad", ".grad ="),
        "is looked at or changed: Parameters of MindSpore have no grad",
        "the gradients that value_and_grad returns",
        "weight.grad.abs()",
        _grad,
    ),
    _rule(
        "MIG616",
        ATTENTION,
        (".data", ".data ="),
        "goes around autograd to a parameter's values",
        "parameter.set_data(...)",
        "layer.weight.data.clamp_(0)",
        _data,
    ),
    _rule(
        "MIG618",
        ATTENTION,
        (
            "torch.manual_seed",
            "torch.seed",
            "torch.initial_seed",
            "torch.get_rng_state",
            "torch.set_rng_state",
            "torch.cuda.manual_seed",
            "torch.cuda.manual_seed_all",
            "torch.cuda.get_rng_state",
            "torch.cuda.set_rng_state",
            "torch.random.fork_rng",
            "torch.fork_rng",
        ),
        "seeds torch: the data keeps its order and its random numbers; dropout in MindSpore draws others",
        "mindspore.set_seed(...) beside it",
        "torch.manual_seed(0)",
        page="guide/loaders.md",
    ),
    _rule(
        "MIG619",
        FINE,
        ("torch.Generator", "torch.default_generator"),
        "decides the order of a loader, as in torch",
        "dsb.DataLoader.from_torch(loader)",
        "torch.Generator()",
        page="guide/loaders.md",
    ),
    _rule(
        "MIG620",
        UNSUPPORTED,
        (".register_hook()", ".register_post_accumulate_grad_hook()"),
        "changes gradients on their way, which a recording does not see",
        "custom bprop of a Cell, or do it after value_and_grad",
        "x.register_hook(print)",
    ),
    _rule(
        "MIG621",
        ATTENTION,
        ("class lightning.*", "class lightning.pytorch.*", "lightning.pytorch.*"),
        "runs the loop for you: nothing of that goes along",
        "its module as model, its configure_optimizers() by hand: dsb.migrate.TrainingSetup",
        "class Net(lightning.LightningModule): pass",
    ),
    _rule(
        "MIG622",
        ATTENTION,
        ("accelerate.*",),
        "prepares model, optimizer and loader: they are wrapped",
        "take the originals: dsb.migrate.TrainingSetup",
        "accelerate.Accelerator()",
    ),
    _rule(
        "MIG623",
        ATTENTION,
        ("transformers.*",),
        "runs the loop for you: nothing of that goes along",
        "take model, optimizer and loader out of it: dsb.migrate.TrainingSetup",
        "transformers.Trainer(model)",
        lambda use: use.name.rpartition(".")[2].endswith(("Trainer", "TrainingArguments", "TrainerCallback")),
    ),
    _rule(
        "MIG624",
        FINE,
        ("torch.utils.tensorboard.*",),
        "takes numbers, which come from MindSpore as well",
        "writer.add_scalar(name, float(loss.asnumpy()), step)",
        "torch.utils.tensorboard.SummaryWriter()",
    ),
    _rule(
        "MIG625",
        ATTENTION,
        ("torch.profiler.*", f"{_AUTOGRAD}.profiler.*", f"{_AUTOGRAD}.set_detect_anomaly", f"{_AUTOGRAD}.detect_anomaly"),
        "watches torch",
        "mindspore.profiler.Profiler",
        "torch.profiler.profile()",
    ),
)
