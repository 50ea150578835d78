"""Attention as a function."""

from __future__ import annotations

from typing import Any

from dsbridge.model.code import Code, call
from dsbridge.model.functions.registry import function


@function("scaled_dot_product_attention")
def attention(
    query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: Any = 0.0, is_causal: bool = False,
    scale: Any = None, enable_gqa: bool = False,
) -> Code:  # fmt: skip
    """A helper: softmax(q k^T * scale + mask) v; a boolean mask says what takes part; queries may share heads."""
    return call(
        "scaled_dot_product_attention", query, key, value, attn_mask=attn_mask, dropout_p=dropout_p or None,
        is_causal=is_causal or None, scale=scale,
        enable_gqa=enable_gqa or None,
    )  # fmt: skip
