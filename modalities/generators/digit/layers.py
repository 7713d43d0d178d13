"""The transformer that both stages of DiGIT are made of: fairseq's decoder without attention to an encoder.

Names of parameters are those of the published checkpoints. Shapes: B samples, N tokens, D width, H heads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modalities.generators.digit.config import PAD, POSITION_OFFSET, StageConfig

NORM_EPS = 1e-5


class Cache:
    """Keys and values of every layer for `rows` sequences of up to `length` tokens, allocated once.

    filled: tokens that are in it.
    """

    def __init__(
        self, stage: StageConfig, rows: int, length: int, device: torch.device, dtype: torch.dtype = torch.float32
    ) -> None:
        shape = (stage.layers, rows, stage.heads, length, stage.head_dim)
        self.keys = torch.empty(shape, device=device, dtype=dtype)
        self.values = torch.empty(shape, device=device, dtype=dtype)
        self.length, self.filled = length, 0
        self._seen: Tensor | None = None

    def restrict(self, real: Tensor | None) -> None:
        """Hide tokens of the first n, where `real` `[rows, n]` is False (the padding of a text); None hides none."""
        if real is not None:
            self._seen = F.pad(real, (0, self.length - real.shape[1]), value=True)[:, None, None]

    def visible(self, new: int) -> Tensor | None:
        """What new tokens see of those before them and of themselves, `[rows, 1, 1, filled + new]`; None: all."""
        return None if self._seen is None else self._seen[..., : self.filled + new]

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write the keys and values `[rows, H, N, D / H]` of new tokens; answers those of all tokens, as views."""
        end = self.filled + keys.shape[2]
        self.keys[layer, :, :, self.filled : end] = keys
        self.values[layer, :, :, self.filled : end] = values
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]


class SelfAttention(nn.Module):
    """Multi-head attention with biases, softmax(q k' / sqrt(D / H)) v."""

    def __init__(self, stage: StageConfig) -> None:
        super().__init__()
        self.heads, self.head_dim = stage.heads, stage.head_dim
        self.q_proj = nn.Linear(stage.dim, stage.dim)
        self.k_proj = nn.Linear(stage.dim, stage.dim)
        self.v_proj = nn.Linear(stage.dim, stage.dim)
        self.out_proj = nn.Linear(stage.dim, stage.dim)

    def forward(
        self, x: Tensor, mask: Tensor | None, causal: bool, cache: Cache | None = None, layer: int = 0
    ) -> Tensor:
        """`[B, N, D]` to the same; mask broadcasts to `[B, H, N, keys]`, True where a key is seen."""
        batch, tokens, dim = x.shape
        q, k, v = (
            projection(x).view(batch, tokens, self.heads, self.head_dim).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        if cache is not None:
            k, v = cache.extend(layer, k, v)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
        out: Tensor = self.out_proj(mixed.transpose(1, 2).reshape(batch, tokens, dim))
        return out


class Layer(nn.Module):
    """Attention and a feed-forward network with GELU, each beside an identity, with a norm before or after."""

    def __init__(self, stage: StageConfig) -> None:
        super().__init__()
        self.pre_norm = stage.pre_norm
        self.self_attn = SelfAttention(stage)
        self.self_attn_layer_norm = nn.LayerNorm(stage.dim, eps=NORM_EPS)
        self.fc1 = nn.Linear(stage.dim, stage.ffn)
        self.fc2 = nn.Linear(stage.ffn, stage.dim)
        self.final_layer_norm = nn.LayerNorm(stage.dim, eps=NORM_EPS)

    def forward(
        self, x: Tensor, mask: Tensor | None, causal: bool, cache: Cache | None = None, layer: int = 0
    ) -> Tensor:
        """Arguments as for `SelfAttention`."""
        if self.pre_norm:
            x = x + self.self_attn(self.self_attn_layer_norm(x), mask, causal, cache, layer)
            x = x + self._feed_forward(self.final_layer_norm(x))
        else:
            x = self.self_attn_layer_norm(x + self.self_attn(x, mask, causal, cache, layer))
            x = self.final_layer_norm(x + self._feed_forward(x))
        return x

    def _feed_forward(self, x: Tensor) -> Tensor:
        """fairseq takes GELU in float32 whatever the type of the weights."""
        out: Tensor = self.fc2(F.gelu(self.fc1(x).float()).to(x.dtype))
        return out


class TokenTransformer(nn.Module):
    """Ids (and features of a text, where it has a projection for them) to logits.

    inputs, outputs: rows of the table of ids, and ids that can be predicted. prefixed: a second table of positions,
    for tokens that stand before the sequence. text_width, text_tokens: of the text's features and their table.
    """

    def __init__(
        self,
        stage: StageConfig,
        *,
        inputs: int,
        outputs: int,
        prefixed: bool = False,
        text_width: int = 0,
        text_tokens: int = 0,
    ) -> None:
        super().__init__()
        self.stage = stage
        rows = stage.positions + POSITION_OFFSET
        self.embed_tokens = nn.Embedding(inputs, stage.dim)
        self.embed_positions = nn.Embedding(rows, stage.dim)
        if prefixed:
            self.embed_positions_1 = nn.Embedding(rows, stage.dim)
        if text_width:
            self.text_norm = nn.LayerNorm(text_width, eps=NORM_EPS)
            self.text_projection = nn.Linear(text_width, stage.dim)
            self.text_positions = nn.Embedding(text_tokens, stage.dim)
        self.layers = nn.ModuleList(Layer(stage) for _ in range(stage.layers))
        if stage.pre_norm:
            self.layer_norm = nn.LayerNorm(stage.dim, eps=NORM_EPS)
        self.output_projection = nn.Linear(stage.dim, outputs, bias=False)
        if not self.embed_tokens.weight.is_meta:
            self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """fairseq's start values: tables and output normal with variance 1 / D, everything else Xavier."""
        for module in self.modules():
            if isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=self.stage.dim**-0.5)
            elif isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for layer in self.layers:
            for projection in (layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj):  # type: ignore[union-attr]
                nn.init.xavier_uniform_(projection.weight, gain=2**-0.5)  # type: ignore[union-attr, arg-type]
        nn.init.normal_(self.output_projection.weight, std=self.stage.dim**-0.5)
        nn.init.zeros_(self.embed_tokens.weight[PAD])

    def embed(self, ids: Tensor, start: int = 0, *, prefix: bool = False) -> Tensor:
        """Ids `[B, N]`, the first of them at place `start`, to `[B, N, D]`: sqrt(D) times their rows, plus places."""
        table = self.embed_positions_1 if prefix else self.embed_positions
        first = start + POSITION_OFFSET
        out: Tensor = self.embed_tokens(ids) * self.stage.dim**0.5 + table.weight[first : first + ids.shape[1]]
        return out

    def embed_text(self, features: Tensor) -> Tensor:
        """Features `[B, T, text_width]` to `[B, T, D]`; T is at most the rows of their table of positions."""
        scaled = self.text_norm(features.to(self.text_projection.weight.dtype))
        out: Tensor = self.text_projection(scaled) + self.text_positions.weight[: features.shape[1]]
        return out

    def run(self, h: Tensor, mask: Tensor | None = None, *, causal: bool = False, cache: Cache | None = None) -> Tensor:
        """Embedded tokens `[B, N, D]` through all layers and the last norm; arguments as for `SelfAttention`."""
        for i, layer in enumerate(self.layers):
            h = layer(h, mask, causal) if cache is None else layer(h, mask, causal, cache, i)
        if cache is not None:
            cache.filled += h.shape[1]
        if self.stage.pre_norm:
            h = self.layer_norm(h)
        return h

    def logits(self, h: Tensor) -> Tensor:
        """`[..., D]` to `[..., outputs]` in float32."""
        out: Tensor = self.output_projection(h).float()
        return out
