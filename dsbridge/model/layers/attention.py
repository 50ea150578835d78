"""Attention: a helper with torch's parameters, so that weights keep their names and layout."""

from __future__ import annotations

from torch import nn

from dsbridge.model.construct import Construct, Refused
from dsbridge.model.layers.registry import Seen, layer


@layer(nn.MultiheadAttention)
def multihead_attention(module: nn.MultiheadAttention, seen: Seen) -> Construct:
    """Self- and cross-attention over one width."""
    if not module._qkv_same_embed_dim:
        raise Refused("kdim or vdim other than embed_dim")
    if module.bias_k is not None or module.add_zero_attn:
        raise Refused("add_bias_kv and add_zero_attn")
    args = {
        "embed_dim": module.embed_dim, "num_heads": module.num_heads, "dropout": float(module.dropout),
        "bias": module.in_proj_bias is not None, "batch_first": module.batch_first,
    }  # fmt: skip
    return Construct("MultiheadAttention", args, 2, {"dropout": 0.0, "bias": True, "batch_first": False})
