"""Dense layers, embeddings, dropout, identities."""

from __future__ import annotations

from typing import Any

from torch import nn

from dsbridge.model.construct import Construct, Refused
from dsbridge.model.layers.registry import Seen, layer


@layer(nn.Linear)
def linear(module: nn.Linear, seen: Seen) -> Construct:
    """The weight has torch's layout."""
    args = {"in_channels": module.in_features, "out_channels": module.out_features, "has_bias": module.bias is not None}
    return Construct("nn.Dense", args, 2, {"has_bias": True})


@layer(nn.Bilinear)
def bilinear(module: nn.Bilinear, seen: Seen) -> Construct:
    """The same layout."""
    args = {
        "in1_channels": module.in1_features, "in2_channels": module.in2_features, "out_channels": module.out_features,
        "has_bias": module.bias is not None,
    }  # fmt: skip
    return Construct("nn.BiDense", args, 3, {"has_bias": True})


@layer(nn.Embedding)
def embedding(module: nn.Embedding, seen: Seen) -> Construct:
    """With padding_idx a helper: MindSpore's gives the padding row a gradient."""
    if module.max_norm is not None:
        raise Refused("max_norm changes the weight in forward")
    if module.scale_grad_by_freq or module.sparse:
        raise Refused("scale_grad_by_freq and sparse gradients do not exist there")
    args = {"vocab_size": module.num_embeddings, "embedding_size": module.embedding_dim}
    if module.padding_idx is None:
        return Construct("nn.Embedding", args, 2)
    return Construct("PaddedEmbedding", {**args, "padding_idx": module.padding_idx}, 2)


def _dropout(kind: type[nn.Module]) -> None:
    @layer(kind)
    def make(module: Any, seen: Seen) -> Construct:
        return Construct(f"nn.{kind.__name__}", {"p": module.p})


for _kind in (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d):  # the same names and probabilities
    _dropout(_kind)


@layer(nn.Identity)
def identity(module: Any, seen: Seen) -> Construct:
    """Nothing."""
    return Construct("nn.Identity")
