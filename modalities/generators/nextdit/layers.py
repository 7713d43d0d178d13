"""The parts of a Next-DiT block: norms, gated attention to image and text, feed-forward, modulation.

Shapes: B batch, N image tokens, L text tokens, D width, H query heads, K key-value heads, E head width.
Attribute names are the keys of the original Lumina checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modalities.generators.nextdit.config import NextDiTConfig
from modalities.generators.nextdit.rope import Rope, rotate


class Positions(NamedTuple):
    """Where tokens are, and how self-attention is weighted: everything of a call that size and time decide.

    query: rotary tables of the image tokens. key: those of the keys, which differ from the queries' only when pooled.
    Both are None for a set of tokens, which has no order.
    waves: frequencies of the Fourier embedding of coordinates (`fourier.py`); None where there are no coordinates.
    pool: tokens per axis that one key and value stand for, with the token grid; None for no pooling.
    attention_factor: multiplies the softmax scale 1/sqrt(E) of self-attention; a number, or one per sample `[B]`.
    token_mask: `[B, N]` bool, False on pads; None when all are real.
    """

    query: Rope | None = None
    key: Rope | None = None
    attention_factor: float | Tensor = 1.0
    token_mask: Tensor | None = None
    pool: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    waves: Tensor | None = None


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) in float32 (or wider), cast back, times a learned weight.

    Written by hand because `nn.RMSNorm` has no fused kernel for float32 weights with bfloat16 input under autocast.
    """

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last axis."""
        wide = x if x.dtype == torch.float64 else x.float()
        return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)).to(x.dtype) * self.weight


def grouped_attention(q_BHNE: Tensor, k_BKME: Tensor, v_BKME: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """Attention in which H query heads share K key-value heads in consecutive groups; returns `[B, N, H * E]`.

    The heads of one group are laid end to end along the sequence, so keys and values are never repeated.
    mask: `[B, 1, 1, M]` bool, True where a key may be seen.
    """
    batch, heads, length, width = q_BHNE.shape
    groups = k_BKME.shape[1]
    folded = q_BHNE.reshape(batch, groups, heads // groups * length, width)
    out = F.scaled_dot_product_attention(folded, k_BKME, v_BKME, attn_mask=mask, scale=scale)
    return out.reshape(batch, heads, length, width).transpose(1, 2).flatten(2)


def pool_tokens(x: Tensor, pool: tuple[tuple[int, ...], tuple[int, ...]]) -> Tensor:
    """Average `[B, N, F]` over windows of the token grid; windows at the far edge may be smaller."""
    grid, window = pool
    cells = x.transpose(1, 2).reshape(x.shape[0], x.shape[2], *grid)
    match len(grid):
        case 1:
            cells = F.avg_pool1d(cells, window[0], ceil_mode=True, count_include_pad=False)
        case 2:
            cells = F.avg_pool2d(cells, window, ceil_mode=True, count_include_pad=False)
        case _:
            cells = F.avg_pool3d(cells, window, ceil_mode=True, count_include_pad=False)
    return cells.flatten(2).transpose(1, 2).contiguous()


class Attention(nn.Module):
    """Self-attention among image tokens plus gated attention to text, in front of one output projection.

    Query and key are LayerNorm-ed over all heads together. The text part uses the same normed and rotated queries,
    unrotated text keys, softmax scale 1/sqrt(E), and a learned gate tanh(gate) per head that starts at zero.
    """

    def __init__(self, config: NextDiTConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.kv_heads = config.kv_heads
        self.head_dim = config.head_dim
        self.wq = nn.Linear(config.dim, config.dim, bias=False)
        self.wk = nn.Linear(config.dim, config.kv_dim, bias=False)
        self.wv = nn.Linear(config.dim, config.kv_dim, bias=False)
        self.wk_y = nn.Linear(config.cap_feat_dim, config.kv_dim, bias=False)
        self.wv_y = nn.Linear(config.cap_feat_dim, config.kv_dim, bias=False)
        self.wo = nn.Linear(config.dim, config.dim, bias=False)
        self.gate = nn.Parameter(torch.zeros(config.heads))
        self.q_norm: nn.Module = nn.LayerNorm(config.dim) if config.qk_norm else nn.Identity()
        self.k_norm: nn.Module = nn.LayerNorm(config.kv_dim) if config.qk_norm else nn.Identity()
        self.ky_norm: nn.Module = nn.LayerNorm(config.kv_dim) if config.qk_norm else nn.Identity()

    def text(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values `[B, K, L, E]` of normed text features `[B, L, cap_feat_dim]`; once per sample."""
        values = self.wv_y(y)
        keys = self.ky_norm(self.wk_y(y)).to(values.dtype)
        split = (self.kv_heads, self.head_dim)
        return keys.unflatten(-1, split).transpose(1, 2), values.unflatten(-1, split).transpose(1, 2)

    def forward(
        self, x: Tensor, positions: Positions, text_keys: Tensor, text_values: Tensor, text_mask: Tensor | None
    ) -> Tensor:
        """Attend; x is `[B, N, D]` after norm and modulation, text_mask `[B, L]` bool."""
        values = self.wv(x)
        queries = self.q_norm(self.wq(x)).to(values.dtype)
        keys = self.k_norm(self.wk(x)).to(values.dtype)
        if positions.pool is not None:
            keys, values = pool_tokens(keys, positions.pool), pool_tokens(values, positions.pool)
        split = (self.kv_heads, self.head_dim)
        q, k = queries.unflatten(-1, (self.heads, self.head_dim)), keys.unflatten(-1, split)
        if positions.query is not None and positions.key is not None:
            q, k = rotate(q, positions.query), rotate(k, positions.key)
        q, k = q.transpose(1, 2), k.transpose(1, 2)
        v = values.unflatten(-1, split).transpose(1, 2)
        mask = None if positions.token_mask is None else positions.token_mask[:, None, None, :]
        factor = positions.attention_factor
        scale = 1 / sqrt(self.head_dim)
        if isinstance(factor, Tensor):
            own = grouped_attention(q * factor.to(q.dtype)[:, None, None, None], k, v, mask, scale)
        else:
            own = grouped_attention(q, k, v, mask, scale * factor)
        text_mask = None if text_mask is None else text_mask[:, None, None, :]
        told = grouped_attention(q, text_keys, text_values, text_mask, scale)
        gate = torch.tanh(self.gate).repeat_interleave(self.head_dim).to(told.dtype)
        out: Tensor = self.wo(own + gate * told)
        return out


class FeedForward(nn.Module):
    """SwiGLU: w2(silu(w1 x) * w3 x), without biases."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.w1 = nn.Linear(dim, hidden, bias=False)
        self.w2 = nn.Linear(hidden, dim, bias=False)
        self.w3 = nn.Linear(dim, hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """`[..., D]` to `[..., D]`."""
        out: Tensor = self.w2(F.silu(self.w1(x)) * self.w3(x))
        return out


class Block(nn.Module):
    """A sandwich block: norm, scale, branch, norm again, tanh gate, add; for attention and for feed-forward."""

    def __init__(self, config: NextDiTConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.feed_forward = FeedForward(config.dim, config.ffn_dim)
        self.attention_norm1 = RMSNorm(config.dim, config.norm_eps)
        self.attention_norm2 = RMSNorm(config.dim, config.norm_eps)
        self.ffn_norm1 = RMSNorm(config.dim, config.norm_eps)
        self.ffn_norm2 = RMSNorm(config.dim, config.norm_eps)
        self.attention_y_norm = RMSNorm(config.cap_feat_dim, config.norm_eps)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(config.conditioning_dim, 4 * config.dim))

    def text(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """This block's keys and values of the text tokens `[B, L, cap_feat_dim]`."""
        return self.attention.text(self.attention_y_norm(tokens))

    def forward(
        self,
        x: Tensor,
        conditioning: Tensor,
        positions: Positions,
        text: tuple[Tensor, Tensor],
        text_mask: Tensor | None,
    ) -> Tensor:
        """x `[B, N, D]`, conditioning `[B, c]`; modulation: scale and gate of attention, then of feed-forward."""
        modulation: Sequence[Tensor] = self.adaLN_modulation(conditioning).unsqueeze(1).chunk(4, dim=-1)
        scale_attention, gate_attention, scale_ffn, gate_ffn = modulation
        h = self.attention_norm1(x) * (1 + scale_attention)
        x = x + torch.tanh(gate_attention) * self.attention_norm2(self.attention(h, positions, *text, text_mask))
        h = self.ffn_norm1(x) * (1 + scale_ffn)
        out: Tensor = x + torch.tanh(gate_ffn) * self.ffn_norm2(self.feed_forward(h))
        return out


class FinalLayer(nn.Module):
    """LayerNorm without weights (eps 1e-6), a scale from the conditioning, and the projection to latent cells."""

    def __init__(self, config: NextDiTConfig) -> None:
        super().__init__()
        self.norm_final = nn.LayerNorm(config.dim, elementwise_affine=False, eps=1e-6)
        self.linear = nn.Linear(config.dim, config.token_outputs)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(config.conditioning_dim, config.dim))

    def forward(self, x: Tensor, conditioning: Tensor) -> Tensor:
        """`[B, N, D]` to `[B, N, token_outputs]`."""
        scale = self.adaLN_modulation(conditioning).unsqueeze(1)
        out: Tensor = self.linear(self.norm_final(x) * (1 + scale))
        return out
