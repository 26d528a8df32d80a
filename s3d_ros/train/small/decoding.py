"""The decoder over many questions about one picture at once: the picture is read once, no question sees another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional
from transformers.models.qwen3.modeling_qwen3 import apply_rotary_pos_emb

KeysValues = list[tuple[torch.Tensor, torch.Tensor]]


def read_prefix(
    decoder: Any, embedded: torch.Tensor, places: torch.Tensor | None = None
) -> tuple[KeysValues, torch.Tensor]:
    """Return each layer's keys and values of what all questions share, and what the last layer gets of it.

    They are (1, heads, P, d) each, and (P, width).

    embedded: (P, width). places: (P,) where the tokens stand, if some between them are left out.
    """
    x = embedded[None]
    kept: KeysValues = []
    turn = decoder.rotary_emb(x, (torch.arange(x.shape[1]) if places is None else places)[None])
    last = len(decoder.layers) - 1
    for k, layer in enumerate(decoder.layers):
        q, key, value = _projected(layer, layer.input_layernorm(x), turn, queries=k < last)
        kept.append((key, value))
        if k == last:  # nothing looks at what it would make of the prefix itself
            break
        seen = functional.scaled_dot_product_attention(q, key, value, is_causal=True)
        x = _after(layer, x, seen)
    return kept, x[0]


def read_questions(decoder: Any, prefix: KeysValues, embedded: torch.Tensor, start: int | None = None) -> torch.Tensor:
    """Return what the decoder makes of questions (Q, L, width), each following the prefix alone, padded at its end.

    start: where their first token stands, if not right behind the tokens that are there of the prefix.
    """
    x = embedded
    count, length, _ = x.shape
    known = prefix[0][0].shape[2]
    first = known if start is None else start
    turn = decoder.rotary_emb(x, (first + torch.arange(length))[None].expand(count, -1))
    later = torch.full((length, length), float("-inf")).triu(1)
    for layer, (key, value) in zip(decoder.layers, prefix, strict=True):
        q, k, v = _projected(layer, layer.input_layernorm(x), turn)
        x = _after(layer, x, _attended(q * q.shape[-1] ** -0.5, k, v, key, value, later))
    hidden: torch.Tensor = decoder.norm(x)
    return hidden


def _attended(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, key: torch.Tensor, value: torch.Tensor, later: torch.Tensor
) -> torch.Tensor:
    """Return what queries (Q, heads, L, d) find in their own keys and values, and in the prefix's (1, heads, P, d).

    All questions look at the prefix in one product; a copy of it for each takes five times as long on a CPU.
    """
    count, heads, length, width = q.shape
    known = key.shape[2]
    flat = q.transpose(0, 1).reshape(heads, count * length, width)
    before = (flat @ key[0].transpose(1, 2)).view(heads, count, length, known).transpose(0, 1)
    own = q @ k.transpose(2, 3) + later
    share = torch.cat([before, own], dim=-1).float().softmax(dim=-1).to(value.dtype)
    shared = share[..., :known].transpose(0, 1).reshape(heads, count * length, known) @ value[0]
    return shared.view(heads, count, length, width).transpose(0, 1) + share[..., known:] @ v


def _projected(
    layer: Any, x: torch.Tensor, turn: tuple[torch.Tensor, torch.Tensor], queries: bool = True
) -> Sequence[torch.Tensor]:
    """Return queries, keys and values (B, heads, n, d), turned by their places."""
    at = layer.self_attn
    shape = (*x.shape[:-1], -1, at.head_dim)
    key = at.k_norm(at.k_proj(x).view(shape)).transpose(1, 2)
    value = at.v_proj(x).view(shape).transpose(1, 2)
    query = at.q_norm(at.q_proj(x).view(shape)).transpose(1, 2) if queries else key
    query, key = apply_rotary_pos_emb(query, key, *turn)
    return query.float(), key.float(), value.float()  # attention's way back is slower in bfloat16


def _after(layer: Any, x: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    mixed = seen.transpose(1, 2).reshape(*x.shape[:-1], -1)
    x = x + layer.self_attn.o_proj(mixed)
    return x + layer.mlp(layer.post_attention_layernorm(x))
