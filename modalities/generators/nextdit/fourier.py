"""Fourier embedding of coordinates: how a set of points, which has no rotary positions, knows where its points are.

A coordinate x becomes cos(w_k x) and sin(w_k x) for K waves w_k = w (2^K)^(-k / K), k = 0..K-1, from the finest,
w = 2^(K-1) 2 pi / span, to the slowest, which is `span` latent units long. They are appended to the token's features in
front of the first projection (Tancik et al. 2020; Lumina-Next, arXiv 2406.18583, embeds the points of a cloud so).

**Density.** Rotary positions count tokens, so a longer sequence leaves the trained range, and interpolation brings it
back. Points lie in the same box however many they are: what leaves the trained range is the distance to the nearest
neighbour, which shrinks by s = (N / N_trained)^(1 / D) for D coordinates. Counted in trained distances, x is s x.
With W(s, t) the frequencies of a method of `extrapolation.py` for base 2^K and scale s, the waves at density s are

    w s W(s, t)    and, for `none`,    w W(1) = w_k.

Interpolation then gives the waves as trained. The NTK-aware one shortens the finest wave by s, as the distances did,
and the slowest by s^(1/K) only; frequency-aware holds the slowest exactly; time-aware starts from the trained waves at
t = 0, where the shape is laid out, and ends with the NTK-aware ones at t = 1, where neighbours are told apart.
"""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor

from modalities.generators.nextdit.config import NextDiTConfig
from modalities.generators.nextdit.rope import pair_axes, trained_frequencies


def finest_wave(config: NextDiTConfig) -> float:
    """The frequency of the finest wave, in radians per latent unit."""
    return float(2 ** (config.fourier_bands - 1) * 2 * pi / config.fourier_span)


def trained_waves(config: NextDiTConfig) -> Tensor | None:
    """Frequencies `[coordinates * fourier_bands]` in float64, coordinates alternating; None without coordinates."""
    if not config.coordinates:
        return None
    width = 2 * config.coordinates * config.fourier_bands
    return finest_wave(config) * trained_frequencies(width, config.coordinates, 2.0**config.fourier_bands)


def embed_coordinates(tokens: Tensor, waves: Tensor, coordinates: int) -> Tensor:
    """Tokens `[B, N, F]`, whose first features are coordinates, with the cosines and sines of their waves behind them.

    Angles are computed in float32 or wider: the finest wave turns hundreds of radians over a cloud.
    """
    places = tokens[..., :coordinates]
    places = places if places.dtype == torch.float64 else places.float()
    axes = pair_axes(2 * waves.shape[0], coordinates).to(tokens.device)
    angles = places[..., axes] * waves.to(places)
    return torch.cat([tokens.to(places.dtype), angles.cos(), angles.sin()], dim=-1)
