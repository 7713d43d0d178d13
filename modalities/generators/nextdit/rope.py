"""Rotary position tables for any number of axes.

The head's adjacent pairs of channels (2p, 2p + 1) are rotated by angle = position * frequency. Pair p belongs to axis
p mod A of A axes and is that axis's (p div A)-th frequency, theta^(-2 A (p div A) / d) for head width d: axes are
interleaved pair by pair. For A = 2 this is exactly the layout of the released Lumina-Next weights (h0, w0, h1, w1, ...;
exponents 4i/d); for A = 3 the exponents are the 6i/d of Lumina-Next (arXiv 2406.18583, section 2.1); for A = 1 it is
the rotary embedding of language models. Where A does not divide d/2, the last pairs go to the first axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Rope(NamedTuple):
    """Cosines and sines of every token's angles, `[1 or B, N, head_dim / 2]` in float32."""

    cos: Tensor
    sin: Tensor

    def to(self, device: torch.device | str) -> Rope:
        """The same tables on a device."""
        return Rope(self.cos.to(device), self.sin.to(device))


def exponents(head_dim: int, axes: int) -> Tensor:
    """e `[head_dim / 2]` in float64 such that pair p turns by theta^(-e_p) per token of its axis."""
    pair = torch.arange(head_dim // 2, dtype=torch.float64)
    return 2 * axes * torch.div(pair, axes, rounding_mode="floor") / head_dim


def pair_axes(head_dim: int, axes: int) -> Tensor:
    """The axis of each pair, `[head_dim / 2]`: p mod axes."""
    return torch.arange(head_dim // 2) % axes


def trained_frequencies(head_dim: int, axes: int, theta: float) -> Tensor:
    """Unscaled frequencies `[head_dim / 2]` in float64."""
    return theta ** -exponents(head_dim, axes)


def grid_positions(grid: Sequence[int], pool: Sequence[int] | None = None) -> Tensor:
    """Token coordinates `[N, axes]` in float64, counted from 0, last axis fastest.

    pool: windows of so many tokens per axis are merged; a window's position is the mean of those inside it.
    """
    windows = [1] * len(grid) if pool is None else list(pool)
    axes = [
        torch.tensor([(start + min(start + window, n) - 1) / 2 for start in range(0, n, window)], dtype=torch.float64)
        for n, window in zip(grid, windows, strict=True)
    ]
    return torch.stack([axis.flatten() for axis in torch.meshgrid(*axes, indexing="ij")], dim=-1)


def rope_table(frequencies: Tensor, positions: Tensor) -> Rope:
    """Tables for tokens at `positions` [N, axes] with `frequencies` [head_dim / 2], batch axis 1."""
    axes = pair_axes(2 * frequencies.shape[0], positions.shape[1])
    angles = positions[:, axes] * frequencies.to(torch.float64)
    return Rope(angles.cos().float().unsqueeze(0), angles.sin().float().unsqueeze(0))


def pad_tables(tables: Sequence[Rope]) -> Rope:
    """One table for samples of different lengths; pads repeat the last real position, as in Lumina-Next."""
    longest = max(table.cos.shape[1] for table in tables)

    def pad(part: Tensor) -> Tensor:
        missing = longest - part.shape[1]
        return torch.cat([part, part[:, -1:].expand(-1, missing, -1)], dim=1)

    return Rope(torch.cat([pad(t.cos) for t in tables]), torch.cat([pad(t.sin) for t in tables]))


def rotate(x: Tensor, rope: Rope) -> Tensor:
    """Rotate `x` [B, N, heads, head_dim] in float32 and cast back to its dtype."""
    cos, sin = rope.cos.unsqueeze(2), rope.sin.unsqueeze(2)
    even, odd = x.float().reshape(*x.shape[:-1], -1, 2).unbind(-1)
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2).to(x.dtype)
