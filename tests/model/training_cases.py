"""Functions that are met in losses and metrics beside the losses themselves: norms, masks, gathering, einsum; whole recipes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F

Cases = dict[str, tuple[Callable[..., Any], tuple[torch.Tensor, ...]]]

made = torch.Generator().manual_seed(5)


def _normal(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=made)


x, y, v, batch, square = _normal(4, 5), _normal(4, 5), _normal(5), _normal(2, 3, 4), _normal(4, 4)
positive = x.abs() + 0.1
i = torch.tensor([0, 3, 1, 4])
pairs = torch.tensor([[0, 3], [2, 1], [4, 1], [0, 2]])
twice = torch.tensor([[0, 0], [2, 2], [4, 1], [0, 2]])
zeros = torch.tensor([[0.0, 0, 0, 0, 0], [1, -1, 0, 2, 3], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]])
segments, classes = _normal(2, 5, 3, 3), torch.randint(0, 5, (2, 3, 3), generator=made)


def nt_xent(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """SimCLR's loss: masks that hang on sizes only."""
    both = F.normalize(torch.cat([a, b]), dim=1)
    own = torch.eye(2 * len(a), dtype=torch.bool)
    same = torch.cat([torch.arange(len(a))] * 2)
    pairs = (same.unsqueeze(0) == same.unsqueeze(1))[~own].view(len(own), -1)
    near = (both @ both.T)[~own].view(len(own), -1)
    logits = torch.cat([near[pairs].view(len(own), -1), near[~pairs].view(len(own), -1)], dim=1)
    return F.cross_entropy(logits / 0.5, torch.zeros(len(own), dtype=torch.long))


GATHERING: Cases = {
    "masks that hang on sizes": (nt_xent, (x, y)),
    "a triangle's elements": (lambda a: a[torch.ones(a.shape, dtype=torch.bool).triu(1)].exp(), (square,)),
    "rows by a mask": (lambda a: a[torch.arange(a.shape[0]) % 2 == 0] * 2, (x,)),
    "squeezed without an axis": (lambda a: a[:, :1].squeeze().exp() + a.unsqueeze(0)[..., 1:2].squeeze(), (x,)),
    "picked by gather": (lambda a, i: -a.log_softmax(-1).gather(1, i.unsqueeze(1)).squeeze(1), (x, i)),
    "picked by an index": (lambda a, i: -a.log_softmax(-1)[torch.arange(4), i], (x, i)),
    "topk with indices": (lambda a: a.topk(3, 1), (x,)),
    "topk by names": (lambda a: a.topk(3, 1).values * a.max(1).values.unsqueeze(1), (x,)),
    "indices by name": (lambda a: a.topk(2, 1).indices + a.max(1).indices.unsqueeze(1), (x,)),
    "scatter": (lambda a, i, b: b.scatter(1, i, a), (x[:, :2], pairs, y)),
    "scatter on the first axis": (lambda a, i, b: torch.scatter(b, 0, i % 4, a), (x[:1], torch.tensor([[0, 3, 2, 1, 7]]), y)),
    "scatter a number": (lambda a, i: a * torch.zeros(4, 5).scatter_(1, i.unsqueeze(1), 1.0), (x, i)),
    "scatter a number by name": (lambda a, i: a.scatter(1, i.unsqueeze(1), value=0.5), (x, i)),
    "scatter_add": (lambda a, i, b: b.scatter_add(1, i, a), (x[:, :2], twice, y)),
    "scatter_reduce": (lambda a, i, b: b.scatter_reduce(1, i, a, "sum"), (x[:, :2], twice, y)),
    "index_add": (lambda a, i, b: torch.index_add(b, 0, i % 4, a) + b.index_add(1, i, a[:, :4], alpha=0.5), (x, i, y)),
}  # fmt: skip

VALUES: Cases = {
    "where with numbers": (
        lambda a: torch.where(a > 0, 1.0, 0.0) * a + torch.where(a > 0, a, 0.0) + torch.where(a > 0, 0.5, a), (x,),
    ),
    "where with whole numbers": (lambda a: torch.where(a > 0, 1, -1), (x,)),
    "casts of tests": (lambda a: (a > 0).long().sum() + (a * 3).long() + (a > 0).int().sum(), (x,)),
    "clamp by tensors": (lambda a, b: torch.clamp(a, min=b) + torch.clamp(a, min=b - 1, max=b + 1), (x, y)),
    "nan_to_num": (
        lambda a: torch.nan_to_num(a / (a > 0).float(), posinf=9.0, neginf=-9.0) + torch.nan_to_num(a.log(), 0.5), (x,),
    ),
    "nansum": (lambda a: torch.nansum(a.sqrt() * 2) + torch.nansum(a.detach().sqrt() + a, 1, keepdim=True), (x,)),
    "logaddexp": (lambda a, b: torch.logaddexp(a, b) + torch.logaddexp(a * 90, b * 90), (x, y)),
    "xlogy": (lambda a, b: torch.xlogy(a, b) + torch.special.xlogy(a - a.detach(), b), (positive, positive.flip(0))),
    "xlogy of two zeros": (lambda a, b: torch.xlogy((a * 0).detach(), b.detach() * 0) + a * b, (x, y)),
    "logit": (lambda a: torch.logit(a.sigmoid()) + torch.special.expit(a) + torch.logit(a, eps=0.1), (positive / 9,)),
    "logsigmoid far out": (lambda a: F.logsigmoid(a * 100), (x,)),
    "hypot": (torch.hypot, (x, y)),
    "fmod": (lambda a: torch.fmod(a, 0.7) + torch.sgn(a), (x,)),
    "diff": (lambda a: torch.diff(a)[1:] + a.diff(dim=0)[:, 1:], (x,)),
}  # fmt: skip

REDUCED: Cases = {
    "deviations": (lambda a: a.std() + a.var() + a.var(unbiased=False) + a.std(False), (x,)),
    "deviations over axes": (lambda a: torch.var(a, (0, 1), correction=0) + a.std((0, 1)), (x,)),
    "deviations of equals": (lambda a: a.std(1) + a.std(0).sum() + sum(torch.std_mean(a, 1)), (zeros,)),
    "all axes kept": (lambda a: a.norm(keepdim=True) + a.sum(dim=None, keepdim=True) + a.mean(None, True), (x,)),
    "count_nonzero of all": (lambda a: torch.count_nonzero(a > 0), (x,)),
    "logsumexp over axes": (lambda a: torch.logsumexp(a, (0, 1)) + a.logsumexp(1, keepdim=True), (x,)),
    "norms of sizes": (lambda a: a.norm(p=1) + torch.norm(a, 1, 1) + torch.linalg.vector_norm(a, 1), (x,)),
    "largest and smallest sizes": (
        lambda a: a.norm(p=float("inf"), dim=1) + torch.linalg.norm(a, -float("inf"), dim=1) + a.norm(float("inf")), (x,),
    ),
    "norms of zeros": (
        lambda a: a.norm(dim=1) + torch.linalg.norm(a, dim=1) + F.pairwise_distance(a, torch.zeros(4, 5), eps=0.0), (zeros,),
    ),
    "norms of matrices": (
        lambda a: torch.linalg.norm(a) + torch.linalg.matrix_norm(a) + torch.linalg.norm(a, "fro", (0, 1)), (x,),
    ),
    "distances by sizes": (lambda a, b: F.pairwise_distance(a, b, 1) + F.pairwise_distance(a, b, float("inf")), (x, y)),
    "normalize zeros": (lambda a: F.normalize(a, eps=1e-3), (zeros,)),
    "normalize by sizes": (lambda a: F.normalize(a, p=1, dim=0), (x,)),
    "cosine_similarity of zeros": (lambda a, b: F.cosine_similarity(a, b, eps=1e-3), (zeros, y)),
    "cdist": (lambda a, b: torch.cdist(a, b) + torch.cdist(a, b, p=1), (x, y)),
    "cdist of equals": (lambda a: torch.cdist(a, a), (x,)),
    "cross": (lambda a, b: torch.linalg.cross(a, b) + torch.cross(a, b, dim=1), (x[:, :3], y[:, :3])),
    "inner": (lambda a, b: torch.inner(a, b) * torch.inner(a[0], b[1]), (x, y)),
    "trace": (lambda a: torch.trace(a) * a.diag() + torch.diag(a.diag()), (square,)),
    "diagonals": (lambda a: torch.diag_embed(a) * a.mean() + torch.diag(a[0]), (x,)),
    "inverse": (lambda a: torch.linalg.inv(a @ a.T + torch.eye(4)) + torch.det(a), (square,)),
}  # fmt: skip

SHAPES: Cases = {
    "einsum of one": (
        lambda a: torch.einsum("ij->ji", a) + torch.einsum("ij->j", a).unsqueeze(1) + torch.einsum("ij->", a), (x,),
    ),
    "einsum with sums": (lambda a, b, c: torch.einsum("ij,ij->i", a, b) + torch.einsum("ij,k->i", a, c), (x, y, v)),
    "einsum to a number": (lambda a, b: torch.einsum("ij,ij->", a, b) * torch.einsum("i,j->ij", a[0], b[1]), (x, y)),
    "einsum without a result": (lambda a, b: torch.einsum("ij,kj", a, b) + torch.einsum("ba", a[:, :4]), (x, y)),
    "einsum of three": (lambda a, b, c: torch.einsum("ij,kj,lk->li", a, b, c), (x, y, square)),
    "einsum of three with sums": (lambda a, b, c: torch.einsum("bij,jk,kl->bi", a, b, c), (batch, square, square.flip(0))),
    "einsum with an ellipsis": (
        lambda a, b: torch.einsum("...ij,jk->...ik", a, b) + torch.einsum("...j,...j", a, a).sum(), (batch, square),
    ),
    "repeat_interleave of all": (lambda a: a.repeat_interleave(2) + a.repeat_interleave(2, 0).sum(), (x,)),
    "roll of all": (lambda a: a.roll(1) + a.roll(-2, 1), (x,)),
    "flips": (lambda a: torch.fliplr(a) + torch.flipud(a) + a.flip((0, 1)), (x,)),
    "pad and crop": (lambda a: F.pad(a, (-1, 1)) + F.pad(a, (0, -2, 1, -1))[:, :1], (x,)),
}  # fmt: skip

RECIPES: Cases = {
    "accuracy of the best two": (lambda a, i: (a.topk(2, 1)[1] == i.unsqueeze(1)).any(1).float().mean(), (x, i)),
    "accuracy as torchvision's": (
        lambda a, i: a.topk(3, 1, True)[1].t().eq(i.view(1, -1).expand(3, 4))[:2].reshape(-1).float().sum(0, keepdim=True),
        (x, i),
    ),
    "accuracy of pixels": (lambda a, i: (a.argmax(1) == i).float().sum() / i.numel(), (segments, classes)),
    "smoothed labels": (
        lambda a, i: -0.9 * a.log_softmax(1).gather(1, i[:, None]).mean() - 0.1 * a.log_softmax(1).mean(1).mean(), (x, i),
    ),
    "smoothed labels by scatter": (
        lambda a, i: (-torch.full_like(a, 0.1).scatter_(1, i.unsqueeze(1), 0.6) * a.log_softmax(1)).sum(1).mean(), (x, i),
    ),
    "mean over a mask": (lambda a, m: (a * (m > 0)).sum() / (m > 0).sum().clamp(min=1), (x, y)),
    "focal": (lambda a, b: focal(a, b.sigmoid()), (x, y)),
    "dice": (
        lambda a, b: 1 - (2 * (a.sigmoid() * b.sigmoid()).sum((0, 1)) + 1) / ((a.sigmoid() + b.sigmoid()).sum() + 1), (x, y),
    ),
    "contrastive": (lambda a: contrastive(a), (x,)),
    "pairs of two encoders": (
        lambda a, b: F.cross_entropy(F.normalize(a, dim=-1) @ F.normalize(b, dim=-1).T * 10, torch.arange(a.shape[0])), (x, y),
    ),
    "divergence of a latent": (lambda m, s: -0.5 * torch.sum(1 + s - m.pow(2) - s.exp()), (x, y)),
    "log density": (lambda a, b: -((a - b) ** 2) / 2 - math.log(math.sqrt(2 * math.pi)), (x, y)),
    "distillation": (
        lambda a, b: F.kl_div(F.log_softmax(a / 2.0, 1), F.softmax(b / 2.0, 1), reduction="batchmean") * 4, (x, y),
    ),
    "total variation": (lambda a: (a[:, 1:] - a[:, :-1]).abs().mean() + (a[1:] - a[:-1]).pow(2).mean(), (x,)),
    "sum of losses": (lambda a, b: sum([F.mse_loss(a, b), 0.5 * F.l1_loss(a, b)]), (x, y)),
}  # fmt: skip


def focal(a: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Weighted by how wrong it is."""
    entropy = F.binary_cross_entropy_with_logits(a, target, reduction="none")
    return ((1 - torch.exp(-entropy)) ** 2 * entropy).mean()


def contrastive(a: torch.Tensor) -> torch.Tensor:
    """Each with its pair, and not with itself."""
    a = F.normalize(a, dim=1)
    alike = (a @ a.t() / 0.5).masked_fill(torch.eye(4, dtype=torch.bool), float("-inf"))
    return F.cross_entropy(alike, torch.tensor([1, 0, 3, 2]))


FUNCTIONS: Cases = GATHERING | VALUES | REDUCED | SHAPES | RECIPES
REFUSED: Cases = {
    "masked_select": (lambda a: a.masked_select(a > 0), (x,)),
    "a diagonal by einsum": (lambda a: torch.einsum("ii->i", a), (square,)),
    "a broadcast by einsum": (lambda a, b: torch.einsum("...ij,...jk->...ik", a, b), (batch, _normal(1, 4, 4))),
    "counts in a tensor": (lambda a: a.repeat_interleave(torch.tensor([1, 2, 0, 3]), 0), (x,)),
    "a norm of matrices": (lambda a: torch.linalg.norm(a, 2), (x,)),
    "products by scatter": (lambda a, i: a.scatter_reduce(1, i, a[:, :2], reduce="prod"), (x, pairs)),
    "more values than indices": (lambda a, i: a.scatter(1, i, a * 2), (x, pairs)),
    "another diagonal": (lambda a: torch.diag(a, 1), (v,)),
    "second differences": (lambda a: torch.diff(a, n=2), (x,)),
    "a diagonal elsewhere": (lambda a: torch.diag_embed(a, 1), (x,)),
    "inner products of stacks": (lambda a: torch.inner(a, a), (batch,)),
}  # fmt: skip
