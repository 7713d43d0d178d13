"""Latents to tokens and back. A token holds (channel, row, column) of its patch, the channel slowest."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def to_tokens(latents: Tensor, patch: Sequence[int]) -> Tensor:
    """Latents `[B, C, h, w]` to tokens `[B, L, C * prod(patch)]` in row-major order."""
    x = torch.unflatten(torch.unflatten(latents, 3, (-1, patch[1])), 2, (-1, patch[0]))  # B C row p column q
    return x.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def from_tokens(tokens: Tensor, grid: Sequence[int], patch: Sequence[int]) -> Tensor:
    """Tokens `[B, L, F]` to latents `[B, C, h, w]`; grid: tokens of both axes."""
    x = torch.unflatten(torch.unflatten(tokens, 1, tuple(grid)), 3, (-1, *patch))  # B row column C p q
    return x.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)
