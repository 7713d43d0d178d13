"""Flag-DiT for one axis: latents `[B, C, frames]`, time and text to a velocity.

It shares attention, feed-forward network, time embedding and rotary positions with Next-DiT. What differs: blocks
without a second norm, modulated by shift, scale and gate (six rows, no tanh) from a vector as wide as the model; a
final layer with shift and scale; one token per latent frame; and whole time steps, floor(1000 t), in the sinusoid.
The keys of its state dict are those of the released checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from modalities.generators.flagdit.config import TIME_STEPS, FlagDiTConfig
from modalities.generators.nextdit.layers import Attention, FeedForward, Positions, RMSNorm
from modalities.generators.nextdit.model import TextState, TimeEmbedder, prepare_text, start_projections
from modalities.generators.nextdit.rope import grid_positions, rope_table, trained_frequencies


class Block(nn.Module):
    """Attention and feed-forward network, each: norm, shift and scale, branch, gate, add."""

    def __init__(self, config: FlagDiTConfig) -> None:
        super().__init__()
        self.attention = Attention(config.parts)
        self.feed_forward = FeedForward(config.dim, config.parts.ffn_dim)
        self.attention_norm = RMSNorm(config.dim, config.norm_eps)
        self.ffn_norm = RMSNorm(config.dim, config.norm_eps)
        self.attention_y_norm = RMSNorm(config.cap_feat_dim, config.norm_eps)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(config.dim, 6 * config.dim))

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
        """x `[B, N, D]`, conditioning `[B, D]`; rows: shift, scale, gate of attention, then of feed-forward."""
        rows: Sequence[Tensor] = self.adaLN_modulation(conditioning).unsqueeze(1).chunk(6, dim=-1)
        h = self.attention_norm(x) * (1 + rows[1]) + rows[0]
        x = x + rows[2] * self.attention(h, positions, *text, text_mask)
        h = self.ffn_norm(x) * (1 + rows[4]) + rows[3]
        out: Tensor = x + rows[5] * self.feed_forward(h)
        return out


class FinalLayer(nn.Module):
    """LayerNorm without weights (eps 1e-6), shift and scale from the conditioning, projection to latent channels."""

    def __init__(self, config: FlagDiTConfig) -> None:
        super().__init__()
        self.norm_final = nn.LayerNorm(config.dim, elementwise_affine=False, eps=1e-6)
        self.linear = nn.Linear(config.dim, config.in_channels)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(config.dim, 2 * config.dim))

    def forward(self, x: Tensor, conditioning: Tensor) -> Tensor:
        """`[B, N, D]` to `[B, N, C]`."""
        shift, scale = self.adaLN_modulation(conditioning).unsqueeze(1).chunk(2, dim=-1)
        out: Tensor = self.linear(self.norm_final(x) * (1 + scale) + shift)
        return out


class FlagDiT(nn.Module):
    """The 1-D Flag-DiT of the released Lumina-T2Music and Lumina-T2Audio weights."""

    def __init__(self, config: FlagDiTConfig) -> None:
        super().__init__()
        self.config = config
        self.t_embedder = TimeEmbedder(config.dim)
        self.proj_in = nn.Linear(config.in_channels, config.dim)
        self.cap_embedder = nn.Sequential(nn.LayerNorm(config.cap_feat_dim), nn.Linear(config.cap_feat_dim, config.dim))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.final_layer = FinalLayer(config)
        if not self.proj_in.weight.is_meta:
            self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Start values: Xavier for projections; zero for modulations, gates and the output."""
        start_projections(self)
        self.t_embedder.reset_parameters()
        zeros = [self.final_layer.linear, self.final_layer.adaLN_modulation[1]]
        for module in [*zeros, *(block.adaLN_modulation[1] for block in self.typed_blocks)]:
            for parameter in module.parameters():
                nn.init.zeros_(parameter)

    @property
    def typed_blocks(self) -> list[Block]:
        """The blocks, typed."""
        return [block for block in self.blocks if isinstance(block, Block)]

    def prepare(self, tokens: Tensor, mask: Tensor | None = None) -> TextState:
        """Text features `[B, L, cap_feat_dim]` and mask `[B, L]` (None: all real) to what every step needs of them."""
        return prepare_text(self.cap_embedder, [block.text for block in self.typed_blocks], tokens, mask)

    def positions(self, frames: int, device: torch.device | str = "cpu") -> Positions:
        """Positions 0 .. frames - 1, without any extrapolation."""
        frequencies = trained_frequencies(self.config.parts.head_dim, 1, self.config.rope_theta)
        rope = rope_table(frequencies, grid_positions((frames,))).to(device)
        return Positions(query=rope, key=rope)

    def forward(self, x: Tensor, t: Tensor, text: TextState, positions: Positions) -> Tensor:
        """Velocity dx/dt `[B, C, N]` of latents of that shape at times t `[B]`, 0 noise to 1 data."""
        return self.at_step(x, torch.floor(t.float() * TIME_STEPS), text, positions)

    def at_step(self, x: Tensor, step: Tensor, text: TextState, positions: Positions) -> Tensor:
        """Velocity at whole time steps `[B]`, 0 noise to 1000 data."""
        h = self.proj_in(x.transpose(1, 2))
        conditioning = self.t_embedder(step) + text.pooled
        for block, keys, values in zip(self.blocks, text.keys, text.values, strict=True):
            h = block(h, conditioning, positions, (keys, values), text.mask)
        out: Tensor = self.final_layer(h, conditioning)
        return out.transpose(1, 2)
