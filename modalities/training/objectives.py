"""What a generator is trained to do.

An objective is `(predict, data, times, noise) -> loss`; names are in the catalog.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from modalities.training.coupling import pair_points

Predict = Callable[[Tensor, Tensor], Tensor]
"""`predict(x, t)`: x is `[B, C, *axes]`, t `[B]`; returns what the model puts out, in the shape of x."""

Times = Callable[[int, torch.Generator], Tensor]


def rectified_flow(predict: Predict, data: Tensor, times: Tensor, noise: Tensor) -> Tensor:
    """Mean |v(x_t, t) - (x_1 - x_0)|^2 with x_t = t x_1 + (1 - t) x_0 (Liu et al. 2022, equation 1).

    data: x_1 `[B, C, *axes]`. times: `[B]`, 0 noise to 1 data. noise: x_0 in the shape of data.
    """
    t = times.view(-1, *[1] * (data.ndim - 1))
    velocity = predict(t * data + (1 - t) * noise, times)
    return (velocity.float() - (data - noise)).square().mean()


def uniform(count: int, generator: torch.Generator) -> Tensor:
    """Times uniform in 0..1."""
    return torch.rand(count, generator=generator)


def logit_normal(count: int, generator: torch.Generator) -> Tensor:
    """Times sigmoid(z), z normal: more of them in the middle (Esser et al. 2024, section 3.1)."""
    return torch.sigmoid(torch.randn(count, generator=generator))


def shifted(count: int, generator: torch.Generator) -> Tensor:
    """Times u / (4 - 3 u), u uniform: 41 of 100 below 0.15, where what a spectrogram's pitch is gets decided.

    The shift of Esser et al. 2024 (equation 23) with a factor of 4, here with 0 at the noise.
    """
    u = torch.rand(count, generator=generator)
    return u / (4 - 3 * u)


TIMES: dict[str, Times] = {"uniform": uniform, "logit-normal": logit_normal, "shifted": shifted}
"""Distributions of training times, by the name that a training file gives."""

Coupling = Callable[[Tensor, Tensor, int], Tensor]
"""`coupling(noise, latents, coordinates)`: the noise as it is paired with latents of its shape."""


def independent(noise: Tensor, latents: Tensor, coordinates: int) -> Tensor:
    """The noise as it was drawn."""
    return noise


COUPLINGS: dict[str, Coupling] = {"none": independent, "optimal-transport": pair_points}
"""How noise is paired with data, by the name that a training file gives."""
