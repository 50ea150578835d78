"""Compilers, exporters, kernels and operators of one's own."""

from __future__ import annotations

from functools import partial

from dsbridge.migrate.inspect.rules.rule import ATTENTION, FINE, UNSUPPORTED, Rule

_rule = partial(Rule, family="compilation", page="guide/models.md")


RULES = (
    _rule(
        "MIG901",
        ATTENTION,
        ("torch.compile",),
        "wraps the model: the original is what is converted",
        "dsb.model.convert before compiling; mindspore.jit",
        "torch.compile(model)",
    ),
    _rule(
        "MIG903",
        FINE,
        (
            "torch.jit.is_scripting",
            "torch.jit.is_tracing",
            "torch.jit.ignore",
            "torch.jit.unused",
            "torch.jit.export",
            "torch.jit.annotate",
            "torch.jit.Final",
            "torch.compiler.*",
            "torch.fx.wrap",
            "torch._assert",
            "torch._check",
            "torch._check_is_size",
        ),
        "says something to a compiler, which is not asked",
        "nothing to do",
        "torch.jit.is_scripting()",
    ),
    _rule(
        "MIG902",
        UNSUPPORTED,
        ("torch.jit.*",),
        "makes a ScriptModule: its Python is gone, and cannot be recorded",
        "convert the module it was made of",
        "torch.jit.script(model)",
    ),
    _rule(
        "MIG904",
        ATTENTION,
        ("class torch.autograd.Function",),
        "has a backward of its own, which cannot be read: it needs an entry",
        "dsb.model.register(name, function=...)",
        "class Square(torch.autograd.Function): pass",
    ),
    _rule(
        "MIG905",
        ATTENTION,
        ("torch.library.*", "torch.ops.*", "torch.classes.*"),
        "is an operator by its name: aten's are known by theirs, yours need an entry",
        "dsb.model.register(name, function=...)",
        "torch.ops.mylib.scale(x)",
    ),
    _rule(
        "MIG906",
        UNSUPPORTED,
        ("torch.utils.cpp_extension.*",),
        "compiles kernels against torch",
        "a mindspore.ops.Custom operator; dsb.model.register for the call",
        "torch.utils.cpp_extension.load('a', ['a.cu'])",
    ),
    _rule(
        "MIG907",
        UNSUPPORTED,
        ("torch.fx.*", "torch.export.*", "torch._dynamo.*", "torch._inductor.*", "torch._functorch.*"),
        "takes models apart by torch's own means",
        "convert the module itself",
        "torch.fx.symbolic_trace(model)",
    ),
    _rule(
        "MIG908",
        ATTENTION,
        ("torch.onnx.*",),
        "exports from torch",
        "mindspore.export(cell, x, file_name=...)",
        "torch.onnx.export(model, x, 'a.onnx')",
    ),
    _rule(
        "MIG909",
        UNSUPPORTED,
        ("class torch.Tensor", "torch.overrides.*", "torch.utils._python_dispatch.*", "torch.Tensor._make_subclass"),
        "changes what tensors are or how functions see them",
        "plain tensors in the model",
        "class Mine(torch.Tensor): pass",
    ),
    _rule(
        "MIG910",
        UNSUPPORTED,
        ("triton.*", "numba.cuda.*", "cupy.*"),
        "is a kernel for GPUs",
        "plain torch in the model, or dsb.model.register",
        "triton.jit(f)",
    ),
    _rule(
        "MIG911",
        ATTENTION,
        ("torch.utils.dlpack.*", "torch.from_dlpack", "torch.to_dlpack"),
        "hands memory to another library",
        "numpy between torch and MindSpore: dsb.DataLoader copies nothing on the CPU",
        "torch.utils.dlpack.to_dlpack(x)",
    ),
    _rule(
        "MIG912",
        ATTENTION,
        ("torchvision.ops.*",),
        "is an operator of torchvision's: those in Python are recorded as what they call, the compiled ones (nms, roi_align, "
        "deform_conv2d) have no entry",
        "dsb.model.register(name, function=...)",
        "torchvision.ops.nms(boxes, scores, 0.5)",
    ),
)
