"""Layers."""

from __future__ import annotations

import mindspore as ms
from mindspore import nn, ops

from dsbridge.model.runtime.operations import (
    interpolate,
    layer_norm,
    log_sigmoid,
    log_softmax,
    mish,
    padded_embedding,
    root,
    selu,
    softplus,
    tanh,
)


class Tanh(nn.Cell):
    """torch.nn.Tanh."""

    def construct(self, x):
        return tanh(x)


class Tanhshrink(nn.Cell):
    """torch.nn.Tanhshrink."""

    def construct(self, x):
        return x - tanh(x)


class SELU(nn.Cell):
    """torch.nn.SELU."""

    def construct(self, x):
        return selu(x)


class Mish(nn.Cell):
    """torch.nn.Mish."""

    def construct(self, x):
        return mish(x)


class LogSigmoid(nn.Cell):
    """torch.nn.LogSigmoid."""

    def construct(self, x):
        return log_sigmoid(x)


class LogSoftmax(nn.Cell):
    """torch.nn.LogSoftmax."""

    def __init__(self, axis):
        super().__init__()
        self.axis = axis

    def construct(self, x):
        return log_softmax(x, self.axis)


class Softplus(nn.Cell):
    """torch.nn.Softplus."""

    def __init__(self, beta=1, threshold=20):
        super().__init__()
        self.beta, self.threshold = beta, threshold

    def construct(self, x):
        return softplus(x, self.beta, self.threshold)


class Upsample(nn.Cell):
    """torch.nn.Upsample."""

    def __init__(self, size=None, scale_factor=None, mode="nearest", align_corners=False):
        super().__init__()
        self.size, self.scale_factor, self.mode, self.align_corners = size, scale_factor, mode, align_corners

    def construct(self, x):
        return interpolate(x, self.size, self.scale_factor, self.mode, self.align_corners)


class AdaptiveAvgPool1d(nn.AdaptiveAvgPool2d):
    """torch.nn.AdaptiveAvgPool1d."""

    def __init__(self, output_size):
        super().__init__((1, output_size))

    def construct(self, x):
        return super().construct(x.unsqueeze(-2)).squeeze(-2)


class LayerNorm(nn.Cell):
    """torch.nn.LayerNorm without bias, or without weight and bias."""

    def __init__(self, normalized_shape, epsilon, weight, bias):
        super().__init__()
        self.rank, self.epsilon = len(normalized_shape), epsilon
        self.gamma = ms.Parameter(ops.ones(normalized_shape, ms.float32)) if weight else None
        self.beta = ms.Parameter(ops.zeros(normalized_shape, ms.float32)) if bias else None

    def construct(self, x):
        return layer_norm(x, self.rank, self.gamma, self.beta, self.epsilon)


class BatchNorm1d3(nn.BatchNorm2d):
    """torch.nn.BatchNorm1d for [N, C, L]."""

    def construct(self, x):
        return super().construct(x.unsqueeze(-1)).squeeze(-1)


class PaddedEmbedding(nn.Embedding):
    """torch.nn.Embedding with padding_idx: that row gets no gradient."""

    def __init__(self, vocab_size, embedding_size, padding_idx):
        super().__init__(vocab_size, embedding_size)
        self.padded = padding_idx

    def construct(self, ids):
        return padded_embedding(ids, self.embedding_table, self.padded)


class CroppedConvTranspose(nn.Conv2dTranspose):
    """torch.nn.ConvTranspose2d with padding and output_padding: made without either, then cropped."""

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=(0, 0), output_padding=(0, 0), **more):
        super().__init__(in_channels, out_channels, kernel_size, stride=stride, pad_mode="pad", padding=0, **more)
        self.begin, self.end = padding, tuple(p - o for p, o in zip(padding, output_padding, strict=True))

    def construct(self, x):
        y = super().construct(x)
        top, left = self.begin
        return y[:, :, top : y.shape[2] - self.end[0], left : y.shape[3] - self.end[1]]


class TripletMarginLoss(nn.Cell):
    """torch.nn.TripletMarginLoss, with Euclidean distances."""

    def __init__(self, margin=1.0, eps=1e-6, swap=False, reduction="mean"):
        super().__init__()
        self.margin, self.eps, self.swap, self.reduction = margin, eps, swap, reduction

    def construct(self, anchor, positive, negative):
        near, far = self.distance(anchor, positive), self.distance(anchor, negative)
        if self.swap:
            far = ops.minimum(far, self.distance(positive, negative))
        loss = ops.clamp(self.margin + near - far, min=0.0)
        if self.reduction == "none":
            return loss
        return loss.sum() if self.reduction == "sum" else loss.mean()

    def distance(self, x, y):
        return root(ops.square(x - y + self.eps).sum(-1))


class StochasticDepth(nn.Cell):
    """torchvision.ops.StochasticDepth, timm's DropPath: whole samples (or the batch) are dropped, the others scaled."""

    def __init__(self, p, mode="row", scale=True):
        super().__init__()
        self.p, self.mode, self.scale = p, mode, scale

    def construct(self, x):
        if not self.training or self.p == 0.0:
            return x
        shape = (x.shape[0] if self.mode == "row" else 1,) + (1,) * (x.ndim - 1)
        kept = (ops.rand(shape) >= self.p).astype(x.dtype)
        if self.scale and self.p < 1.0:
            kept = kept / (1.0 - self.p)
        return x * kept


class MultiheadAttention(nn.Cell):
    """torch.nn.MultiheadAttention over one width; parameters as there."""

    def __init__(self, embed_dim, num_heads, dropout=0.0, bias=True, batch_first=False):
        super().__init__()
        self.num_heads, self.head_dim = num_heads, embed_dim // num_heads
        self.dropout, self.batch_first = dropout, batch_first
        self.in_proj_weight = ms.Parameter(ops.zeros((3 * embed_dim, embed_dim), ms.float32))
        self.in_proj_bias = ms.Parameter(ops.zeros((3 * embed_dim,), ms.float32)) if bias else None
        self.out_proj = nn.Dense(embed_dim, embed_dim, has_bias=bias)

    def construct(
        self,
        query,
        key,
        value,
        key_padding_mask=None,
        need_weights=True,
        attn_mask=None,
        average_attn_weights=True,
        is_causal=False,
    ):
        if not self.batch_first and query.ndim == 3:
            query, key, value = query.swapaxes(0, 1), key.swapaxes(0, 1), value.swapaxes(0, 1)
        wq, wk, wv = ops.chunk(self.in_proj_weight, 3, axis=0)
        q, k, v = query @ wq.swapaxes(0, 1), key @ wk.swapaxes(0, 1), value @ wv.swapaxes(0, 1)
        if self.in_proj_bias is not None:
            bq, bk, bv = ops.chunk(self.in_proj_bias, 3, axis=0)
            q, k, v = q + bq, k + bk, v + bv
        batch, length, width = q.shape
        source = k.shape[1]
        q = q.reshape(batch, length, self.num_heads, self.head_dim).swapaxes(1, 2)
        k = k.reshape(batch, source, self.num_heads, self.head_dim).swapaxes(1, 2)
        v = v.reshape(batch, source, self.num_heads, self.head_dim).swapaxes(1, 2)
        scores = ops.matmul(q * (self.head_dim**-0.5), k.swapaxes(-2, -1))
        if attn_mask is not None:
            mask = attn_mask
            if mask.ndim == 3:
                mask = mask.reshape(batch, self.num_heads, length, source)
            scores = scores.masked_fill(mask, float("-inf")) if mask.dtype == ms.bool_ else scores + mask
        if key_padding_mask is not None:
            mask = key_padding_mask.reshape(batch, 1, 1, source)
            scores = scores.masked_fill(mask, float("-inf")) if mask.dtype == ms.bool_ else scores + mask
        weights = ops.softmax(scores, axis=-1)
        if self.training and self.dropout > 0.0:
            weights = ops.dropout(weights, p=self.dropout, training=True)
        output = ops.matmul(weights, v).swapaxes(1, 2).reshape(batch, length, width)
        output = self.out_proj(output)
        if not self.batch_first:
            output = output.swapaxes(0, 1)
        if not need_weights:
            return output, None
        return output, weights.mean(1) if average_attn_weights else weights
