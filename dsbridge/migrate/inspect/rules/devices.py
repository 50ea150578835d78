"""Where tensors are, and what is asked of a device."""

from __future__ import annotations

import re
from functools import partial

import libcst as cst

from dsbridge.migrate.inspect.rules.rule import ATTENTION, FINE, UNSUPPORTED, Rule
from dsbridge.migrate.inspect.use import Use
from dsbridge.migrate.inspect.walk import dotted, text_of

_rule = partial(Rule, family="devices", page="guide/migrating.md")
_DEVICE = re.compile(r"device|gpu|cuda|rank", re.IGNORECASE)
_PLACES = ("cuda", "cpu", "mps", "xpu", "npu", "meta")


def _to_device(use: Use) -> bool:
    """``.to(device)``, ``.to("cuda:0")``, ``.to(x.device, ...)``."""
    given = use.argument("device", 0)
    if given is None:
        return False
    text = text_of(given)
    if text is not None:
        return text.split(":")[0] in _PLACES
    named = given.func if isinstance(given, cst.Call) else given
    return bool(_DEVICE.search(dotted(named).rpartition(".")[2]))


RULES = (
    _rule(
        "MIG751",
        FINE,
        (".to()",),
        "moves to a device: MindSpore's tensors are where the context says",
        "mindspore.set_device(...) once",
        "x.to(device)",
        _to_device,
    ),
    _rule(
        "MIG752",
        FINE,
        (".cuda()", ".cpu()", ".pin_memory()"),
        "moves to a device: MindSpore's tensors are where the context says",
        "mindspore.set_device(...) once",
        "model.cuda()",
    ),
    _rule(
        "MIG753",
        FINE,
        (
            "torch.device",
            "torch.cuda.is_available",
            "torch.cuda.device_count",
            "torch.cuda.current_device",
            "torch.cuda.synchronize",
            "torch.cuda.empty_cache",
            "torch.cuda.get_device_name",
            "torch.accelerator.*",
            "torch.set_num_threads",
        ),
        "is about torch's devices, where the data side stays",
        "mindspore.set_device(...) once",
        "torch.device('cuda')",
    ),
    _rule(
        "MIG755",
        UNSUPPORTED,
        (
            "torch.cuda.Stream",
            "torch.cuda.stream",
            "torch.cuda.current_stream",
            "torch.cuda.Event",
            "torch.cuda.CUDAGraph",
            "torch.cuda.graph",
            "torch.cuda.graphs.*",
            "torch.cuda.make_graphed_callables",
            "torch.cuda.nvtx.*",
            "torch.cuda.streams.*",
        ),
        "orders work on a GPU by hand",
        "leave it to MindSpore; mindspore.hal has streams and events",
        "torch.cuda.Stream()",
    ),
    _rule(
        "MIG754",
        ATTENTION,
        ("torch.cuda.*",),
        "asks or sets something of a GPU",
        "mindspore.hal, mindspore.runtime",
        "torch.cuda.max_memory_allocated()",
    ),
    _rule(
        "MIG756",
        ATTENTION,
        ("torch.mps.*", "torch.xpu.*", "torch.backends.mps.*", "torch_xla.*", "torch.xla.*", "torch_npu.*", "torch.npu.*"),
        "is an accelerator that MindSpore names otherwise, or not at all",
        'mindspore.set_device("Ascend"), "GPU" or "CPU"',
        "torch.backends.mps.is_available()",
    ),
    _rule(
        "MIG757",
        ATTENTION,
        (
            "torch.use_deterministic_algorithms",
            "torch.backends.cudnn.deterministic",
            "torch.are_deterministic_algorithms_enabled",
            "torch.set_deterministic_debug_mode",
        ),
        "asks torch to repeat itself",
        "mindspore.set_deterministic(True)",
        "torch.use_deterministic_algorithms(True)",
    ),
    _rule(
        "MIG758",
        FINE,
        ("torch.backends.cudnn.*", "torch.backends.mkldnn.*", "torch.backends.opt_einsum.*"),
        "tunes torch's kernels",
        "leave it out",
        "torch.backends.cudnn.benchmark = True",
    ),
    _rule(
        "MIG759",
        ATTENTION,
        ("environment CUDA_VISIBLE_DEVICES", "environment CUDA_DEVICE_ORDER"),
        "says which GPUs are seen",
        "ASCEND_RT_VISIBLE_DEVICES for Ascend",
        "os.environ['CUDA_VISIBLE_DEVICES']",
    ),
    _rule(
        "MIG760",
        ATTENTION,
        ("torch.set_default_device", "torch.get_default_device"),
        "moves what torch makes to a device, tensors of the data too",
        "torch's tensors stay on the CPU",
        "torch.set_default_device('cuda')",
    ),
)
