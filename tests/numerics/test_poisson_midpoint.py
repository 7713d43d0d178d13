"""The Poisson midpoint method against exact moments.

Where the drift is linear, the state after a block is linear in the start, in each draw and in each choice. Feeding unit
impulses for numbers, and choosing no small step and then each one alone, gives all of these coefficients, and with them
the exact mean and variance of the method, for any K and without sampling.
"""

from __future__ import annotations

import math

import pytest
import torch

from modalities.flow import schedules
from modalities.flow.poisson_midpoint import (
    _levels_chain,
    block,
    choose,
    overdamped,
    poisson_midpoint,
    reverse_diffusion,
    underdamped,
)
from modalities.flow.samplers import euler_maruyama

FAR = 9.0  # standard normal numbers of +-9: never chosen, and always


class Impulses:
    """Rows of a batch: (chosen step, or none) by (impulse in the start, or in one draw), and the noise that says so."""

    def __init__(self, k: int, starts: int = 1, draws: int = 1) -> None:
        self.k, self.starts, self.inputs = k, starts, starts + k * draws
        self.choices = 1 if k == 1 else k + 1
        self.calls = 0

    def start(self, number: int = 0) -> torch.Tensor:
        x = torch.zeros(self.choices, self.inputs, 1, dtype=torch.float64)
        x[:, number] = 1
        return x.flatten(0, 1)

    def noise(self) -> torch.Tensor:
        z = torch.zeros(self.choices, self.inputs, 1, dtype=torch.float64)
        number = self.calls if self.k > 1 else self.calls + 1
        self.calls += 1
        if number < self.k and self.k > 1:
            z[:] = FAR
            z[number + 1] = -FAR
        else:
            z[:, self.starts + number - max(self.k, 1)] = 1
        return z.flatten(0, 1)

    def moments(self, result: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Expectation of the coefficients `[inputs]`, and of the sums of squares that choices add to each."""
        rows = result.view(self.choices, self.inputs)
        alone, p = rows[1:] - rows[0], 1 / self.k
        return rows[0] + p * alone.sum(0), p * (1 - p) * alone.square().sum(0)


def langevin_block(step: float, k: int, rate: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    impulses = Impulses(k)
    x = overdamped(lambda x: -rate * x, impulses.start(), step=step, blocks=1, k=k, noise=impulses.noise)
    return impulses.moments(x)


def flow_variance(spread: float, steps: int, k: int, diffusion: str = "memoryless") -> float:
    """Of the output for data N(0, spread^2), exactly; the last step is one plain Euler step."""

    def velocity(x, t):
        return (t * spread**2 - (1 - t)) * x / (t**2 * spread**2 + (1 - t) ** 2)

    ts, variance = schedules.uniform(steps), 1.0
    for start in range(steps - 1):
        impulses = Impulses(k)
        grid = ts[start : start + 2]
        x = poisson_midpoint(velocity, impulses.start(), grid, noise=impulses.noise, k=k, diffusion=diffusion)
        mean, choices = impulses.moments(x)
        squares = mean.square() + choices
        variance = float(squares[0]) * variance + float(squares[1:].sum())
    end = poisson_midpoint(velocity, torch.ones(1, 1, dtype=torch.float64), ts[-2:], noise=lambda: None, k=k)
    return variance * float(end) ** 2


def test_one_block_of_langevin_dynamics_has_its_closed_form():
    """mean = x0 (1 - a + a^2 (1 - 1/K) / 2); the variance sums the jumps of the choices and the noise they see."""
    mean, choices = langevin_block(0.5, 8)
    assert float(2 * mean[0]) == pytest.approx(1.218750, abs=1e-9)
    variance = 4 * choices[0] + mean[1:].square().sum() + choices[1:].sum()
    assert float(variance) == pytest.approx(0.786376953125, abs=1e-9)


@pytest.mark.parametrize(
    ("step", "k", "excess"),
    [(0.8, 8, 0.715), (0.8, 64, 0.938), (0.4, 8, 0.108), (0.2, 8, 0.0277), (0.2, 64, 0.0202), (0.1, 64, 0.0047)],
)
def test_stationary_variance_of_langevin_dynamics(step, k, excess):
    mean, choices = langevin_block(step, k)
    squares = mean.square() + choices
    assert float(squares[1:].sum() / (1 - squares[0])) - 1 == pytest.approx(excess, rel=0.02)
    plain = 1 / (1 - step / 4) - 1  # twice as many steps of half the length: as many evaluations
    assert (excess < plain) == (step < 0.5)


@pytest.mark.parametrize(
    ("step", "k", "excess"), [(0.4, 1, 0.1096), (0.4, 16, 0.00935), (0.4, 32, 0.0064), (0.2, 32, 0.002)]
)
def test_stationary_variance_of_kinetic_langevin_dynamics(step, k, excess):
    impulses = Impulses(k, starts=2, draws=2)
    x, v = impulses.start(0), impulses.start(1)
    ends = underdamped(lambda x: -x, x, v, step=step, blocks=1, k=k, noise=impulses.noise)
    rows = torch.stack(ends, dim=-1).view(impulses.choices, impulses.inputs, 2)
    alone, p = rows[1:] - rows[0], 1 / k
    mean = rows[0] + p * alone.sum(0)
    kick = p * (1 - p) * torch.einsum("hia,hjb->ijab", alone, alone)
    both = torch.einsum("ia,jb->ijab", mean, mean) + kick
    noise = both[2:, 2:].diagonal(dim1=0, dim2=1).sum(-1)
    covariance = torch.eye(2, dtype=torch.float64)
    for _ in range(400):
        covariance = torch.einsum("ijab,ij->ab", both[:2, :2], covariance) + noise
    assert float(covariance[0, 0]) - 1 == pytest.approx(excess, abs=2e-4)


@pytest.mark.parametrize(
    ("spread", "steps", "k", "deviation"),
    [(0.25, 16, 16, 0.24265), (0.25, 8, 16, 0.23964), (0.25, 8, 64, 0.25 * (1 - 0.0120)), (1.0, 16, 64, 1 - 0.0044)],
)
def test_deviation_of_gaussian_data(spread, steps, k, deviation):
    assert math.sqrt(flow_variance(spread, steps, k)) == pytest.approx(deviation, rel=3e-4)


@pytest.mark.parametrize("diffusion", ["memoryless", "decreasing", "middle"])
def test_it_is_several_times_as_exact_as_its_base_for_the_same_evaluations(diffusion):
    def error(steps, k):
        return abs(math.sqrt(flow_variance(1.0, steps, k, diffusion)) - 1)

    assert error(16, 32) < error(31, 1) / 3
    assert error(8, 64) / error(16, 64) > 1.8
    assert error(128, 1) < error(64, 1) / 1.8


def test_many_small_steps_of_the_base_agree_with_euler_maruyama():
    """Both discretise one SDE, so their variances meet."""
    for diffusion in ("memoryless", "decreasing", "middle"):
        assert math.sqrt(flow_variance(0.6, 400, 1, diffusion)) == pytest.approx(0.6, rel=0.01)


def test_a_constant_drift_gives_the_fine_chain_with_the_same_increments():
    """Nothing to correct: each block is K small steps of the base, whose draws the blocks made in the same order."""
    source, made = torch.Generator().manual_seed(4), []
    x = torch.randn(3, 40, dtype=torch.float64, generator=source)

    def noise():
        made.append(torch.randn(3, 40, dtype=torch.float64, generator=source))
        return made[-1]

    k, steps = 8, 4
    result = overdamped(lambda x: torch.full_like(x, 0.7), x, step=0.3, blocks=steps, k=k, noise=noise)
    draws = iter([z for number, z in enumerate(made) if number % (k + 1)])  # the first of a block chooses
    fine = overdamped(
        lambda x: torch.full_like(x, 0.7), x, step=0.3 / k, blocks=steps * k, k=1, noise=lambda: next(draws)
    )
    torch.testing.assert_close(result, fine, rtol=0, atol=1e-12)
    made.clear()
    flow = poisson_midpoint(lambda x, t: torch.ones_like(x), x, schedules.uniform(steps), noise=noise, k=k)
    draws = iter([z for number, z in enumerate(made) if number % (k + 1)])
    grid = torch.cat([schedules.uniform(steps * k)[:-k], torch.ones(1, dtype=torch.float64)])
    fine = poisson_midpoint(lambda x, t: torch.ones_like(x), x, grid, noise=lambda: next(draws), k=1)
    torch.testing.assert_close(flow, fine, rtol=0, atol=1e-12)


def mixture_velocity(x, t):
    """Six modes on a ring of radius 2.5 with deviation 0.25: v = E[x1 - x0 | x_t], exactly."""
    angles = torch.arange(6, dtype=torch.float64) * math.pi / 3
    means = 2.5 * torch.stack([angles.cos(), angles.sin()], dim=1)
    weights = torch.tensor([1.0, 2, 1, 3, 1, 2], dtype=torch.float64)
    variance = t**2 * 0.0625 + (1 - t) ** 2
    away = x[:, None] - t * means
    share = torch.softmax(weights.log() - away.square().sum(-1) / (2 * variance), dim=1)
    return (share[..., None] * (means + (t * 0.0625 - (1 - t)) / variance * away)).sum(1)


def within_modes(x: torch.Tensor) -> tuple[float, float]:
    """Variance about the nearest mode over the true one, and the share farther than four deviations, left out of it."""
    angles = torch.arange(6, dtype=torch.float64) * math.pi / 3
    near = torch.cdist(x, 2.5 * torch.stack([angles.cos(), angles.sin()], dim=1)).min(1).values
    return float(near[near < 1].square().mean() / 2 / 0.0625), float((near > 1).double().mean())


def test_modes_of_a_mixture_keep_their_width():
    source = torch.Generator().manual_seed(1)
    x = torch.randn(8000, 2, dtype=torch.float64, generator=source)

    def noise():
        return torch.randn(8000, 2, dtype=torch.float64, generator=source)

    width, outside = within_modes(poisson_midpoint(mixture_velocity, x, schedules.uniform(16), noise=noise, k=32))
    base, _ = within_modes(poisson_midpoint(mixture_velocity, x, schedules.uniform(31), noise=noise, k=1))
    assert 0.92 < width < 1.0  # 0.96 in 100,000 samples; the standard error of 8,000 is 0.011
    assert outside < 0.002
    assert base < 0.82


def gaussian_noise_at(kept: torch.Tensor, spread: float):
    def noise_at(x, level):
        left = kept[level - 1]
        return torch.sqrt(1 - left) * x / (left * spread**2 + 1 - left)

    return noise_at


def test_the_base_of_the_reverse_diffusion_is_ancestral_sampling():
    beta = torch.linspace(1e-3, 0.2, 40, dtype=torch.float64)
    kept = torch.cumprod(1 - beta, 0)
    source, x = torch.Generator().manual_seed(0), torch.tensor([[0.4], [-1.0]], dtype=torch.float64)
    draws = torch.randn(39, 2, 1, dtype=torch.float64, generator=source)
    given, noise_at = iter(draws), gaussian_noise_at(kept, 0.5)
    result = reverse_diffusion(noise_at, x, kept, k=1, noise=lambda: next(given))
    for number, level in enumerate(range(40, 0, -1)):
        i = level - 1
        before = kept[i - 1] if i else torch.tensor(1.0, dtype=torch.float64)
        x = (x - beta[i] / torch.sqrt(1 - kept[i]) * noise_at(x, level)) / torch.sqrt(1 - beta[i])
        if i:
            x = x + torch.sqrt(beta[i] * (1 - before) / (1 - kept[i])) * draws[number]
    torch.testing.assert_close(result, x, rtol=0, atol=1e-12)


def diffusion_deviation(kept: torch.Tensor, spread: float, k: int) -> float:
    """Of the output of `reverse_diffusion` for data N(0, spread^2), exactly: the end of the levels below each block."""
    noise_at, top, variance = gaussian_noise_at(kept, spread), len(kept), 1.0
    while top > k:
        impulses = Impulses(k)
        chain = _levels_chain(noise_at, [1.0, *kept.tolist()], top, impulses.noise)
        x = impulses.start()
        mean, choices = impulses.moments(block(chain, x, choose(impulses.noise, len(x), k)))
        squares = mean.square() + choices
        variance = float(squares[0]) * variance + float(squares[1:].sum())
        top -= k
    last = reverse_diffusion(noise_at, torch.ones(1, 1, dtype=torch.float64), kept[:top], k=k, noise=lambda: None)
    return math.sqrt(variance) * float(last)


def test_reverse_diffusion_of_a_thousand_levels_in_eighty_evaluations():
    """DDPM's linear schedule: nearly as exact as 1,000 levels, and several times as exact as every thirteenth alone."""
    kept = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)
    coarse = kept[torch.arange(999, -1, -13).flip(0)]
    assert 0.5 - diffusion_deviation(kept, 0.5, 1) == pytest.approx(0.5 * 0.00778, rel=0.01)
    assert 0.5 - diffusion_deviation(kept, 0.5, 25) < 1.6 * (0.5 - diffusion_deviation(kept, 0.5, 1))
    assert 0.5 - diffusion_deviation(kept, 0.5, 25) < (0.5 - diffusion_deviation(coarse, 0.5, 1)) / 6


def test_reverse_diffusion_spends_what_its_levels_ask_for():
    kept = torch.cumprod(1 - torch.linspace(1e-3, 0.1, 100, dtype=torch.float64), 0)
    source, seen, count = torch.Generator().manual_seed(2), [], 1500

    def counted(x, level):
        seen.append(len(x))
        return gaussian_noise_at(kept, 0.5)(x, level)

    def noise():
        return torch.randn(count, 1, dtype=torch.float64, generator=source)

    assert torch.isfinite(reverse_diffusion(counted, noise(), kept, k=10, noise=noise)).all()
    assert sum(seen) / count == pytest.approx(9 * (2 - 1 / 10) + 1, abs=0.25)


def test_decreasing_base_and_euler_maruyama_share_their_increments():
    """The exact step for a frozen velocity and Euler-Maruyama's differ in the second order of the step."""
    draws = torch.randn(400, 3, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = torch.tensor([[0.2], [1.0], [-2.0]], dtype=torch.float64)
    ts, gaps = schedules.uniform(400)[:361], []
    for stride in (4, 2):
        ends = [iter(draws), iter(draws)]
        grid = ts[::stride]
        options = {"diffusion": "decreasing", "scale": 1.0}
        base = poisson_midpoint(mixture_line, x, grid, noise=ends[0].__next__, k=1, **options)
        plain = euler_maruyama(mixture_line, x, grid, noise=ends[1].__next__, **options)
        gaps.append(float((base - plain).abs().max()))
    assert gaps[1] < 0.75 * gaps[0] < 0.02


def mixture_line(x, t):
    return mixture_velocity(torch.cat([x, torch.zeros_like(x)], dim=1), t)[:, :1]
