"""The parts of a MAR: transformer blocks, the resampler of text, and the head that draws a token by diffusion.

Shapes: B batch, N rows, D width, F numbers in a token. Attribute names are the keys of the published checkpoints.
"""

from __future__ import annotations

from math import log

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modalities.generators.mar.config import SKETCH, SKETCH_HIDDEN, TIME_FEATURES, MARConfig

NORM_EPS = 1e-6


class Attention(nn.Module):
    """Self-attention with one projection for queries, keys and values, each of all heads."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, wanted: Tensor | None = None) -> Tensor:
        """x `[B, N, D]` after its norm. wanted: `[B, M]` rows that are asked for; the result then has those alone."""
        if wanted is None:
            q, k, v = self.qkv(x).chunk(3, dim=-1)
        else:
            dim = x.shape[-1]
            q = F.linear(pick(x, wanted), self.qkv.weight[:dim], self.qkv.bias[:dim])
            k, v = F.linear(x, self.qkv.weight[dim:], self.qkv.bias[dim:]).chunk(2, dim=-1)
        q, k, v = (torch.unflatten(each, -1, (self.heads, -1)).transpose(1, 2) for each in (q, k, v))
        out = F.scaled_dot_product_attention(q, k, v, dropout_p=self.dropout if self.training else 0.0)
        return F.dropout(self.proj(out.transpose(1, 2).flatten(2)), self.dropout, self.training)


class Perceptron(nn.Module):
    """Linear, GELU (by the error function), linear."""

    def __init__(self, dim: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """`[..., D]` to `[..., D]`."""
        hidden = F.dropout(F.gelu(self.fc1(x)), self.dropout, self.training)
        return F.dropout(self.fc2(hidden), self.dropout, self.training)


class Block(nn.Module):
    """A pre-norm block: attention, then a perceptron."""

    def __init__(self, dim: int, heads: int, ratio: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn = Attention(dim, heads, dropout)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.mlp = Perceptron(dim, ratio * dim, dropout)

    def forward(self, x: Tensor, wanted: Tensor | None = None) -> Tensor:
        """`[B, N, D]` to `[B, N, D]`; or, of the rows `wanted` `[B, M]` alone, to `[B, M, D]`."""
        told = self.attn(self.norm1(x), wanted)
        x = (x if wanted is None else pick(x, wanted)) + told
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class TextRows(nn.Module):
    """Learned queries that read a prompt: any number of text tokens to the rows of the buffer."""

    def __init__(self, config: MARConfig) -> None:
        super().__init__()
        dim = config.dim
        self.heads = config.heads
        self.query = nn.Parameter(torch.empty(config.buffer, dim))
        self.norm = nn.LayerNorm(config.cap_feat_dim, eps=NORM_EPS)
        self.kv = nn.Linear(config.cap_feat_dim, 2 * dim)
        self.proj = nn.Linear(dim, dim)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.mlp = Perceptron(dim, config.mlp_ratio * dim, config.dropout)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Text tokens `[B, T, cap_feat_dim]`, mask `[B, T]` bool, to `[B, buffer, D]`."""
        k, v = self.kv(self.norm(tokens)).unflatten(-1, (2 * self.heads, -1)).transpose(1, 2).chunk(2, dim=1)
        q = (
            torch.unflatten(self.query.to(k.dtype), -1, (self.heads, -1))
            .transpose(0, 1)
            .expand(len(tokens), -1, -1, -1)
        )
        told = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :])
        rows = self.query + self.proj(told.transpose(1, 2).flatten(2))
        out: Tensor = rows + self.mlp(self.norm2(rows))
        return out


class Sketch(nn.Module):
    """What a prompt alone says of each token: a perceptron from the pooled prompt to a few numbers for each place.

    Which picture a word stands for is learned here as by regression, long before attention finds it.
    """

    def __init__(self, config: MARConfig) -> None:
        super().__init__()
        self.tokens = config.tokens
        self.norm = nn.LayerNorm(config.cap_feat_dim, eps=NORM_EPS)
        self.fc1 = nn.Linear(config.cap_feat_dim, SKETCH_HIDDEN * config.dim)
        self.fc2 = nn.Linear(SKETCH_HIDDEN * config.dim, config.tokens * SKETCH)
        self.proj = nn.Linear(SKETCH, config.decoder_dim)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Text tokens `[B, T, cap_feat_dim]`, mask `[B, T]` bool, to `[B, L, decoder_dim]`."""
        weight = mask[..., None].to(tokens.dtype)
        pooled = (tokens * weight).sum(1) / weight.sum(1).clamp_min(1)
        places = self.fc2(F.gelu(self.fc1(self.norm(pooled)))).unflatten(-1, (self.tokens, SKETCH))
        out: Tensor = self.proj(places)
        return out


class TimeEmbedder(nn.Module):
    """Sinusoid of a diffusion step's number (cosines first) through a two-layer perceptron."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(TIME_FEATURES, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        """`[N]` to `[N, width]`."""
        half = TIME_FEATURES // 2
        frequencies = torch.exp(-log(10000.0) * torch.arange(half, dtype=torch.float32, device=t.device) / half)
        angles = t.float()[:, None] * frequencies
        features = torch.cat([angles.cos(), angles.sin()], dim=-1)
        first = self.mlp[0]
        assert isinstance(first, nn.Linear)
        out: Tensor = self.mlp(features.to(first.weight.dtype))
        return out


class HeadBlock(nn.Module):
    """Norm, modulation by time and condition, a perceptron with SiLU, and a gate."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.in_ln = nn.LayerNorm(width, eps=NORM_EPS)
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 3 * width))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """x and y `[N, width]`."""
        shift, scale, gate = self.adaLN_modulation(y).chunk(3, dim=-1)
        out: Tensor = x + gate * self.mlp(self.in_ln(x) * (1 + scale) + shift)
        return out


class HeadOutput(nn.Module):
    """Norm without weights, modulation, and the projection to noise and variance."""

    def __init__(self, width: int, features: int) -> None:
        super().__init__()
        self.norm_final = nn.LayerNorm(width, elementwise_affine=False, eps=NORM_EPS)
        self.linear = nn.Linear(width, 2 * features)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """`[N, width]` to `[N, 2 F]`."""
        shift, scale = self.adaLN_modulation(y).chunk(2, dim=-1)
        out: Tensor = self.linear(self.norm_final(x) * (1 + scale) + shift)
        return out


class HeadNetwork(nn.Module):
    """Noisy tokens, their time and what the decoder says of them, to the noise and the share of the larger variance."""

    def __init__(self, config: MARConfig) -> None:
        super().__init__()
        width = config.head_dim
        self.time_embed = TimeEmbedder(width)
        self.cond_embed = nn.Linear(config.decoder_dim, width)
        self.input_proj = nn.Linear(config.token_features, width)
        self.res_blocks = nn.ModuleList(HeadBlock(width) for _ in range(config.head_layers))
        self.final_layer = HeadOutput(width, config.token_features)

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens `[N, F]` and y `[N, width]` (embedded time plus embedded condition) to noise and share, `[N, F]`."""
        x = self.input_proj(x)
        for block in self.res_blocks:
            x = block(x, y)
        noise, share = self.final_layer(x, y).chunk(2, dim=-1)
        return noise, share


def pick(x: Tensor, rows: Tensor) -> Tensor:
    """Rows `[B, M]` of x `[B, N, D]`: `[B, M, D]`."""
    return x.gather(1, rows[..., None].expand(-1, -1, x.shape[-1]))
