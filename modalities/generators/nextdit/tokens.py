"""Latents to tokens and back for one, two or three axes, and batches of latents of different sizes.

Two feature orders meet here, both fixed by the released weights: a token that goes in holds (channel, *patch) with the
channel slowest; a token that comes out holds (*patch, channel) with the channel fastest.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from modalities.generators.nextdit.config import NextDiTConfig, token_grid


class Packed(NamedTuple):
    """Latents of different sizes as one batch of tokens.

    tokens: `[B, N, features]`, zeros where padded. mask: `[B, N]` bool, True where a token is real.
    grids: tokens per axis of each sample.
    """

    tokens: Tensor
    mask: Tensor
    grids: tuple[tuple[int, ...], ...]


def patchify(latents: Tensor, patch: Sequence[int]) -> Tensor:
    """Latents `[B, C, *axes]` to tokens `[B, N, C * prod(patch)]`, tokens in row-major order."""
    grid = token_grid(latents.shape[2:], patch)
    count = len(patch)
    split = [n for pair in zip(grid, patch, strict=True) for n in pair]
    x = latents.reshape(*latents.shape[:2], *split)  # B C g0 p0 g1 p1 ...
    grid_dims = [2 + 2 * a for a in range(count)]
    patch_dims = [3 + 2 * a for a in range(count)]
    return x.permute(0, *grid_dims, 1, *patch_dims).reshape(latents.shape[0], prod(grid), -1)


def unpatchify(tokens: Tensor, grid: Sequence[int], patch: Sequence[int]) -> Tensor:
    """Tokens `[B, N, prod(patch) * C]`, channel fastest, to latents `[B, C, *axes]`."""
    count = len(patch)
    x = tokens.reshape(tokens.shape[0], *grid, *patch, -1)  # B g0 g1 ... p0 p1 ... C
    pairs = [d for a in range(count) for d in (1 + a, 1 + count + a)]
    axes = [g * p for g, p in zip(grid, patch, strict=True)]
    return x.permute(0, 1 + 2 * count, *pairs).reshape(tokens.shape[0], -1, *axes)


def to_tokens(latents: Tensor, config: NextDiTConfig) -> Tensor:
    """Latents `[B, C, *axes]` to the tokens `[B, N, token_features]` of a model; bands are the last axis."""
    if config.bands > 1:
        latents = torch.unflatten(latents, 1, (config.bands, -1)).movedim(1, -1)
    return patchify(latents, config.token_patch)


def from_tokens(tokens: Tensor, grid: Sequence[int], config: NextDiTConfig) -> Tensor:
    """Output tokens `[B, N, token_outputs]` of a model to latents `[B, C, *axes]`, the unused half dropped."""
    latents = unpatchify(tokens, grid, config.token_patch)[:, : config.in_channels // config.bands]
    return latents.movedim(-1, 1).flatten(1, 2) if config.bands > 1 else latents


def pack(latents: Sequence[Tensor], config: NextDiTConfig) -> Packed:
    """Latents `[C, *axes]` of any sizes to one right-padded batch of tokens."""
    parts = [to_tokens(sample.unsqueeze(0), config)[0] for sample in latents]
    tokens = torch.nn.utils.rnn.pad_sequence(parts, batch_first=True)
    lengths = torch.tensor([part.shape[0] for part in parts], device=tokens.device)
    mask = torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None]
    return Packed(tokens, mask, tuple(config.grid(sample.shape[1:]) for sample in latents))


def unpack(tokens: Tensor, grids: Sequence[Sequence[int]], config: NextDiTConfig) -> list[Tensor]:
    """A padded batch of output tokens to one latent `[C, *axes]` per sample, pads and the unused half dropped."""
    return [
        from_tokens(row[: prod(grid)].unsqueeze(0), grid, config)[0] for row, grid in zip(tokens, grids, strict=True)
    ]
