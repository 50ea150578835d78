"""Functions."""

from __future__ import annotations

import math

import mindspore as ms
from mindspore import ops


def roll(x, shifts, dims):
    """Shift axes around (torch.roll)."""
    for at in range(len(shifts)):  # graph mode has no zip(strict=)
        axis = dims[at]
        size = x.shape[axis]
        shift = shifts[at] % size
        if shift:
            parts = ops.split(x, [size - shift, shift], axis=axis)
            x = ops.cat((parts[1], parts[0]), axis=axis)
    return x


def every(x, axis, start, stop, step):
    """x[..., start:stop:step] on one axis; the gradient of a slice with a step crashes on the CPU."""
    size = x.shape[axis]
    begin = 0 if start is None else (start if start >= 0 else start + size)
    end = size if stop is None else (min(stop, size) if stop >= 0 else stop + size)
    return ops.gather(x, ops.arange(begin, end, step), axis)


def padded_embedding(ids, weight, padding_idx):
    """Rows of weight (torch.nn.functional.embedding with padding_idx): one of them gets no gradient."""
    found = ops.gather(weight, ids, 0)
    return ops.where((ids == padding_idx).unsqueeze(-1), ops.stop_gradient(found), found)


def unfold_axis(x, axis, size, step):
    """Windows of an axis, each along a new last one (torch.Tensor.unfold)."""
    axis = axis % x.ndim
    starts = range(0, x.shape[axis] - size + 1, step)
    return ops.stack([ops.narrow(x, axis, start, size).movedim(axis, -1) for start in starts], axis=axis)


def unfold(x, kernel, dilation, padding, stride):
    """Windows of a picture as columns, [N, C kh kw, L] (torch.nn.functional.unfold)."""
    x = ops.pad(x, (padding[1], padding[1], padding[0], padding[0]))
    height = (x.shape[2] - dilation[0] * (kernel[0] - 1) - 1) // stride[0] + 1
    width = (x.shape[3] - dilation[1] * (kernel[1] - 1) - 1) // stride[1] + 1
    parts = []
    for row in range(kernel[0]):
        for column in range(kernel[1]):
            top, left = row * dilation[0], column * dilation[1]
            part = every(x, 2, top, top + (height - 1) * stride[0] + 1, stride[0])
            parts.append(every(part, 3, left, left + (width - 1) * stride[1] + 1, stride[1]))
    return ops.stack(parts, axis=2).reshape((x.shape[0], -1, height * width))


def pad_circular(x, pad):
    """Sides filled from the other end, last axis first (torch.nn.functional.pad, mode="circular")."""
    for number in range(len(pad) // 2):
        axis, before, after = x.ndim - 1 - number, pad[2 * number], pad[2 * number + 1]
        size = x.shape[axis]
        x = ops.cat((ops.narrow(x, axis, size - before, before), x, ops.narrow(x, axis, 0, after)), axis=axis)
    return x


def elu(x, alpha):
    """torch.nn.functional.elu; MindSpore's own has alpha 1 only."""
    return ops.where(x > 0, x, alpha * ops.expm1(ops.minimum(x, ops.zeros_like(x))))


def cosine_similarity(x, y, axis, eps):
    """x y / (max(|x|, eps) max(|y|, eps)) (torch.nn.functional.cosine_similarity)."""
    norm_x, norm_y = root(ops.sum(x * x, axis)), root(ops.sum(y * y, axis))
    return ops.sum(x * y, axis) / (ops.clamp(norm_x, min=eps) * ops.clamp(norm_y, min=eps))


def local_response_norm(x, size, alpha, beta, k):
    """x / (k + alpha mean(neighbours ** 2)) ** beta over channels (torch.nn.functional.local_response_norm)."""
    squares = ops.pad((x * x).reshape((x.shape[0], 1, x.shape[1], -1)), (0, 0, size // 2, (size - 1) // 2))
    total = ops.narrow(squares, 2, 0, x.shape[1])
    for start in range(1, size):
        total = total + ops.narrow(squares, 2, start, x.shape[1])
    return x / (k + alpha * (total / size).reshape(x.shape)) ** beta


def contract(x, y, x_axes, y_axes, batch, summed, axes):
    """torch.einsum of two operands: axes sorted into batch, free and summed ones, one matmul, axes sorted back."""
    x, y = x.permute(x_axes), y.permute(y_axes)
    together, mine, theirs = x.shape[:batch], x.shape[batch : len(x_axes) - summed], y.shape[batch + summed :]
    inner = 1
    for size in y.shape[batch : batch + summed]:
        inner = inner * size
    z = ops.matmul(x.reshape((*together, -1, inner)), y.reshape((*together, inner, -1)))
    return z.reshape((*together, *mine, *theirs)).permute(axes)


def tanh(x):
    """torch.tanh; the gradient of MindSpore's own on the CPU is off by 20 % where |x| > 4."""
    t = ops.expm1(2.0 * ops.minimum(x.astype(ms.float32), 9.0))
    return (t / (t + 2.0)).astype(x.dtype)


def softplus(x, beta, threshold):
    """log(1 + exp(beta x)) / beta, x itself beyond the threshold (torch.nn.functional.softplus)."""
    scaled = x * beta
    soft = (ops.maximum(scaled, ops.zeros_like(scaled)) + ops.log1p(ops.exp(-ops.abs(scaled)))) / beta
    return ops.where(scaled > threshold, x, soft)


def log_softmax(x, axis):
    """torch.nn.functional.log_softmax; the logarithm in MindSpore's own has few digits near 1, where losses are small."""
    below = x - ops.stop_gradient(ops.amax(x, axis, True))
    return below - ops.log(ops.exp(below).sum(axis, keepdims=True))


def log_sigmoid(x):
    """torch.nn.functional.logsigmoid; MindSpore's own is -inf below -88, and its gradient nan."""
    return -softplus(-x, 1.0, 20.0)


def root(x):
    """The square root, with gradient 0 at 0 as in torch's norms and deviations; that of ops.sqrt is inf there."""
    zero = x == 0
    return ops.sqrt(x.masked_fill(zero, 1.0)).masked_fill(zero, 0.0)


def selu(x):
    """torch.nn.functional.selu; MindSpore's own has a wrong gradient on the CPU."""
    negative = ops.exp(ops.minimum(x, ops.zeros_like(x))) - 1.0
    return 1.0507009873554805 * ops.where(x > 0, x, 1.6732632423543772 * negative)


def mish(x):
    """x tanh(softplus(x)), torch.nn.functional.mish; the gradient of MindSpore's own is off by 1e-4."""
    e = ops.exp(ops.minimum(x, ops.ones_like(x) * 20.0))
    n = e * (e + 2.0)
    return x * (n / (n + 2.0))


def variance(x, axis, correction, keepdims):
    """The mean of squared differences over n - correction values (torch.var)."""
    off = x - ops.mean(x, axis, True)
    squares = ops.sum(off * off, axis, keepdims)
    count = x.size // squares.size
    return squares / (count - correction)


def layer_norm(x, rank, weight, bias, eps):
    """Normalize over the last ``rank`` axes (torch.nn.functional.layer_norm)."""
    axes = tuple(range(-rank, 0))
    off = x - ops.mean(x, axes, True)
    y = off * ops.rsqrt(ops.mean(off * off, axes, True) + eps)
    if weight is not None:
        y = y * weight
    return y if bias is None else y + bias


def group_norm(x, groups, weight, bias, eps):
    """Normalize each group of channels (torch.nn.functional.group_norm)."""
    y = x.reshape((x.shape[0], groups, -1))
    off = y - ops.mean(y, -1, True)
    y = (off * ops.rsqrt(ops.mean(off * off, -1, True) + eps)).reshape(x.shape)
    shape = (1, -1) + (1,) * (x.ndim - 2)
    if weight is not None:
        y = y * weight.reshape(shape)
    return y if bias is None else y + bias.reshape(shape)


def batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps):
    """Normalize each channel; statistics that are given follow in training (torch.nn.functional.batch_norm)."""
    shape = (1, -1) + (1,) * (x.ndim - 2)
    if training:
        axes = (0, *range(2, x.ndim))
        mean = ops.mean(x, axes, True)
        off = x - mean
        var = ops.mean(off * off, axes, True)
        if running_mean is not None:
            count = x.size // x.shape[1]
            new_mean = ops.stop_gradient(mean).reshape(-1)
            new_var = ops.stop_gradient(var).reshape(-1) * (count / (count - 1))
            ops.assign(running_mean, running_mean * (1.0 - momentum) + new_mean * momentum)
            ops.assign(running_var, running_var * (1.0 - momentum) + new_var * momentum)
    else:
        off, var = x - running_mean.reshape(shape), running_var.reshape(shape)
    y = off * ops.rsqrt(var + eps)
    if weight is not None:
        y = y * weight.reshape(shape)
    return y if bias is None else y + bias.reshape(shape)


def scaled_dot_product_attention(
    query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False
):
    """softmax(q k^T * scale + mask) v (torch.nn.functional.scaled_dot_product_attention)."""
    if enable_gqa:  # several queries share a head of keys and values
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
        value = value.repeat_interleave(query.shape[-3] // value.shape[-3], -3)
    if scale is None:
        scale = 1.0 / math.sqrt(query.shape[-1])
    scores = ops.matmul(query * scale, key.swapaxes(-2, -1))
    if is_causal:
        future = ops.ones((query.shape[-2], key.shape[-2]), ms.bool_).triu(1)
        scores = scores.masked_fill(future, float("-inf"))
    if attn_mask is not None:
        if attn_mask.dtype == ms.bool_:
            scores = scores.masked_fill(ops.logical_not(attn_mask), float("-inf"))
        else:
            scores = scores + attn_mask
    weights = ops.softmax(scores, axis=-1)
    if dropout_p > 0.0:
        weights = ops.dropout(weights, p=dropout_p, training=True)
    return ops.matmul(weights, value)


def resampled(x, axis, size, scale, mode, align_corners):
    """One axis at another size, with torch's positions: nearest, linear, or cubic convolution with a = -0.75."""
    length = x.shape[axis]
    at = ops.arange(size).astype(ms.float32)
    if mode == "nearest":
        return ops.gather(x, ops.clamp(ops.floor(at * scale), 0, length - 1).astype(ms.int32), axis)
    at = at * ((length - 1) / (size - 1) if size > 1 else 0.0) if align_corners else (at + 0.5) * scale - 0.5
    if mode == "bilinear":
        at = ops.clamp(at, min=0.0)
    left = ops.floor(at)
    shape = [1] * x.ndim
    shape[axis] = size
    result = 0.0
    for tap in range(2) if mode == "bilinear" else range(-1, 3):
        d = ops.abs(at - left - tap)
        weight = 1.0 - d
        if mode == "bicubic":
            near, far = (1.25 * d - 2.25) * d * d + 1.0, -0.75 * (((d - 5.0) * d + 8.0) * d - 4.0)
            weight = ops.where(d <= 1.0, near, far)
        index = ops.clamp(left + tap, 0, length - 1).astype(ms.int32)
        result = result + ops.gather(x, index, axis) * weight.reshape(tuple(shape)).astype(x.dtype)
    return result


def interpolate(x, size=None, scale_factor=None, mode="nearest", align_corners=False, recompute=False):
    """Nearest, bilinear or bicubic, with sizes and steps computed as torch does (torch.nn.functional.interpolate)."""
    height, width = x.shape[-2], x.shape[-1]
    factors = (None, None)
    if size is None:
        factors = scale_factor if isinstance(scale_factor, (tuple, list)) else (scale_factor, scale_factor)
        size = (int(height * factors[0]), int(width * factors[1]))
    elif isinstance(size, int):
        size = (size, size)
    steps = (height / size[0], width / size[1])
    if factors[0] is not None and not recompute:
        steps = (1.0 / factors[0], 1.0 / factors[1])
    whole = abs(steps[0] * size[0] - height) < 1e-6 and abs(steps[1] * size[1] - width) < 1e-6
    if mode == "bicubic" or not whole:
        x = resampled(x, 2, size[0], steps[0], mode, align_corners)
        return resampled(x, 3, size[1], steps[1], mode, align_corners)
    if mode == "nearest":
        return ops.interpolate(x, size=tuple(size), mode="nearest")
    return ops.interpolate(x, size=tuple(size), mode="bilinear", align_corners=align_corners)
