"""The analytic mixture of the sampler and objective benchmarks: six modes on a ring, all in closed form.

Modes lie at radius 2.5 with deviation 0.25 and the weights 1:2:1:3:1:2, as in the sampler notes of the project.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

RADIUS, SPREAD = 2.5, 0.25
WEIGHTS = torch.tensor([1.0, 2, 1, 3, 1, 2], dtype=torch.float64) / 10
MEANS = RADIUS * torch.stack(
    [
        torch.cos(torch.arange(6, dtype=torch.float64) * math.pi / 3),
        torch.sin(torch.arange(6, dtype=torch.float64) * math.pi / 3),
    ],
    dim=1,
)


def draw(count: int, source: torch.Generator) -> Tensor:
    """Samples `[count, 2]`, float64."""
    mode = torch.multinomial(WEIGHTS, count, replacement=True, generator=source)
    return MEANS[mode] + SPREAD * torch.randn(count, 2, dtype=torch.float64, generator=source)


def score(x: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """Gradient of the log-density of alpha x1 + sigma x0, at x `[B, 2]`; alpha, sigma broadcast on `[B, 1]`."""
    variance = alpha**2 * SPREAD**2 + sigma**2
    return (alpha * _mean(x, alpha, variance) - x) / variance


def velocity(x: Tensor, t: Tensor) -> Tensor:
    """E[x1 - x0 | x_t] on the linear path, finite at both ends; t broadcasts on `[B, 1]`."""
    variance = t**2 * SPREAD**2 + (1 - t) ** 2
    slope = (t * SPREAD**2 - (1 - t)) / variance
    return slope * x + (1 - slope * t) * _mean(x, t, variance)


def _mean(x: Tensor, alpha: Tensor, variance: Tensor) -> Tensor:
    """The mean of the centres as x `[B, 2]` shares itself among modes at alpha times them: E[mode's centre | x]."""
    means, prior = MEANS.to(x.dtype), WEIGHTS.log().to(x.dtype)[:, None]
    # Modes first: with them last, torch's softmax over six numbers takes fifteen times as long.
    nearness = means @ (alpha / variance * x).T - (alpha**2 * RADIUS**2 / 2 / variance).reshape(1, -1)
    return (means.T @ torch.softmax(prior + nearness, dim=0)).T


def sliced_distance(x: Tensor, directions: int = 16, spread: float = SPREAD) -> float:
    """Sliced Wasserstein-1 distance of samples to the exact projections, mean over evenly spread directions.

    spread: the deviation of the modes, where it is another.
    """
    found, x = 0.0, x.double()
    levels = (torch.arange(len(x), dtype=torch.float64) + 0.5) / len(x)
    for number in range(directions):
        angle = math.pi * (number + 0.5) / directions
        way = torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)
        found += float((torch.sort(x @ way).values - _quantiles(MEANS @ way, levels, spread)).abs().mean())
    return found / directions


def _quantiles(centres: Tensor, levels: Tensor, spread: float) -> Tensor:
    """Quantiles of a mixture on a line, from its distribution function on a fine grid."""
    grid = torch.linspace(-RADIUS - 8 * spread, RADIUS + 8 * spread, 40001, dtype=torch.float64)
    below = (WEIGHTS * torch.special.ndtr((grid[:, None] - centres) / spread)).sum(1)
    at = torch.searchsorted(below, levels).clamp(1, len(grid) - 1)
    share = (levels - below[at - 1]) / (below[at] - below[at - 1]).clamp_min(1e-300)
    return grid[at - 1] + share.clamp(0, 1) * (grid[at] - grid[at - 1])


def within_modes(x: Tensor) -> tuple[float, float]:
    """Variance about the nearest mode over the true one, and the share farther than four deviations, left out of it."""
    near = torch.cdist(x.double(), MEANS).min(1).values
    return float(near[near < 4 * SPREAD].square().mean() / 2 / SPREAD**2), float((near > 4 * SPREAD).double().mean())
