"""The acceptance numbers of the Poisson midpoint method, and the broken variants that they must catch.

For a linear drift every pattern of choices can be walked at once, with a unit impulse in place of each random number:
that gives the mean and the variance of the method exactly, also of variants that are not linear in the choices.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch

from modalities.flow import poisson_midpoint as module
from modalities.flow import schedules
from modalities.flow.poisson_midpoint import Chain, overdamped, poisson_midpoint, reverse_diffusion, underdamped
from tests.midpoint_blocks import FAULTS, Block, written_out


class Patterns:
    """Rows of a batch: every pattern of K choices by (impulse in the start, or in one of the draws).

    draws: how many a small step may make; what it does not draw adds nothing.
    """

    def __init__(self, k: int, draws: int) -> None:
        self.k, self.inputs = k, 1 + k * draws
        self.patterns = torch.tensor(list(itertools.product((False, True), repeat=k)))
        hits = self.patterns.sum(1).double()
        self.weights = (1 / k) ** hits * (1 - 1 / k) ** (k - hits)
        self.drawn = 0

    @property
    def chosen(self) -> torch.Tensor:
        return self.patterns.repeat_interleave(self.inputs, 0)

    def impulse(self, number: int) -> torch.Tensor:
        x = torch.zeros(len(self.patterns), self.inputs, 1, dtype=torch.float64)
        x[:, number] = 1
        return x.flatten(0, 1)

    def draw(self) -> torch.Tensor:
        self.drawn += 1
        return self.impulse(self.drawn)

    def noise(self) -> torch.Tensor:
        """What a public function is given: first numbers that choose the patterns, then impulses."""
        if self.drawn < self.k:
            self.drawn += 1
            return torch.where(self.chosen[:, self.drawn - 1 : self.drawn], -9.0, 9.0).double()
        self.drawn += 1
        return self.impulse(self.drawn - self.k)

    def moments(self, result: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Expectations of each input's coefficient and of its square."""
        rows = result.view(-1, self.inputs)
        return self.weights @ rows, self.weights @ rows.square()


def langevin_moments(monkeypatch: pytest.MonkeyPatch, block: Block) -> tuple[float, float]:
    """Mean and variance after one block of step 0.5 and K = 8 from 2, towards N(0, 1)."""
    monkeypatch.setattr(module, "block", block)
    rows = Patterns(8, draws=2)
    result = overdamped(lambda x: -x, rows.impulse(0), step=0.5, blocks=1, k=8, noise=rows.noise)
    mean, square = rows.moments(result)
    return 2 * float(mean[0]), float(4 * (square[0] - mean[0] ** 2) + square[1:].sum())


def is_accepted(mean: float, variance: float) -> bool:
    return abs(mean - 1.2188) <= 0.003 and abs(variance - 0.7864) <= 0.005


def test_one_block_of_langevin_dynamics_is_accepted(monkeypatch):
    """P3, and the method written out gives the same numbers to the last digit."""
    found = langevin_moments(monkeypatch, module.block)
    assert found == pytest.approx((1.218750, 0.786376953125), abs=1e-9)
    assert found == pytest.approx(langevin_moments(monkeypatch, written_out()), abs=1e-12)
    assert is_accepted(*found)


@pytest.mark.parametrize(
    ("fault", "mean", "variance"),
    [
        ("fresh noise", None, 1.223),
        ("no noise", None, 1.058),
        ("missing K", 1.027, None),
        ("normalised", 1.144, None),
        ("corrected chain", 1.193, 0.764),
    ],
)
def test_broken_blocks_of_langevin_dynamics_are_not(monkeypatch, fault, mean, variance):
    found = langevin_moments(monkeypatch, written_out(fault))
    assert not is_accepted(*found)
    assert mean is None or found[0] == pytest.approx(mean, abs=2e-3)
    assert variance is None or found[1] == pytest.approx(variance, abs=3e-3)


def frozen_data_deviation(spread: float, steps: int, k: int, block: Block, moments: Callable[..., object]) -> float:
    """Of the output for data N(0, spread^2) where a block freezes the data prediction; the last step is plain."""
    ts, variance = [n / steps for n in range(steps + 1)], 1.0
    for start, end in itertools.pairwise(ts[:-1]):
        times = [start + (end - start) * i / k for i in range(k + 1)]

        def drift(x, i, rows, times=times):
            return times[i] * spread**2 * x / (times[i] ** 2 * spread**2 + (1 - times[i]) ** 2)

        def advance(i, x, b, z, times=times):
            t, later = times[i], times[i + 1]
            r = t * (1 - later) / (later * (1 - t))
            keep = (1 - later) * r / (1 - t)
            return keep * x + (later - keep * t) * b + (1 - later) * math.sqrt(1 - r * r) * z

        first, noise = moments(drift, advance, k, block)
        variance = first * variance + noise
    return math.sqrt(variance) * ts[-2] * spread**2 / (ts[-2] ** 2 * spread**2 + (1 - ts[-2]) ** 2)


def by_patterns(drift, advance, k, block) -> tuple[float, float]:
    rows = Patterns(k, draws=2)
    _, square = rows.moments(block(Chain(drift, advance, rows.draw), rows.impulse(0), rows.chosen))
    return float(square[0]), float(square[1:].sum())


def by_single_choices(drift, advance, k, block) -> tuple[float, float]:
    """The same for a block that is linear in the choices: none chosen, and each alone."""
    inputs, count = 1 + k, itertools.count(1)
    chosen = torch.cat([torch.zeros(1, k, dtype=torch.bool), torch.eye(k, dtype=torch.bool)])

    def impulse(number):
        x = torch.zeros(k + 1, inputs, 1, dtype=torch.float64)
        x[:, number] = 1
        return x.flatten(0, 1)

    chain = Chain(drift, advance, lambda: impulse(next(count)))
    rows = block(chain, impulse(0), chosen.repeat_interleave(inputs, 0)).view(-1, inputs)
    alone = rows[1:] - rows[0]
    square = (rows[0] + alone.sum(0) / k).square() + (1 / k) * (1 - 1 / k) * alone.square().sum(0)
    return float(square[0]), float(square[1:].sum())


@pytest.mark.parametrize(
    ("spread", "steps", "deviation"), [(0.25, 16, 0.23707), (0.25, 8, 0.21446), (1.0, 16, 0.98922)]
)
def test_deviation_of_gaussian_data_with_a_frozen_data_prediction(spread, steps, deviation):
    """P4, for the block alone: the sampler freezes the velocity (test_poisson_midpoint.py holds its deviation)."""
    found = frozen_data_deviation(spread, steps, 16, module.block, by_single_choices)
    assert found == pytest.approx(deviation, abs=6e-4)


@pytest.mark.parametrize("fault", FAULTS)
def test_broken_blocks_miss_the_deviation(fault):
    right = frozen_data_deviation(0.25, 16, 8, module.block, by_patterns)
    assert right == pytest.approx(frozen_data_deviation(0.25, 16, 8, module.block, by_single_choices), abs=1e-12)
    assert abs(frozen_data_deviation(0.25, 16, 8, written_out(fault), by_patterns) - right) > 2 * 6e-4


def test_the_error_is_of_second_order_in_the_step():
    """P6: halving the step divides the error by 3 to 4.5, that of the base chain by 1.6 to 1.9."""
    errors = [0.25 - frozen_data_deviation(0.25, n, 64, module.block, by_single_choices) for n in (16, 32, 64)]
    assert [error / 0.25 for error in errors] == pytest.approx([0.0454, 0.0133, 0.0035], abs=2e-4)
    assert all(3 < coarse / fine < 4.5 for coarse, fine in itertools.pairwise(errors))
    base = [0.25 - frozen_data_deviation(0.25, n, 1, module.block, by_patterns) for n in (32, 64, 128)]
    assert all(1.6 < coarse / fine < 1.9 for coarse, fine in itertools.pairwise(base))


def numbers(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_one_small_step_a_block_is_the_base_chain():
    """P1: with K = 1 nothing is chosen and no number drawn for it, so that the same seeds give the base sampler."""
    x, draws, steps = numbers(3, 2, seed=0), numbers(9, 3, 2, seed=1), 10
    given = iter(draws)
    found = overdamped(lambda x: -x.sin(), x, step=0.2, blocks=9, k=1, noise=lambda: next(given))
    plain = x
    for z in draws:
        plain = plain - 0.2 * plain.sin() + math.sqrt(0.4) * z
    torch.testing.assert_close(found, plain, rtol=0, atol=1e-12)

    given, plain, grid = iter(draws), x, schedules.uniform(steps)
    found = poisson_midpoint(lambda x, t: t - x.sin(), x, grid, noise=lambda: next(given), k=1)
    for t, later, z in zip(grid.tolist(), grid.tolist()[1:-1], draws, strict=False):
        data = plain + (1 - t) * (t - plain.sin())
        r = t * (1 - later) / (later * (1 - t))
        keep = (1 - later) * r / (1 - t)
        plain = keep * plain + (later - keep * t) * data + (1 - later) * math.sqrt(1 - r * r) * z
    plain = plain + (1 - grid[-2]) * (grid[-2] - plain.sin())
    torch.testing.assert_close(found, plain, rtol=0, atol=1e-12)


def test_a_small_step_of_kinetic_dynamics_is_exact():
    """Coefficients and joint covariance of noise against the matrix exponential of Van Loan (1978)."""
    step, friction = 0.3, 1.4
    drift = torch.tensor([[0.0, 1.0, 0.0], [0.0, -friction, 1.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    exact = torch.matrix_exp(step * drift)
    spread = torch.zeros(2, 2, dtype=torch.float64)
    spread[1, 1] = 2 * friction
    both = torch.cat([torch.cat([-drift[:2, :2], spread], 1), torch.cat([0 * spread, drift[:2, :2].T], 1)])
    pieces = torch.matrix_exp(step * both)
    covariance = pieces[2:, 2:].T @ pieces[:2, 2:]
    eye = torch.eye(5, dtype=torch.float64)[..., None]  # impulses in x, v, the score and the two draws
    given = iter(eye[3:])
    ends = underdamped(
        lambda x: eye[2].view(5, 1),
        eye[0],
        eye[1],
        step=step,
        blocks=1,
        k=1,
        noise=lambda: next(given),
        friction=friction,
    )
    rows = torch.cat(ends, dim=1)
    torch.testing.assert_close(rows[:3].T, exact[:2], rtol=0, atol=1e-12)
    torch.testing.assert_close(rows[3:].T @ rows[3:], covariance, rtol=0, atol=1e-12)


def test_a_constant_drift_of_kinetic_dynamics_and_of_noise_levels_gives_the_fine_chain():
    """P2: nothing to correct, so blocks of K small steps are those steps with the same increments."""
    source, made, k = torch.Generator().manual_seed(4), [], 8
    x, v = numbers(3, 40, seed=2), numbers(3, 40, seed=3)

    def noise():
        made.append(torch.randn(3, 40, dtype=torch.float64, generator=source))
        return made[-1]

    def constant(x, level=None):
        return torch.full_like(x, 0.7)

    result = underdamped(constant, x, v, step=0.3, blocks=4, k=k, noise=noise)
    draws = iter([z for number, z in enumerate(made) if number % (2 * k + 1)])  # the first of a block chooses
    fine = underdamped(constant, x, v, step=0.3 / k, blocks=4 * k, k=1, noise=lambda: next(draws))
    torch.testing.assert_close(result, fine, rtol=0, atol=1e-12)
    made.clear()
    kept = torch.cumprod(1 - torch.linspace(1e-3, 0.2, 41, dtype=torch.float64), 0)
    result = reverse_diffusion(constant, x, kept, k=k, noise=noise)
    draws = iter([z for number, z in enumerate(made) if number % (k + 1)])
    # Levels 41 to 2 are five blocks; the plain last step from level 1 is what both end with.
    fine = reverse_diffusion(constant, x, kept, k=1, noise=lambda: next(draws))
    torch.testing.assert_close(result, fine, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["overdamped", "underdamped", "levels"])
def test_a_sample_does_not_depend_on_its_batch_mates(name):
    """Each has its own source of numbers, for increments and choices alike."""
    x = numbers(5, 2, seed=5)
    kept = torch.cumprod(1 - torch.linspace(1e-3, 0.2, 33, dtype=torch.float64), 0)

    def run(rows: list[int]) -> torch.Tensor:
        sources = [torch.Generator().manual_seed(100 + row) for row in rows]

        def noise():
            return torch.stack([torch.randn(2, dtype=torch.float64, generator=source) for source in sources])

        if name == "overdamped":
            return overdamped(lambda x: -x.sin(), x[rows], step=0.4, blocks=5, k=6, noise=noise)
        if name == "underdamped":
            return torch.cat(
                underdamped(lambda x: -x.sin(), x[rows], -x[rows], step=0.4, blocks=5, k=6, noise=noise), dim=1
            )
        return reverse_diffusion(lambda x, level: x.sin() / (1 + level), x[rows], kept, k=8, noise=noise)

    together = run([0, 1, 2, 3, 4])
    for row in range(5):
        assert torch.equal(together[row : row + 1], run([row]))
    assert torch.equal(together.flip(0), run([4, 3, 2, 1, 0]))
