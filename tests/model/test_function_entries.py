"""Every function of the table: forward and gradients against torch in float64, in both modes; what cannot be is refused."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import loss_cases
import proofs
import pytest
import torch
import training_cases
from torch.nn import functional as F

from dsbridge.errors import Unsupported
from dsbridge.model.convert import draft
from dsbridge.model.functions import registry

x = torch.randn(2, 3, 4, 6)
y = torch.randn(2, 3, 4, 6)
m = torch.randn(3, 5)
n = torch.randn(5, 4)
b1, b2 = torch.randn(2, 3, 5), torch.randn(2, 5, 4)
q = torch.randn(2, 2, 5, 8)
positive = torch.rand(2, 3, 4) + 0.5
whole = torch.randint(0, 5, (2, 3))
signed = torch.tensor([[-5, -3, -1], [0, 3, 5]])
halves = torch.tensor([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5])

# name -> (function, inputs)
CASES: dict[str, tuple[Callable[..., Any], tuple[torch.Tensor, ...]]] = {
    "add": (lambda a, b: a + b, (x, y)),
    "add number": (lambda a: 1.5 + a + 2, (x,)),
    "add alpha": (lambda a, b: torch.add(a, b, alpha=0.5), (x, y)),
    "in place": (lambda a, b: (a * 1).add_(b).mul_(2).relu_(), (x, y)),
    "augmented": (lambda a, b: proofs_augmented(a, b), (x, y)),
    "sub": (lambda a, b: a - b - 1, (x, y)),
    "sub alpha": (lambda a, b: torch.sub(a, b, alpha=2), (x, y)),
    "rsub": (lambda a: 1 - a, (x,)),
    "torch.rsub": (lambda a: torch.rsub(a, 2.0), (x,)),
    "mul": (lambda a, b: a * b * 0.5, (x, y)),
    "div": (lambda a, b: a / (b.abs() + 1), (x, y)),
    "rdiv": (lambda a: 1 / a, (positive,)),
    "floor division": (lambda a: a // 2, (whole,)),
    "div floor": (lambda a: torch.div(a, 2, rounding_mode="floor"), (whole,)),
    "whole division": (lambda a: a / 2, (whole,)),
    "remainder": (lambda a: a % 3, (whole,)),
    "division of negative numbers": (
        lambda i: (i // 2) * 100 + i % 3 + torch.div(i, 2, rounding_mode="floor") + i % -3,
        (signed,),
    ),
    "division towards zero": (
        lambda i, a: torch.div(i, 2, rounding_mode="trunc") + torch.div(a, 0.7, rounding_mode="trunc"),
        (signed, m[:2, :3]),
    ),
    "remainder of negative numbers": (lambda a: a % 0.7, (m,)),
    "round halves": (lambda a: a.round() + torch.round(a * 1), (halves,)),
    "pow": (lambda a: a**2 + a**3, (x,)),
    "pow half": (lambda a: a**0.5 + a**-0.5, (positive,)),
    "rpow": (lambda a: 2**a, (positive,)),
    "neg": (lambda a: -a, (x,)),
    "matmul": (lambda a, b: a @ b, (m, n)),
    "matmul 4-d": (lambda a, b: torch.matmul(a, b.transpose(-2, -1)), (x, y)),
    "mm": (torch.mm, (m, n)),
    "bmm": (torch.bmm, (b1, b2)),
    "addmm": (lambda c, a, b: torch.addmm(c, a, b), (torch.randn(3, 4), m, n)),
    "addmm scaled": (lambda c, a, b: torch.addmm(c, a, b, beta=0.5, alpha=2), (torch.randn(3, 4), m, n)),
    "baddbmm": (lambda c, a, b: torch.baddbmm(c, a, b, alpha=0.5), (torch.randn(2, 3, 4), b1, b2)),
    "outer": (torch.outer, (torch.randn(3), torch.randn(4))),
    "lerp": (lambda a, b: torch.lerp(a, b, 0.3), (x, y)),
    "addcmul": (lambda a, b: torch.addcmul(a, b, b, value=0.5), (x, y)),
    "einsum": (lambda a, b: torch.einsum("bij,bjk->bik", a, b), (b1, b2)),
    "einsum attention": (lambda a, b: torch.einsum("bhid,bhjd->bhij", a, b), (q, q.flip(0))),
    "maximum": (torch.maximum, (x, y)),
    "minimum": (torch.minimum, (x, y)),
    "clamp": (lambda a: a.clamp(-0.5, 0.5), (x,)),
    "clamp min": (lambda a: torch.clamp(a, min=0.1), (x,)),
    "clamp_min": (lambda a: a.clamp_min(0.1), (x,)),
    "where": (lambda a, b: torch.where(a > b, a, b * 2), (x, y)),
    "comparisons": (
        lambda a, b: (a >= b).float() + (a < b).float() * 2 + (a == b).float() + (a != b).float() + (a <= b).float(),
        (x, y),
    ),
    "logic": (lambda a, b: ((a > 0) & (b > 0) | ~(a > 1)).float(), (x, y)),
    "logical_xor": (lambda a, b: torch.logical_xor(a > 0, b > 0).float(), (x, y)),
    "masked_fill": (lambda a, b: a.masked_fill(b > 0, -1.0), (x, y)),
    "unary": (lambda a: a.exp() + a.sin() + a.cos() + a.abs() + a.erf() + a.expm1() + a.square() + a.tanh(), (x,)),
    "unary positive": (
        lambda a: a.log() + a.sqrt() + a.rsqrt() + a.log1p() + a.log2() + a.reciprocal() + a.atan() + a.tan(),
        (positive,),
    ),
    "unary hyperbolic": (lambda a: a.sinh() + a.cosh() + a.asinh() + (a.abs() + 1.5).acosh() + (a / 9).atanh(), (x,)),
    "unary inverse": (lambda a: (a / 9).asin() + (a / 9).acos() + a.erfc() + torch.exp2(a) + torch.positive(a), (x,)),
    "unary rounding": (lambda a: a.trunc() + a.frac() + a.abs().add(1).log10(), (x,)),
    "atan2": (torch.atan2, (x, y)),
    "mv": (torch.mv, (m, torch.randn(5))),
    "dot": (torch.dot, (torch.randn(5), torch.randn(5))),
    "addcdiv": (lambda a, b: torch.addcdiv(a, b, b.abs() + 1, value=0.5), (x, y)),
    "clamp_max": (lambda a: a.clamp_max(0.1), (x,)),
    "rounding": (lambda a: a.floor() + a.ceil() + a.sign() + a.round(), (x,)),
    "tests": (lambda a: torch.isnan(a).float() + torch.isinf(a).float() + torch.isfinite(a).float(), (x,)),
    "activations": (
        lambda a: F.relu(a) + F.relu6(a) + F.silu(a) + F.hardswish(a) + F.hardsigmoid(a) + F.sigmoid(a) + F.mish(a),
        (x,),
    ),
    "activations 2": (lambda a: F.selu(a) + F.logsigmoid(a) + F.softsign(a) + F.elu(a) + F.leaky_relu(a) + F.softplus(a), (x,)),
    "tanh far out": (lambda a: torch.tanh(a * 4) + torch.tanh(a * 0.001) * 1000 + torch.tanh(a * 100), (x,)),
    "sigmoid far out": (
        lambda a: torch.sigmoid(a * 5) + F.silu(a * 5) + F.gelu(a * 5) + F.gelu(a * 5, approximate="tanh"),
        (x,),
    ),
    "gelu": (lambda a: F.gelu(a) + F.gelu(a, approximate="tanh"), (x,)),
    "hardtanh": (lambda a: F.hardtanh(a, -0.5, 0.5), (x,)),
    "elu": (lambda a: F.elu(a, 2.0) + F.celu(a, 0.7) + F.celu(a), (x,)),
    "prelu": (lambda a, w, v: F.prelu(a, w) + F.prelu(a, v), (x, torch.rand(1), torch.rand(3))),
    "threshold itself": (lambda a: torch.threshold(a, 0.1, 2) + a.clone(), (x,)),
    "threshold": (lambda a: F.threshold(a, 0.1, 2) + F.hardshrink(a) + F.softshrink(a, 0.2), (x,)),
    "softmin": (lambda a: F.softmin(a, dim=1), (x,)),
    "cosine_similarity": (lambda a, b: F.cosine_similarity(a, b, dim=-1), (x, y)),
    "softmax": (lambda a: a.softmax(-1) + F.softmax(a, dim=1) + F.log_softmax(a, dim=2), (x,)),
    "glu": (lambda a: F.glu(a, 1), (torch.randn(2, 4, 3),)),
    "dropout off": (lambda a: F.dropout(a, 0.5, training=False) + F.dropout2d(a, 0.5, False), (torch.randn(2, 3, 4, 5),)),
    "normalize": (lambda a: F.normalize(a, dim=-1), (x,)),
    "view": (lambda a: a.view(2, -1) * 2, (x,)),
    "reshape sizes": (lambda a: a.reshape(a.shape[0], a.shape[1], -1), (x,)),
    "view_as": (lambda a, b: a.view_as(b) + a.reshape_as(b), (x, y.reshape(6, 24))),
    "made of numbers": (lambda a: a * torch.as_tensor(2.0) + torch.scalar_tensor(0.5), (x,)),
    "empty": (lambda a: torch.cat([a, torch.empty(a.shape[0], 0, *a.shape[2:])], 1), (x,)),
    "var_mean": (lambda a: sum(torch.var_mean(a, dim=1)) + sum(torch.std_mean(a, 1, correction=0)), (x,)),
    "eye": (lambda a: a + torch.eye(a.shape[0]) + torch.eye(4, 4, dtype=torch.float32), (torch.randn(4, 4),)),
    "pairwise_distance": (
        lambda a, b: F.pairwise_distance(a, b) + F.pairwise_distance(a, b, keepdim=True).sum(),
        (m, m.flip(0)),
    ),
    "grid_sample": (
        lambda a, g: F.grid_sample(a, g.tanh(), align_corners=False) + F.grid_sample(a, g, "nearest", "border", False),
        (torch.randn(2, 3, 5, 6), torch.randn(2, 4, 4, 2)),
    ),
    "grid_sample aligned": (
        lambda a, g: F.grid_sample(a, g, align_corners=True, padding_mode="reflection"),
        (torch.randn(2, 3, 5, 6), torch.randn(2, 4, 4, 2)),
    ),
    "affine_grid": (
        lambda t, a: F.affine_grid(t, a.size(), align_corners=False) * F.affine_grid(t, list(a.shape), True) + a.mean(),
        (torch.randn(2, 2, 3), torch.randn(2, 3, 5, 6)),
    ),
    "embedding_bag": (
        lambda i, w: F.embedding_bag(i, w) + F.embedding_bag(i, w, mode="sum") * F.embedding_bag(i, w, mode="max"),
        (torch.tensor([[0, 3], [1, 1], [4, 2]]), torch.randn(5, 3)),
    ),
    "adaptive_avg_pool1d": (lambda a: F.adaptive_avg_pool1d(a, 1), (torch.randn(2, 3, 8),)),
    "flatten": (lambda a: a.flatten(1) .sum(1), (x,)),
    "torch.flatten": (lambda a: torch.flatten(a, 1, 2), (x,)),
    "ravel": (lambda a: a.ravel() * 2, (x,)),
    "unfold": (lambda a: F.unfold(a, 2), (x,)),
    "unfold strided": (lambda a: F.unfold(a, (2, 3), dilation=(1, 2), padding=(1, 2), stride=2), (x,)),
    "unfold an axis": (lambda a: a.unfold(3, 3, 2) * 2 + a.unfold(-1, 3, 2), (x,)),
    "hstack": (lambda a, b: torch.hstack((a, b)) , (x, y)),
    "vstack": (lambda a, b: torch.vstack((a, b)), (x, y)),
    "repeat_interleave": (lambda a: a.repeat_interleave(2, dim=1), (x,)),
    "diagonal": (lambda a: a.diagonal(dim1=-2, dim2=-1) * 2, (x,)),
    "unflatten": (lambda a: a.unflatten(-1, (2, 3)), (x,)),
    "transpose": (lambda a: a.transpose(1, 2).contiguous() + 1, (x,)),
    "T": (lambda a: a.T + a.t(), (m,)),
    "mT": (lambda a: a.mT * 2, (x,)),
    "permute": (lambda a: a.permute(0, 2, 3, 1), (x,)),
    "permute tuple": (lambda a: torch.permute(a, (3, 0, 1, 2)), (x,)),
    "movedim": (lambda a: a.movedim(1, -1), (x,)),
    "squeeze": (lambda a: a[:, :1].squeeze(1), (x,)),
    "unsqueeze": (lambda a: a.unsqueeze(1) + a.unsqueeze(-1).sum(-1).unsqueeze(1), (x,)),
    "expand": (lambda a: a[:, :1].expand(-1, 3, -1, -1) * 2, (x,)),
    "expand_as": (lambda a, b: a[:1].expand_as(b) * b, (x, y)),
    "broadcast_to": (lambda a: torch.broadcast_to(a[:1], (2, 3, 4, 6)), (x,)),
    "repeat": (lambda a: a.repeat(1, 2, 1, 1), (x,)),
    "tile": (lambda a: torch.tile(a, (1, 1, 2)), (x,)),
    "cat": (lambda a, b: torch.cat([a, b], dim=1), (x, y)),
    "stack": (lambda a, b: torch.stack((a, b), dim=1), (x, y)),
    "chunk": (lambda a: chunked(a), (x,)),
    "split": (lambda a: split(a), (x,)),
    "split sizes": (lambda a: a.split([1, 2], dim=1)[1] * 2, (x,)),
    "tensor_split": (lambda a: torch.tensor_split(a, 2, dim=2)[0], (x,)),
    "unbind": (lambda a: a.unbind(1)[1] + a.unbind(1)[0], (x,)),
    "flip": (lambda a: a.flip(-1), (x,)),
    "roll": (lambda a: torch.roll(a, shifts=(1, -2), dims=(1, 2)), (x,)),
    "pad": (lambda a: F.pad(a, (1, 2, 0, 1)), (x,)),
    "pad value": (lambda a: F.pad(a, (0, 0, 1, 1), value=1.5), (x,)),
    "pad reflect": (lambda a: F.pad(a, (1, 2, 1, 1), mode="reflect"), (x,)),
    "pad circular": (lambda a: F.pad(a, (1, 2, 2, 1), mode="circular"), (x,)),
    "pad replicate": (lambda a: F.pad(a, (1, 2, 2, 1), mode="replicate"), (x,)),
    "pixel_shuffle": (lambda a: F.pixel_shuffle(a, 2), (torch.randn(1, 4, 3, 3),)),
    "detach": (lambda a: a * a.detach(), (x,)),
    "captured": (lambda a: a + halves, (x,)),
    "constant": (lambda a: a + torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), (x,)),
    "sum": (lambda a: a.sum(1) + a.sum((1,)) , (x,)),
    "sum all": (lambda a: a.sum() * a, (x,)),
    "sum keepdim": (lambda a: a.sum((1, 2), keepdim=True) * a, (x,)),
    "sum bool": (lambda a: (a > 0).sum(1), (x,)),
    "mean": (lambda a: a.mean((2, 3)) + a.mean(-1).mean(-1), (x,)),
    "mean keepdim": (lambda a: a - a.mean(1, keepdim=True) - a.mean(), (x,)),
    "numel": (lambda a: a / a.numel() + a.nelement(), (x,)),
    "equal maxima": (lambda a: a.relu().amax(1) + a.relu().amin(1), (x,)),
    "equal maxima of all": (lambda a: a.relu().min() + a.clamp(max=0.1).max(), (x,)),
    "amax": (lambda a: a.amax(1) + a.amin(1), (x,)),
    "max": (lambda a: a.max(dim=1)[0] + a.min(dim=1)[0] + a.max() + a.min(), (x,)),
    "max of two": (lambda a, b: torch.max(a, b) + torch.min(a, b), (x, y)),
    "argmax": (lambda a: a.argmax(1), (x,)),
    "var": (lambda a: a.var(1) + a.var(1, unbiased=False) + a.std(1), (x,)),
    "norm": (lambda a: a.norm(dim=1) + torch.norm(a), (x,)),
    "cumsum": (lambda a: a.cumsum(1), (x,)),
    "cumsum whole": (lambda a: a.cumsum(1), (whole,)),
    "logsumexp": (lambda a: a.logsumexp(1), (x,)),
    "prod": (lambda a: a.prod(1), (positive,)),
    "argmin": (lambda a: a.argmin(1), (x,)),
    "count_nonzero": (lambda a: torch.count_nonzero(a > 0, dim=1), (x,)),
    "vector_norm": (lambda a: torch.linalg.vector_norm(a, dim=1) +
        torch.linalg.norm(a, dim=1) * torch.linalg.vector_norm(a), (x,)),
    "cumprod": (lambda a: a.cumprod(1), (positive,)),
    "all any": (lambda a: (a > 0).all(1).float() + (a > 0).any(1).float(), (x,)),
    "index": (lambda a: a[:, 0] + a[:, -1], (x,)),
    "index slices": (lambda a: a[:, 1:, :-1, 2:5], (x,)),
    "index ellipsis": (lambda a: a[..., 0] + a[..., None][..., 0, 0], (x,)),
    "index step": (lambda a: a[:, :, ::2], (x,)),
    "index steps": (lambda a: a[:, :, ::2, 1::2], (x,)),
    "index steps ellipsis": (lambda a: a[:, 0::2, 1::2, :], (x,)),
    "index by tensor": (lambda a, i: a[i], (m, torch.tensor([2, 0, 1, 1]))),
    "select": (lambda a: a.select(1, 2), (x,)),
    "narrow": (lambda a: a.narrow(3, 1, 4), (x,)),
    "take_along_dim": (lambda a, i: torch.take_along_dim(a, i, dim=1), (m, torch.tensor([[0, 1], [2, 2], [4, 0]]))),
    "index_select": (lambda a, i: a.index_select(1, i), (x, torch.tensor([2, 0]))),
    "gather": (lambda a, i: a.gather(1, i), (m, torch.tensor([[0, 1], [2, 2], [4, 0]]))),
    "topk": (lambda a: a.topk(2, dim=1)[0], (m,)),
    "sort": (lambda a: a.sort(dim=1)[0], (m,)),
    "argsort": (lambda a: a.argsort(dim=1), (m,)),
    "embedding": (lambda i, w: F.embedding(i, w), (whole, torch.randn(5, 3))),
    "embedding padding": (lambda i, w: F.embedding(i, w, padding_idx=1) + F.embedding(i, w, -2), (whole, torch.randn(5, 3))),
    "axes by name": (lambda a: a.flip(dims=(1,)).tile(dims=(1, 2, 1, 1)), (x,)),
    "sizes by name": (
        lambda a: torch.squeeze(a[:, :1], dim=1).unsqueeze(1).expand(size=(2, 3, 4, 6)).permute(dims=(0, 2, 1, 3)),
        (x,),
    ),
    "weight norm": (lambda v, g: torch._weight_norm(v, g, 0), (m, torch.rand(3, 1) + 1)),
    "weight norm of all": (lambda v, g: torch._weight_norm(v, g, -1), (m, torch.tensor(1.5))),
    "one_hot": (lambda i: F.one_hot(i, 5), (whole,)),
    "tril": (lambda a: a.tril() + torch.triu(a, 1), (m,)),
    "zeros": (lambda a: a + torch.zeros(a.shape[0], 1, 1, 1) + torch.ones(6) + a.new_zeros(1) + a.new_ones(1), (x,)),
    "full": (lambda a: a + torch.full((6,), 1.5) + a.new_full((1,), 2.5) + torch.full_like(a, 0.5), (x,)),
    "like": (lambda a: torch.zeros_like(a) + torch.ones_like(a) * a, (x,)),
    "arange": (lambda a: a + torch.arange(6) + torch.arange(a.shape[-1]) + torch.arange(1, 7, dtype=torch.float32), (x,)),
    "arange step": (lambda a: a + torch.arange(0, 12, 2), (x,)),
    "linspace": (lambda a: a + torch.linspace(0, 1, 6), (x,)),
    "meshgrid": (lambda a: a + torch.meshgrid(torch.arange(4.0), torch.arange(6.0), indexing="ij")[0], (x,)),
    "casts": (lambda a, i: a.float() * i.to(a.dtype).unsqueeze(-1).unsqueeze(-1) + i.type_as(a)[..., None, None], (x, whole)),
    "casts by name": (lambda a, i: a.double().float() + (i.type(torch.float32) * i.bool().cpu())[..., None, None], (x, whole)),
    "half": (lambda a: a.half().float() * 0 + a, (x,)),
    "bfloat16": (lambda i: i.float().bfloat16().float(), (whole,)),
    "to long": (lambda i: i.to(torch.int32).long() + i.int(), (whole,)),
    "attention": (lambda a, b: F.scaled_dot_product_attention(a, b, b), (q, q.flip(0))),
    "attention causal": (lambda a: F.scaled_dot_product_attention(a, a, a, is_causal=True), (q,)),
    "attention mask": (lambda a, k: F.scaled_dot_product_attention(a, a, a, attn_mask=k > -1), (q, torch.randn(5, 5))),
    "attention bias": (lambda a, k: F.scaled_dot_product_attention(a, a, a, attn_mask=k, scale=0.3), (q, torch.randn(5, 5))),
    "attention shared heads": (
        lambda a, b: F.scaled_dot_product_attention(a, b, b, enable_gqa=True), (torch.randn(2, 4, 5, 8), q.flip(0)),
    ),
    "rand": (lambda a: a * torch.rand(a.shape[0], 1, 1, 1, dtype=a.dtype) + torch.rand((4, 6)), (x,)),
    "randn": (lambda a: a * torch.randn(a.size(0), 1, 1, 1) + torch.randn_like(a) * a.exp(), (x,)),
    "rand_like": (lambda a: torch.floor(torch.rand_like(a) + 0.7) * a, (x,)),
    "bernoulli": (lambda a: torch.bernoulli(a.sigmoid()) * a, (x,)),
    "bernoulli_": (lambda a: a * a.new_empty((a.shape[0], 1, 1, 1)).bernoulli_(0.9).div_(0.9), (x,)),
    "linear": (lambda a, w, c: F.linear(a, w, c), (torch.randn(2, 3, 5), torch.randn(4, 5), torch.randn(4))),
    "conv2d": (lambda a, w: F.conv2d(a, w, stride=2, padding=1), (torch.randn(2, 3, 8, 8), torch.randn(4, 3, 3, 3))),
    "conv1d": (lambda a, w, c: F.conv1d(a, w, c, stride=2, padding=1), (b1, torch.randn(2, 3, 3), torch.randn(2))),
    "instance_norm": (lambda a, w: F.instance_norm(a, weight=w) + F.instance_norm(a), (x, torch.rand(3) + 0.5)),
    "local_response_norm": (
        lambda a: F.local_response_norm(a, 2, alpha=0.3) + F.local_response_norm(a, 3, 0.2, 0.6, 2.0), (x,),
    ),
    "max_pool1d": (lambda a: F.max_pool1d(a, 3, 2, 1), (b1,)),
    "avg_pool1d": (lambda a: F.avg_pool1d(a, 3, 2, 1) + F.avg_pool1d(a, 3, 2, 1, count_include_pad=False), (b1,)),
    "layer_norm": (lambda a, w: F.layer_norm(a, (6,), w), (x, torch.rand(6) + 0.5)),
    "rms_norm": (lambda a, w: F.rms_norm(a, (6,), w, 1e-6), (x, torch.rand(6) + 0.5)),
    "max_pool2d": (lambda a: F.max_pool2d(a, 2) , (x,)),
    "max_pool2d padded": (lambda a: F.max_pool2d(a, 3, 2, 1) , (x,)),
    "avg_pool2d": (lambda a: F.avg_pool2d(a, 2) , (x,)),
    "adaptive_avg_pool2d": (
        lambda a: F.adaptive_avg_pool2d(a, 1) + F.adaptive_avg_pool2d(a, (2, 3)).mean((2, 3), keepdim=True),
        (x,),
    ),
    "group_norm": (lambda a, w: F.group_norm(a, 3, w) + F.group_norm(a, 1), (x, torch.rand(3) + 0.5)),
    "batch_norm": (lambda a, w: F.batch_norm(a, None, None, w, None, training=True), (x, torch.rand(3) + 0.5)),
    "batch_norm eval": (lambda a, u, v: F.batch_norm(a, u.detach(), v.detach().abs() + 1), (x, torch.randn(3), torch.randn(3))),
    "adaptive_avg_pool3d": (lambda a: F.adaptive_avg_pool3d(a, 1), (torch.randn(2, 3, 2, 3, 4),)),
    "write": (lambda a, b: assigned(a, b), (x, y)),
    "write through a slice": (lambda a: written(a), (x,)),
    "write over a slice": (lambda a: cleared(a), (x,)),
    "interpolate": (lambda a: F.interpolate(a, scale_factor=2) + F.interpolate(a, size=(8, 12), mode="bilinear"), (x,)),
    "interpolate by a fraction": (
        lambda a: F.interpolate(a, scale_factor=1.7) + F.interpolate(a, scale_factor=1.7, mode="bilinear"), (x,),
    ),
    "interpolate down": (
        lambda a: F.interpolate(a, scale_factor=0.6) + F.interpolate(a, scale_factor=0.6, mode="bilinear"), (x,),
    ),
    "bicubic": (lambda a: F.interpolate(a, size=(7, 9), mode="bicubic"), (x,)),
    "bicubic by a fraction": (lambda a: F.interpolate(a, scale_factor=1.7, mode="bicubic"), (x,)),
    "bicubic recomputed": (lambda a: F.interpolate(a, scale_factor=1.7, mode="bicubic", recompute_scale_factor=True), (x,)),
    "bicubic corners": (lambda a: F.interpolate(a, size=(3, 9), mode="bicubic", align_corners=True), (x,)),
    "no_grad": (lambda a, b: frozen(a) + b * 2, (x, y)),
    "interpolate corners": (lambda a: F.interpolate(a, size=(7, 9), mode="bilinear", align_corners=True), (x,)),
    **loss_cases.FUNCTIONS,
    **training_cases.FUNCTIONS,
}  # fmt: skip


def proofs_augmented(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Augmented assignments."""
    out = a * 2
    out += b
    out *= 3
    out -= a
    out /= 2
    return out


def frozen(a: torch.Tensor) -> torch.Tensor:
    """A part without gradient."""
    with torch.no_grad():
        scale = a.abs().mean() * 2
    return a * scale


def assigned(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Parts of a new tensor are assigned."""
    out = torch.zeros_like(a)
    out[:, 0] = b[:, 1] * 2
    out[:, 1:, 0] = 3
    return out * a


def written(a: torch.Tensor) -> torch.Tensor:
    """A part is changed in place."""
    out = a * 1
    out[:, 0].add_(1)
    out[:, 1] *= 2
    return out


def cleared(a: torch.Tensor) -> torch.Tensor:
    """A copy, a part of which is zero."""
    out = a.clone()
    out[:, 0].zero_()
    out[:, 1].fill_(2)
    return out * a


def chunked(a: torch.Tensor) -> torch.Tensor:
    """Unpacked parts."""
    left, right = a.chunk(2, dim=-1)
    return left * 2 + right


def split(a: torch.Tensor) -> torch.Tensor:
    """Unpacked parts of a size."""
    one, two, _ = torch.split(a, 1, dim=1)
    return one + two


def _cases() -> list[proofs.Case]:
    return [proofs.Case(name, proofs.Calls(function), inputs) for name, (function, inputs) in CASES.items()]


PARTS = 16


@pytest.mark.parametrize("mode", proofs.MODES)
@pytest.mark.parametrize("part", range(PARTS))
def test_functions_compute_what_torch_does(part: int, mode: int) -> None:
    """One process for a part of the cases."""
    failed = proofs.failures(_cases()[part::PARTS], [mode])
    assert not failed, "\n".join(f"{name}: {wrong}" for name, wrong in failed.items())


REFUSED: dict[str, tuple[Callable[..., Any], tuple[torch.Tensor, ...]]] = {
    "where with one argument": (lambda a: torch.where(a > 0)[0], (x,)),
    "a mask as an index": (lambda a: a[a > 0], (x,)),
    "antialias": (lambda a: F.interpolate(a, scale_factor=2, mode="bicubic", antialias=True), (x,)),
    "other random numbers": (lambda a: a + torch.randint(0, 5, (6,)), (x,)),
    "a generator of its own": (lambda a: a + torch.rand(6, generator=torch.Generator()), (x,)),
    "sparse embedding": (lambda i, w: F.embedding(i, w, sparse=True), (whole, torch.randn(5, 3))),
    "values in Python": (lambda a: a * 2 if a.sum() > 0 else a, (x,)),
    "item": (lambda a: a * a.max().item(), (x,)),
    "chance in Python": (lambda a: a * 2 if torch.rand(1) < 0.5 else a, (x,)),
    "chance in Python by dropout": (lambda a: a * F.dropout(torch.ones(1)).item(), (x,)),
    "unknown": (lambda a: torch.special.i0(a), (x,)),
    "p-norm": (lambda a: a.norm(p=3), (x,)),
    "bits": (lambda i: i & 1, (whole,)),
    "written through a view": (lambda a: flat(a), (x,)),
    "written to an argument": (lambda a: assigned_to_argument(a), (x,)),
    **loss_cases.REFUSED,
    **training_cases.REFUSED,
}


def flat(a: torch.Tensor) -> torch.Tensor:
    """A write through a view that is no slice."""
    out = a * 1
    out.view(-1).add_(1)
    return out


def assigned_to_argument(a: torch.Tensor) -> torch.Tensor:
    """What the caller holds is changed."""
    a[:, 0] = 1
    return a


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_differ_is_refused(name: str) -> None:
    """With module path, operation and the line in this file."""
    function, inputs = REFUSED[name]
    with pytest.raises(Unsupported) as caught:
        draft(proofs.Scaled(proofs.Calls(function), inputs), inputs, {})
    assert f"{Path(function.__code__.co_filename).name}:" in caught.value.where


def names_by_entry() -> dict[str, list[str]]:
    """Which cases and refusals go through each entry; docs/support_matrix.py lists them, too."""
    found: dict[str, list[str]] = {}
    express = registry.express
    for name, (function, inputs) in {**CASES, **REFUSED}.items():

        def noted(node: Any, name: str = name) -> Any:
            found.setdefault(registry.entry(node.target), []).append(name)
            return express(node)

        with mock.patch("dsbridge.model.bodies.express", noted), contextlib.suppress(Unsupported):
            draft(proofs.Scaled(proofs.Calls(function), inputs), inputs, {})
    return found


def test_every_function_is_tried() -> None:
    """No entry without a case, or a refusal."""
    registry.load_all()
    alike = {id(registry.FUNCTIONS[name]) for name in names_by_entry() if name in registry.FUNCTIONS}
    ours = {
        name: entry for name, entry in registry.FUNCTIONS.items() if entry.__module__.startswith("dsbridge.model.functions")
    }
    untried = [name for name, function in ours.items() if id(function) not in alike]
    assert not untried, ", ".join(untried)
