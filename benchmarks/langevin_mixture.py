"""The Poisson midpoint method beyond flows: Langevin dynamics, and the reverse diffusion over DDPM's 1,000 levels.

Langevin dynamics is started in its target, the mixture with noise of deviation 1 added (so that a chain walks between
the modes), and walked for a time of 8: what it is off by then is the error of its steps. Plain dynamics are the same
functions with k = 1.
"""

from __future__ import annotations

from collections.abc import Callable

import gaussian_mixture as mixture
import torch
from samplers_page import OURS
from sampling_error import Rows, Run, floor, measure_all
from torch import Tensor

from modalities.flow.poisson_midpoint import overdamped, reverse_diffusion, underdamped

NOISE, LENGTH, SMALL_STEPS = 1.0, 8.0, 16
LEVELS = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)
"""alpha-bar of DDPM's linear schedule (Ho et al. 2020, section 4)."""


def smoothed_score(x: Tensor) -> Tensor:
    """Score of the mixture with noise."""
    return mixture.score(x, torch.ones(()), torch.tensor(NOISE))


def langevin(samples: int, seeds: int) -> tuple[dict[str, Rows], float]:
    """Rows of overdamped and of underdamped dynamics, and the distance of true samples."""
    found = {}
    for name, chain in (("overdamped", _overdamped), ("underdamped", _underdamped)):
        plain = {f"steps of {step:g}": chain(step, 1) for step in (0.4, 0.2, 0.1, 0.05, 0.025)}
        ours = {f"blocks of {step:g}": chain(step, SMALL_STEPS) for step in (0.8, 0.4, 0.2, 0.1)}
        runs = {"plain": plain, OURS: ours}
        found[name] = measure_all(runs, smoothed_score, samples, seeds, noise=NOISE)
    return found, floor(samples, seeds, noise=NOISE)


def _overdamped(step: float, k: int) -> Run:
    return lambda score, x, noise: overdamped(score, x, step=step, blocks=round(LENGTH / step), k=k, noise=noise)


def _underdamped(step: float, k: int) -> Run:
    def run(score: Callable[..., Tensor], x: Tensor, noise: Callable[[], Tensor]) -> Tensor:
        return underdamped(score, x, noise(), step=step, blocks=round(LENGTH / step), k=k, noise=noise)[0]

    return run


def levels(samples: int, seeds: int) -> tuple[Rows, float]:
    """Rows of DDPM's sampling: all levels, every 13th and every 20th alone, and blocks of 25 and 40."""
    rows: Rows = {}
    for stride in (20, 13, 1):
        kept = LEVELS[torch.arange(999, -1, -stride).flip(0)]
        runs = {"ancestral sampling": {f"{len(kept)} levels": _levels(kept, 1)}}
        found = measure_all(runs, noise_at(kept), samples, seeds)
        rows.setdefault("ancestral sampling", {}).update(found["ancestral sampling"])
    ours = {f"1000 levels, K = {k}": _levels(LEVELS, k) for k in (40, 25)}
    rows |= measure_all({OURS: ours}, noise_at(LEVELS), samples, seeds)
    return rows, floor(samples, seeds)


def _levels(kept: Tensor, k: int) -> Run:
    return lambda noise_of, x, noise: reverse_diffusion(noise_of, x, kept, k=k, noise=noise)


def noise_at(kept: Tensor) -> Callable[[Tensor, int], Tensor]:
    """The exact noise prediction of the mixture at a level, counted from 1: -sigma times the score."""

    def predict(x: Tensor, level: int) -> Tensor:
        left = kept[level - 1].to(x.dtype)
        return -torch.sqrt(1 - left) * mixture.score(x, torch.sqrt(left), torch.sqrt(1 - left))

    return predict
