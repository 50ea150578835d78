"""Layers as functions: their weights are the cell's own parameters, or those of a layer below."""

from __future__ import annotations

from typing import Any

from dsbridge.model.code import Code, call, code
from dsbridge.model.construct import Refused
from dsbridge.model.functions.registry import function
from dsbridge.model.layers.registry import same
from dsbridge.model.nodes import plain


@function("linear")
def linear(x: Any, weight: Any, bias: Any = None) -> Code:
    """x W^T + b."""
    product = code("x @ w.swapaxes(0, 1)", x=x, w=weight)
    return product if bias is None else code("p + b", p=product, b=bias)


@function("conv2d")
def conv2d(
    x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: Any = 1
) -> Code:
    """With the weight as it is."""
    if isinstance(padding, str):
        raise Refused(f"padding={padding!r}")
    return call(
        "ops.conv2d", x, weight, bias, stride=same(stride), pad_mode="pad", padding=same(padding),
        dilation=same(dilation), groups=groups,
    )  # fmt: skip


@function("conv1d")
def conv1d(
    x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: Any = 1
) -> Code:
    """As a picture of one row."""
    if isinstance(padding, str) or x.ndim != 3:
        raise Refused(f"padding={padding!r}, {x.ndim}-d")
    stride, padding, dilation = map(same, (stride, padding, dilation))
    made = call(
        "ops.conv2d", code("x.unsqueeze(-2)", x=x), code("w.unsqueeze(-2)", w=weight), bias, stride=(1, stride), pad_mode="pad",
        padding=(0, padding), dilation=(1, dilation), groups=groups,
    )  # fmt: skip
    return code("y.squeeze(-2)", y=made)


@function("instance_norm")
def instance_norm(
    x: Any, running_mean: Any = None, running_var: Any = None, weight: Any = None, bias: Any = None,
    use_input_stats: bool = True, momentum: Any = 0.1, eps: Any = 1e-5,
) -> Code:  # fmt: skip
    """Groups of one channel."""
    if running_mean is not None or not use_input_stats:
        raise Refused("running statistics")
    return call("group_norm", x, code("x.shape[1]", x=x), weight, bias, eps)


@function("local_response_norm")
def local_response_norm(x: Any, size: Any, alpha: Any = 1e-4, beta: Any = 0.75, k: Any = 1.0) -> Code:
    """A helper."""
    return call("local_response_norm", x, size, alpha, beta, k)


@function("max_pool1d")
def max_pool1d(
    x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
    return_indices: bool = False,
) -> Code:  # fmt: skip
    """As a picture of one row."""
    if return_indices or x.ndim != 3:
        raise Refused(f"return_indices={return_indices}, {x.ndim}-d")
    kernel, step, side, spread = _row(kernel_size, stride, padding, dilation)
    made = call(
        "ops.max_pool2d", code("x.unsqueeze(-2)", x=x), (1, kernel), stride=(1, step), padding=(0, side), dilation=(1, spread),
        ceil_mode=ceil_mode,
    )  # fmt: skip
    return code("y.squeeze(-2)", y=made)


@function("avg_pool1d")
def avg_pool1d(
    x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False, count_include_pad: bool = True
) -> Code:
    """As a picture of one row."""
    if x.ndim != 3:
        raise Refused(f"{x.ndim}-d: [N, C, L] only")
    kernel, step, side, _ = _row(kernel_size, stride, padding, 1)
    made = call(
        "ops.avg_pool2d", code("x.unsqueeze(-2)", x=x), (1, kernel), stride=(1, step), padding=(0, 0, side, side),
        ceil_mode=ceil_mode, count_include_pad=count_include_pad,
    )  # fmt: skip
    return code("y.squeeze(-2)", y=made)


def _row(kernel_size: Any, stride: Any, *more: Any) -> list[Any]:
    values = (kernel_size, stride if stride not in (None, ()) else kernel_size, *more)
    return [same(one) for one in values]


@function("layer_norm")
def layer_norm(x: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: Any = 1e-5) -> Code:
    """A helper: the function has no kernel on the CPU."""
    return call("layer_norm", x, len(normalized_shape), weight, bias, eps)


@function("group_norm")
def group_norm(x: Any, num_groups: Any, weight: Any = None, bias: Any = None, eps: Any = 1e-5) -> Code:
    """A helper."""
    return call("group_norm", x, num_groups, weight, bias, eps)


@function("batch_norm")
def batch_norm(
    x: Any, running_mean: Any, running_var: Any, weight: Any = None, bias: Any = None, training: Any = False,
    momentum: Any = 0.1, eps: Any = 1e-5,
) -> Code:  # fmt: skip
    """A helper, which also moves the statistics."""
    return call("batch_norm", x, running_mean, running_var, weight, bias, training, momentum, eps)


@function("rms_norm")
def rms_norm(x: Any, normalized_shape: Any, weight: Any = None, eps: Any = None) -> Code:
    """x / sqrt(mean(x^2) + eps)."""
    axes = tuple(range(-len(normalized_shape), 0))
    normed = code("x * ops.rsqrt(ops.mean(x * x, a, True) + e)", x=x, a=axes, e=1.1920928955078125e-07 if eps is None else eps)
    return normed if weight is None else code("n * w", n=normed, w=weight)


@function("max_pool2d")
def max_pool2d(
    x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
    return_indices: bool = False,
) -> Code:  # fmt: skip
    """The same windows."""
    if return_indices:
        raise Refused("return_indices=True")
    if x.ndim != 4:
        raise Refused(f"{x.ndim}-d: [N, C, H, W] only")
    return call(
        "ops.max_pool2d", x, same(kernel_size), stride=same(stride if stride not in (None, ()) else kernel_size),
        padding=same(padding), dilation=same(dilation), ceil_mode=ceil_mode,
    )  # fmt: skip


@function("avg_pool2d")
def avg_pool2d(
    x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False, count_include_pad: bool = True,
    divisor_override: Any = None,
) -> Code:  # fmt: skip
    """The same windows."""
    return call(
        "ops.avg_pool2d", x, same(kernel_size), stride=same(stride if stride not in (None, ()) else kernel_size),
        padding=same(padding), ceil_mode=ceil_mode, count_include_pad=count_include_pad, divisor_override=divisor_override,
    )  # fmt: skip


@function("adaptive_avg_pool2d")
def adaptive_avg_pool2d(x: Any, output_size: Any) -> Code:
    """To one value it is the mean."""
    size = same(output_size)
    if plain(size) == 1:
        return code("ops.mean(x, (-2, -1), True)", x=x)
    return call("ops.adaptive_avg_pool2d", x, size)


@function("adaptive_avg_pool1d", "adaptive_avg_pool3d")
def adaptive_avg_pool(x: Any, output_size: Any) -> Code:
    """To one value: the mean."""
    size = same(output_size)
    if plain(size) != 1:
        raise Refused(f"output_size={output_size}: to one value only")
    return code("ops.mean(x, a, True)", x=x, a=tuple(range(2 - x.ndim, 0)))


@function("grid_sample")
def grid_sample(x: Any, grid: Any, mode: str = "bilinear", padding_mode: str = "zeros", align_corners: Any = None) -> Code:
    """The same values and gradients."""
    if mode == "bicubic":
        raise Refused(f"mode={mode!r}")
    return call("ops.grid_sample", x, grid, mode=mode, padding_mode=padding_mode, align_corners=bool(align_corners))


@function("affine_grid")
def affine_grid(theta: Any, size: Any, align_corners: Any = None) -> Code:
    """The same points."""
    return call("ops.affine_grid", theta, tuple(size), align_corners=bool(align_corners))


@function("embedding_bag")
def embedding_bag(
    ids: Any, weight: Any, offsets: Any = None, max_norm: Any = None, norm_type: Any = 2.0, scale_grad_by_freq: bool = False,
    mode: str = "mean", sparse: bool = False, per_sample_weights: Any = None, include_last_offset: bool = False,
    padding_idx: Any = None,
) -> Code:  # fmt: skip
    """Bags of one size: the mean, sum or maximum of rows."""
    wanted = {"max_norm": max_norm, "padding_idx": padding_idx, "per_sample_weights": per_sample_weights}
    unknown = [name for name, value in wanted.items() if value is not None]
    if unknown or sparse or scale_grad_by_freq or ids.ndim != 2:
        raise Refused(f"{', '.join(unknown) or 'sparse or scaled gradients, or offsets'}: bags of one size, [N, L], only")
    rows = call("ops.gather", weight, ids, 0)
    return code({"sum": "r.sum(1)", "mean": "r.mean(1)", "max": "ops.amax(r, 1)"}[mode], r=rows)


@function("_weight_norm")
def weight_norm(v: Any, g: Any, dim: Any = 0) -> Code:
    """What torch.nn.utils.parametrizations.weight_norm calls; -1 is the norm of all."""
    axes = tuple(axis for axis in range(v.ndim) if plain(dim) == -1 or axis != plain(dim))
    return code("v * (g / ops.sqrt(ops.sum(v * v, a, True)))", v=v, g=g, a=axes)


@function("interpolate")
def interpolate(
    x: Any, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: Any = None,
    recompute_scale_factor: Any = None, antialias: bool = False,
) -> Code:  # fmt: skip
    """Nearest, bilinear and bicubic, the last with a helper: MindSpore's values are others."""
    if mode not in ("nearest", "bilinear", "bicubic") or antialias or x.ndim != 4:
        raise Refused(f"mode={mode!r}, antialias={antialias}, {x.ndim}-d")
    return call(
        "interpolate", x, size=size, scale_factor=scale_factor, mode=mode, align_corners=bool(align_corners),
        recompute=True if recompute_scale_factor else None,
    )  # fmt: skip
