"""The Poisson midpoint method on the benchmark's mixture: its acceptance numbers, and faults that must miss them."""

from __future__ import annotations

import gaussian_mixture as mixture
import poisson_midpoint as benchmark
import pytest
import torch
from sampling_error import measure

from modalities.flow import poisson_midpoint as module
from tests.midpoint_blocks import written_out

OURS = benchmark.settings()[benchmark.OURS]["16 steps, K = 32"]
BASE = benchmark.settings()[benchmark.BASE]["31 steps"]
NOISE_OF_SHARES = 0.0085
"""The distance of 50,000 true samples, most of it from how many fall to each mode; 200,000 have 0.0042."""


def is_accepted(row: dict[str, float], samples: int) -> bool:
    """The bounds for many samples, widened by what this number of them may be off: three standard errors of the width.

    The standard error of a variance from 2 n numbers is 1 / sqrt(n) of it.
    """
    slack = 3 / samples**0.5
    near = row["distance"] <= 0.009 + NOISE_OF_SHARES * (50_000 / samples) ** 0.5
    return near and 0.93 - slack <= row["width"] <= 0.97 + slack and row["outside"] <= 0.002


def test_it_is_accepted_and_its_base_is_not():
    ours, base = (measure(run, benchmark.exact_velocity, 50_000, 1) for run in (OURS, BASE))
    assert is_accepted(ours, 50_000)
    assert not is_accepted(base, 50_000)
    assert ours["distance"] < 0.75 * base["distance"]  # 0.26 of it, but for the noise of shares in both
    assert ours["evaluations"] == pytest.approx(15 * (2 - 1 / 32) + 1, abs=0.1)


def test_a_block_that_evaluates_at_its_start_time_is_not_accepted(monkeypatch):
    """What other faults do is too small to see here; tests/numerics holds them to exact moments."""
    monkeypatch.setattr(module, "block", written_out("start time"))
    assert not is_accepted(measure(OURS, benchmark.exact_velocity, 20_000, 1), 20_000)


@pytest.mark.slow
def test_acceptance_numbers_in_full():
    """P7: 200,000 samples."""
    runs = {benchmark.OURS: {"16 steps, K = 32": OURS}, benchmark.BASE: {"31 steps": BASE}}
    rows = {
        name: {setting: measure(run, benchmark.exact_velocity, 200_000, 2) for setting, run in found.items()}
        for name, found in runs.items()
    }
    assert all(benchmark.accepted(rows).values())


def test_the_velocity_is_that_of_the_score():
    """s = (t v - x) / (1 - t), from two formulas of the mixture."""
    source = torch.Generator().manual_seed(0)
    x = 2 * torch.randn(50, 2, dtype=torch.float64, generator=source)
    for time in (0.05, 0.4, 0.95):
        t = torch.tensor(time, dtype=torch.float64)
        score = (t * mixture.velocity(x, t) - x) / (1 - t)
        torch.testing.assert_close(mixture.score(x, t, 1 - t), score, rtol=1e-9, atol=1e-9)


def test_true_samples_have_a_small_distance_and_moved_ones_have_not():
    true = mixture.draw(20_000, torch.Generator().manual_seed(3))
    assert mixture.sliced_distance(true) < 0.03
    assert mixture.sliced_distance(true + 0.3) > 0.15
    assert mixture.within_modes(true) == pytest.approx((1.0, 0.0003), abs=0.03)
