"""Attention of few tokens over many: the query heads that share a key head stand together, so keys are not copied."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

GROUPED = "s3d_grouped"
_FEW_ROWS = 512  # more are left to Transformers: there copies of the keys cost less than those of the mask


def grouped_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Return what ``sdpa`` does, (b, n, heads, d); query: (b, heads, n, d), key and value: (b, key heads, m, d)."""
    b, heads, n, d = query.shape
    shared_by = heads // key.shape[1]
    if attention_mask is None or shared_by == 1 or shared_by * n > _FEW_ROWS or attention_mask.shape[1] != 1:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    out = torch.nn.functional.scaled_dot_product_attention(
        query.reshape(b, key.shape[1], shared_by * n, d),
        key,
        value,
        attn_mask=attention_mask.repeat(1, 1, shared_by, 1),
        scale=scaling,
    )
    return out.reshape(b, heads, n, value.shape[-1]).transpose(1, 2).contiguous(), None


def use_grouped_attention(model: Any) -> None:
    """Let the language model attend so, where it would by ``sdpa``."""
    text = model.config.get_text_config()
    if text._attn_implementation == "sdpa":
        AttentionInterface.register(GROUPED, grouped_attention)
        AttentionMaskInterface.register(GROUPED, sdpa_mask)
        text._attn_implementation = GROUPED
