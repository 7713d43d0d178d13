"""Euler-Maruyama on Gaussian data, where the law of the result is known.

The velocity is linear in x, so the result is a linear function of the start and of each draw. Feeding unit impulses
instead of random numbers gives that function, and with it the exact variance of the sampler's output: the weak order
is then a deterministic measurement.
"""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from modalities.flow import samplers, schedules

SPREAD = 0.6
KINDS = ["decreasing", "middle", "memoryless"]


def gaussian_velocity(x, t):
    return (t * SPREAD**2 - (1 - t)) * x / (t**2 * SPREAD**2 + (1 - t) ** 2)


def output_variance(ts, diffusion, scale=1.0) -> float:
    """Row 0 starts at one and draws zeros; row k draws a one at draw k. Squares of the results add up."""
    rows = len(ts)
    x = torch.zeros(rows, 1, dtype=torch.float64)
    x[0] = 1.0
    draws = []

    def impulse():
        draws.append(None)
        unit = torch.zeros_like(x)
        unit[len(draws)] = 1.0
        return unit

    result = samplers.euler_maruyama(gaussian_velocity, x, ts, noise=impulse, diffusion=diffusion, scale=scale)
    assert len(draws) == len(ts) - 2  # none in the last step
    return float(result.square().sum())


@pytest.mark.parametrize("diffusion", KINDS)
def test_weak_order_is_one(diffusion):
    errors = [abs(output_variance(schedules.uniform(n), diffusion) - SPREAD**2) for n in (100, 200, 400)]
    assert errors[-1] < 0.02
    for coarse, fine in itertools.pairwise(errors):
        observed = math.log2(coarse / fine)
        # On Gaussian data the first-order terms of the memoryless variance cancel, so it may do better than one.
        assert observed > 0.85
        assert diffusion == "memoryless" or observed < 1.15


@pytest.mark.parametrize("scale", [0.0, 0.5, 4.0])
def test_every_scale_has_the_marginal_of_the_flow(scale):
    assert abs(output_variance(schedules.uniform(2000), "decreasing", scale) - SPREAD**2) < 4e-3


@pytest.mark.parametrize("diffusion", ["decreasing", "middle"])
def test_strong_order_is_one_for_additive_noise(diffusion):
    """One Brownian path, sampled coarser and coarser; the finest solution stands for the exact one."""
    finest, paths = 4096, 32
    ts = schedules.truncate(schedules.uniform(finest), 0.0)[: finest * 3 // 4 + 1]
    generator = torch.Generator().manual_seed(1)
    steps = len(ts) - 1
    increments = torch.randn(steps, paths, 1, dtype=torch.float64, generator=generator) / math.sqrt(finest)
    x = torch.randn(paths, 1, dtype=torch.float64, generator=generator)

    def solve(stride):
        pooled = iter(increments.reshape(steps // stride, stride, paths, 1).sum(dim=1) * math.sqrt(finest / stride))
        grid = ts[::stride]
        return samplers.euler_maruyama(gaussian_velocity, x, grid, noise=lambda: next(pooled), diffusion=diffusion)

    reference = solve(1)
    errors = [float((solve(stride) - reference).abs().mean()) for stride in (256, 128, 64)]
    for coarse, fine in itertools.pairwise(errors):
        assert abs(math.log2(coarse / fine) - 1) < 0.35


def test_scale_zero_is_euler():
    x = torch.tensor([[0.3], [-1.0]], dtype=torch.float64)
    ts = schedules.shifted(9)
    sde = samplers.euler_maruyama(gaussian_velocity, x, ts, noise=lambda: torch.ones_like(x), scale=0.0)
    torch.testing.assert_close(sde, samplers.euler(gaussian_velocity, x, ts), rtol=0, atol=1e-14)


def test_memoryless_forgets_the_start():
    """From t = 0 its first step keeps only the share of the start that the step's length allows."""
    ts = schedules.uniform(1000)
    low, high = torch.zeros(1, 1, dtype=torch.float64), torch.full((1, 1), 3.0, dtype=torch.float64)

    def solve(x):
        return samplers.euler_maruyama(
            gaussian_velocity, x, ts, noise=lambda: torch.zeros_like(x), diffusion="memoryless"
        )

    assert abs(float(solve(high) - solve(low))) < 0.05
