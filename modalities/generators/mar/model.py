"""The network of MAR: which tokens are known and what was asked for, to what is to be said of the others.

What the mathematics does not need is not computed: tokens that are not known never enter the encoder, and the decoder's
last block answers for the tokens that are asked for alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from modalities.generators.mar.config import MARConfig
from modalities.generators.mar.layers import NORM_EPS, Attention, Block, HeadNetwork, Sketch, TextRows, pick


@dataclass(frozen=True, slots=True)
class Condition:
    """What the network is told, computed once for a sample.

    rows: `[B, buffer, D]` of the encoder. sketch: `[B, L, decoder_dim]` of the hidden tokens, None for classes.
    """

    rows: Tensor
    sketch: Tensor | None

    def __len__(self) -> int:
        return len(self.rows)

    def followed_by(self, other: Condition) -> Condition:
        """This condition and, behind it, as many samples of another, which may be one for all."""
        rows = torch.cat([self.rows, other.rows.expand_as(self.rows)])
        if self.sketch is None or other.sketch is None:
            return Condition(rows, None)
        return Condition(rows, torch.cat([self.sketch, other.sketch.expand_as(self.sketch)]))


class DiffusionLoss(nn.Module):
    """Holds the head under the name that it has in the published checkpoints."""

    def __init__(self, config: MARConfig) -> None:
        super().__init__()
        self.net = HeadNetwork(config)


class MAR(nn.Module):
    """Encoder, decoder and head of MAR (Li et al. 2024, section 4.1, figure 5).

    The keys of its state dict are those of the published checkpoints; with text as the condition, `text.*` takes the
    place of the classes.
    """

    def __init__(self, config: MARConfig) -> None:
        super().__init__()
        c = self.config = config
        rows = c.buffer + c.tokens
        if c.classes:
            self.class_emb = nn.Embedding(c.classes, c.dim, _weight=torch.empty(c.classes, c.dim))
            self.fake_latent = nn.Parameter(torch.empty(1, c.dim))
        else:
            self.text = TextRows(c)
            self.sketch = Sketch(c)
        self.z_proj = nn.Linear(c.token_features, c.dim)
        self.z_proj_ln = nn.LayerNorm(c.dim, eps=NORM_EPS)
        self.encoder_pos_embed_learned = nn.Parameter(torch.empty(1, rows, c.dim))
        self.encoder_blocks = nn.ModuleList(Block(c.dim, c.heads, c.mlp_ratio, c.dropout) for _ in range(c.layers))
        self.encoder_norm = nn.LayerNorm(c.dim, eps=NORM_EPS)
        self.decoder_embed = nn.Linear(c.dim, c.decoder_dim)
        self.mask_token = nn.Parameter(torch.empty(1, 1, c.decoder_dim))
        self.decoder_pos_embed_learned = nn.Parameter(torch.empty(1, rows, c.decoder_dim))
        self.decoder_blocks = nn.ModuleList(
            Block(c.decoder_dim, c.decoder_heads, c.mlp_ratio, c.dropout) for _ in range(c.decoder_layers)
        )
        self.decoder_norm = nn.LayerNorm(c.decoder_dim, eps=NORM_EPS)
        self.diffusion_pos_embed_learned = nn.Parameter(torch.empty(1, c.tokens, c.decoder_dim))
        self.diffloss = DiffusionLoss(c)
        if not self.mask_token.is_meta:  # there, normal_ would import torch's compiler for nothing
            self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Start values: Xavier for projections, normal (0.02) for what stands alone, zero where the head ends.

        Two things start otherwise than published, where trainings are long: positions of tokens as waves, and keys as
        equal to queries (Trockman and Kolter 2023, mimetic initialization), so that rows attend to what is near.
        """
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
        for name, parameter in self.named_parameters():
            if "." not in name or name == "text.query":
                nn.init.normal_(parameter, std=0.02)
        for table in (self.encoder_pos_embed_learned, self.decoder_pos_embed_learned):
            table[:, self.config.buffer :].add_(waves(self.config.trained_tokens, table.shape[-1]))
        for module in self.modules():
            if isinstance(module, Attention):
                query, key, _ = module.qkv.weight.chunk(3)
                key.copy_(query)
        for module in self.head.time_embed.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
        for block in [*self.head.res_blocks, self.head.final_layer]:
            last = block.adaLN_modulation[1]
            assert isinstance(last, nn.Linear)
            nn.init.zeros_(last.weight)
        nn.init.zeros_(self.head.final_layer.linear.weight)

    @property
    def head(self) -> HeadNetwork:
        """The perceptron that draws a token."""
        return self.diffloss.net

    @property
    def blocks(self) -> list[nn.Module]:
        """Everything that is worth compiling: the blocks of encoder, decoder and head."""
        return [*self.encoder_blocks, *self.decoder_blocks, *self.head.res_blocks]

    def condition(self, tokens: Tensor, mask: Tensor) -> Condition:
        """What the network is told by a conditioning.

        tokens `[B, T, cap_feat_dim]`, mask `[B, T]`: of text; or, of a class, `[B, 1, 1]` its number, below 0 for none.
        """
        if not self.config.classes:
            return Condition(self.text(tokens, mask), self.sketch(tokens, mask))
        number = tokens[:, 0, 0].round().long()
        known = self.class_emb(number.clamp_min(0))
        chosen = torch.where(number[:, None] < 0, self.fake_latent.to(known.dtype), known)
        return Condition(chosen[:, None].expand(-1, self.config.buffer, -1), None)

    def encode(self, rows: Tensor, known: Tensor, where: Tensor) -> Tensor:
        """Rows of the condition `[B, buffer, D]` and known tokens `[B, K, F]` at `where` `[B, K]`, ascending.

        Returns `[B, buffer + K, D]`.
        """
        places = self.encoder_pos_embed_learned
        first = rows + places[:, : self.config.buffer]
        seen = self.z_proj(known.to(self.z_proj.weight.dtype))
        rest = seen + places[0, self.config.buffer :][where]
        x: Tensor = self.z_proj_ln(torch.cat([first, rest.to(first.dtype)], dim=1))
        for block in self.encoder_blocks:
            x = block(x)
        out: Tensor = self.encoder_norm(x)
        return out

    def decode(self, encoded: Tensor, sketch: Tensor | None, where: Tensor, wanted: Tensor) -> Tensor:
        """What the encoder gave, for tokens at `where` `[B, K]`, to z `[B, M, decoder_dim]` of those at `wanted`.

        Where text is the condition, hidden tokens start from its sketch and the mean of the buffer's rows beside the
        mask token: what to draw is then there from the first block on, and need not be found by attention.
        """
        buffer = self.config.buffer
        x = self.decoder_embed(encoded)
        hidden = self.mask_token.to(x.dtype)
        if sketch is not None:
            hidden = hidden + x[:, :buffer].mean(1, keepdim=True) + sketch.to(x.dtype)
        tokens = hidden.expand(len(x), self.config.tokens, -1).scatter(
            1, where[..., None].expand(-1, -1, x.shape[-1]), x[:, buffer:]
        )
        x = torch.cat([x[:, :buffer], tokens], dim=1) + self.decoder_pos_embed_learned
        for block in self.decoder_blocks[:-1]:
            x = block(x)
        x = self.decoder_norm(self.decoder_blocks[-1](x, wanted + buffer))
        out: Tensor = x + self.diffusion_pos_embed_learned[0][wanted]
        return out

    def forward(self, told: Condition, tokens: Tensor, where: Tensor, wanted: Tensor) -> Tensor:
        """z `[B, M, decoder_dim]` of the tokens `wanted`, from what is told and the tokens at `where`.

        tokens: `[B, L, F]`, of which those at `where` `[B, K]` are read.
        """
        return self.decode(self.encode(told.rows, pick(tokens, where), where), told.sketch, where, wanted)


def waves(grid: Sequence[int], width: int) -> Tensor:
    """Sines and cosines of the places in a grid of two axes, row-major: `[L, width]`; zeros where the width is odd."""
    part = width // 4
    frequencies = 2.0 * 10.0 ** (-torch.arange(part) / max(1, part))
    axes = torch.cartesian_prod(*(torch.arange(n, dtype=torch.float32) for n in grid))
    angles = (axes[..., None] * frequencies).flatten(1)
    found = torch.cat([angles.sin(), angles.cos()], dim=1)
    return nn.functional.pad(found, (0, width - found.shape[1]))
