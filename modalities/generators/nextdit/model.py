"""Next-DiT: latents, time and text to a velocity. The shared core of every modality.

Nothing is kept between calls: what size, time and text decide comes in as values (`Positions`, `TextState`), so one
model serves any size and any extrapolation at once, and compilation sees no state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import log
from typing import NamedTuple

import torch
from torch import Tensor, nn

from modalities.generators.nextdit.config import NextDiTConfig
from modalities.generators.nextdit.fourier import embed_coordinates, trained_waves
from modalities.generators.nextdit.layers import Block, FinalLayer, Positions
from modalities.generators.nextdit.rope import Rope, grid_positions, pad_tables, rope_table, trained_frequencies
from modalities.generators.nextdit.tokens import from_tokens, pack, to_tokens, unpack

TIME_FEATURES = 256


class TextState(NamedTuple):
    """What the model needs of the text, computed once per sample and used at every step.

    pooled: `[B, c]` caption embedding. keys, values: one `[B, kv_heads, L, head_dim]` per layer.
    mask: `[B, L]` bool, or None when every text token is real.
    """

    pooled: Tensor
    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    mask: Tensor | None

    @staticmethod
    def select(state: TextState, rows: Tensor) -> TextState:
        """The rows of a batch, in the order of `rows`."""
        mask = None if state.mask is None else state.mask[rows]
        return TextState(
            state.pooled[rows], tuple(k[rows] for k in state.keys), tuple(v[rows] for v in state.values), mask
        )


class TimeEmbedder(nn.Module):
    """Sinusoid of the flow time (0..1, not multiplied by 1000; cosines first) through a two-layer perceptron."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(TIME_FEATURES, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        """`[B]` to `[B, c]`."""
        first = self.mlp[0]
        assert isinstance(first, nn.Linear)
        out: Tensor = self.mlp(time_features(t).to(first.weight.dtype))
        return out

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Start values of the weights: normal with 0.02."""
        for module in self.mlp:
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)


def time_features(t: Tensor) -> Tensor:
    """`[B]` to `[B, 256]`: cos then sin of t * exp(-ln(10000) i / 128), i = 0..127, in float32."""
    half = TIME_FEATURES // 2
    frequencies = torch.exp(-log(10000.0) * torch.arange(half, dtype=torch.float32, device=t.device) / half)
    angles = t.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def masked_mean(tokens: Tensor, mask: Tensor) -> Tensor:
    """Mean of `[B, L, D]` over real tokens, summed in float32; a row without any is zero instead of NaN."""
    weight = mask.float().unsqueeze(-1)
    return ((tokens.float() * weight).sum(1) / weight.sum(1).clamp(min=1)).to(tokens.dtype)


def prepare_text(
    caption: nn.Module,
    layers: Sequence[Callable[[Tensor], tuple[Tensor, Tensor]]],
    tokens: Tensor,
    mask: Tensor | None,
) -> TextState:
    """Text features `[B, L, cap_feat_dim]` and mask `[B, L]` (None: all real) to what every step needs of them.

    caption: the layers that the pooled text passes through. layers: for each block, tokens to its keys and values.
    """
    real = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device) if mask is None else mask
    pooled: Tensor = caption(masked_mean(tokens, real))
    pairs = [keys_and_values(tokens) for keys_and_values in layers]
    return TextState(pooled, tuple(k for k, _ in pairs), tuple(v for _, v in pairs), mask)


@torch.no_grad()
def start_projections(model: nn.Module) -> None:
    """Start values of every projection: Xavier, with biases of zero."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class NextDiT(nn.Module):
    """The Next-DiT of Lumina-Next (arXiv 2406.18583, section 2) for one, two or three axes.

    The keys of its state dict are those of the original Lumina checkpoints.
    """

    def __init__(self, config: NextDiTConfig) -> None:
        super().__init__()
        self.config = config
        width = config.conditioning_dim
        self.pad_token = nn.Parameter(torch.empty(config.dim))
        self.x_embedder = nn.Linear(config.embedded_features, config.dim)
        self.t_embedder = TimeEmbedder(width)
        self.cap_embedder = nn.Sequential(nn.LayerNorm(config.cap_feat_dim), nn.Linear(config.cap_feat_dim, width))
        self.layers = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.final_layer = FinalLayer(config)
        if not self.pad_token.is_meta:  # there, normal_ would import torch's compiler for nothing: 2 s a worker
            self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Start values: Xavier for projections; zero for gates, modulations, caption projection and output."""
        start_projections(self)
        nn.init.normal_(self.pad_token, std=0.02)
        self.t_embedder.reset_parameters()
        zeros = [self.cap_embedder[1], self.final_layer.linear, self.final_layer.adaLN_modulation[1]]
        zeros += [block.adaLN_modulation[1] for block in self.blocks]
        for module in zeros:
            for parameter in module.parameters():
                nn.init.zeros_(parameter)
        for block in self.blocks:
            nn.init.zeros_(block.attention.gate)

    @property
    def blocks(self) -> list[Block]:
        """The layers, typed."""
        return [block for block in self.layers if isinstance(block, Block)]

    def prepare(self, tokens: Tensor, mask: Tensor | None = None) -> TextState:
        """Text features `[B, L, cap_feat_dim]` and mask `[B, L]` (None: all real) to what every step needs of them."""
        return prepare_text(self.cap_embedder, [block.text for block in self.blocks], tokens, mask)

    def rope(self, axes: Sequence[int], device: torch.device | str = "cpu") -> Rope:
        """Unscaled rotary tables for latents with `axes` cells per axis."""
        config = self.config
        frequencies = trained_frequencies(config.head_dim, config.token_axes, config.rope_theta)
        return rope_table(frequencies, grid_positions(config.grid(axes))).to(device)

    def positions(self, axes: Sequence[int], device: torch.device | str = "cpu") -> Positions:
        """Positions for latents with `axes` cells per axis, without any extrapolation."""
        waves = trained_waves(self.config)
        if self.config.unordered:
            return Positions(waves=None if waves is None else waves.float().to(device))
        rope = self.rope(axes, device)
        return Positions(query=rope, key=rope)

    def embed(self, tokens: Tensor, positions: Positions) -> Tensor:
        """Tokens `[B, N, token_features]` to `[B, N, dim]`: Fourier features, where there are any, and projection."""
        if positions.waves is not None:
            tokens = embed_coordinates(tokens, positions.waves, self.config.coordinates)
        embedded: Tensor = self.x_embedder(tokens.to(self.x_embedder.weight.dtype))
        return embedded

    def evaluate(self, tokens: Tensor, t: Tensor, text: TextState, positions: Positions) -> Tensor:
        """Tokens `[B, N, token_features]` at times `[B]` to output tokens `[B, N, token_outputs]`."""
        x = self.embed(tokens, positions)
        if positions.token_mask is not None:
            x = torch.where(positions.token_mask[..., None], x, self.pad_token.to(x.dtype))
        conditioning = self.t_embedder(t) + text.pooled
        for block, keys, values in zip(self.blocks, text.keys, text.values, strict=True):
            x = block(x, conditioning, positions, (keys, values), text.mask)
        out: Tensor = self.final_layer(x, conditioning)
        return out

    def forward(self, x: Tensor, t: Tensor, text: TextState, positions: Positions) -> Tensor:
        """Velocity dx/dt `[B, C, *axes]` of latents of that shape at times t `[B]`, 0 noise to 1 data."""
        out = self.evaluate(to_tokens(x, self.config), t, text, positions)
        return from_tokens(out, self.config.grid(x.shape[2:]), self.config)

    def forward_ragged(
        self,
        xs: Sequence[Tensor],
        t: Tensor,
        text: TextState,
        tables: Sequence[Rope] = (),
        factors: Tensor | float = 1.0,
    ) -> list[Tensor]:
        """Velocities of latents `[C, *axes]` of different sizes, as one padded batch.

        tables: one rotary table per sample; none for sets. factors: softmax factor of self-attention, one for all or
        one per sample.
        """
        packed = pack(xs, self.config)
        base = self.positions(xs[0].shape[1:], packed.tokens.device)
        if not self.config.unordered:
            rope = pad_tables(tables)
            base = base._replace(query=rope, key=rope)
        out = self.evaluate(packed.tokens, t, text, base._replace(attention_factor=factors, token_mask=packed.mask))
        return unpack(out, packed.grids, self.config)
