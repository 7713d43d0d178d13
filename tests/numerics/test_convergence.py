"""Observed order of convergence of every sampler in the catalog, on problems that depend on time.

dx/dt = cos(2t) A x has the solution expm(sin(2t)/2 A) x(0). A problem without t in it would not notice a sampler that
evaluates a stage at the wrong time.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from modalities import catalog
from modalities.flow import samplers, schedules

A = torch.tensor([[-0.5, 2.0], [-2.0, -0.3]], dtype=torch.float64)
X0 = torch.tensor([[1.0, 0.5]], dtype=torch.float64)
STRAIGHT_TO_THE_END = sorted(catalog.samplers_of("nextdit"))
DETERMINISTIC = [name for name in STRAIGHT_TO_THE_END if not catalog.SAMPLERS[name].facts.get("stochastic")]


def turning(x: Tensor, t: Tensor) -> Tensor:
    return torch.cos(2 * t) * x @ A.T


def exact(start: float, end: float) -> Tensor:
    return X0 @ torch.linalg.matrix_exp((math.sin(2 * end) - math.sin(2 * start)) / 2 * A).T


def fixed_steps(name: str) -> Callable[..., Tensor]:
    """The sampler on a grid; dopri5 takes each interval as one step, which a large tolerance always accepts."""
    sampler = catalog.resolve("sampler", name)
    if not catalog.SAMPLERS[name].facts.get("adaptive"):
        return sampler

    def stepwise(velocity, x, ts, **options):
        for start in range(len(ts) - 1):
            x = sampler(velocity, x, ts[start : start + 2], rtol=0.0, atol=1e9, **options)
        return x

    return stepwise


def observed_orders(sampler, sizes, start=0.0, end=1.0) -> list[float]:
    grids = [start + (end - start) * schedules.uniform(n) for n in sizes]
    errors = [float((sampler(turning, X0, ts) - exact(start, end)).norm()) for ts in grids]
    return [math.log2(coarse / fine) for coarse, fine in itertools.pairwise(errors)]


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_observed_order_is_the_stated_order(name):
    order = catalog.SAMPLERS[name].facts["order"]
    sizes = (8, 16, 32) if order >= 5 else (64, 128, 256)
    # DPM-Solver++ works in log(t / (1 - t)); its order is clean where that is bounded (the next test has the ends).
    start, end = (0.1, 0.9) if name == "dpm-solver++" else (0.0, 1.0)
    for observed in observed_orders(fixed_steps(name), sizes, start, end):
        assert abs(observed - order) < 0.15


def test_dpm_solver_approaches_order_two_from_noise_to_data():
    observed = observed_orders(samplers.dpm_solver_pp_2m, (256, 512, 1024))
    assert min(observed) > 1.65
    assert observed == sorted(observed)


def test_order_test_sees_a_stage_at_the_wrong_time():
    def heun_with_the_wrong_time(velocity, x, ts):
        for t, t_next in itertools.pairwise(ts):
            k1 = velocity(x, t)
            x = x + (t_next - t) / 2 * (k1 + velocity(x + (t_next - t) * k1, t))
        return x

    assert max(observed_orders(heun_with_the_wrong_time, (64, 128, 256))) < 1.2


@pytest.mark.parametrize("name", STRAIGHT_TO_THE_END)
@pytest.mark.parametrize("schedule", sorted(set(catalog.SCHEDULES) - {"resolution-shifted"}))
def test_straight_flow_is_exact_on_every_grid(name, schedule):
    generator = torch.Generator().manual_seed(0)
    x0, x1 = torch.randn(2, 1, 5, dtype=torch.float64, generator=generator)
    sampler, facts = catalog.resolve("sampler", name), catalog.SAMPLERS[name].facts
    # Diffusion off: with noise the flow is no longer one straight line.
    off = {"noise": lambda: torch.zeros_like(x0), "diffusion": "decreasing", "scale": 0.0}
    options = off if facts.get("stochastic") else {}
    result = sampler(lambda x, t: x1 - x0, x0, catalog.resolve("schedule", schedule)(5), **options)
    torch.testing.assert_close(result, x1, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_gaussian_data_gets_its_spread(name):
    """Data N(m, q^2) have the velocity m + (t q^2 - (1 - t)) (x - t m) / (t^2 q^2 + (1 - t)^2); x(1) = m + q x(0)."""
    mean, spread = 1.5, 0.4

    def velocity(x, t):
        return mean + (t * spread**2 - (1 - t)) * (x - t * mean) / (t**2 * spread**2 + (1 - t) ** 2)

    x0 = torch.tensor([[-1.0, 0.0, 2.0]], dtype=torch.float64)
    result = fixed_steps(name)(velocity, x0, schedules.uniform(400))
    torch.testing.assert_close(result, mean + spread * x0, rtol=0, atol=5e-3)


def test_dopri5_error_follows_its_tolerance():
    errors = []
    for tolerance in (1e-4, 1e-6, 1e-8):
        result = samplers.dopri5(turning, X0, schedules.uniform(4), rtol=tolerance, atol=tolerance)
        errors.append(float((result - exact(0, 1)).norm()))
        assert errors[-1] < 10 * tolerance
    assert errors == sorted(errors, reverse=True)


def test_dopri5_spends_evaluations_as_a_fifth_order_method():
    counts = []
    for tolerance in (1e-6, 1e-11):
        evaluations = []
        samplers.dopri5(
            lambda x, t, seen=evaluations: (seen.append(t), turning(x, t))[1],
            X0,
            schedules.uniform(4),
            rtol=tolerance,
            atol=tolerance,
        )
        counts.append(len(evaluations))
    assert counts[1] / counts[0] < 1e5 ** (1 / 5) * 1.3  # ten times the work for five digits more, at order 5


def test_dpm_solver_is_exact_for_a_constant_data_prediction():
    """When every path ends at one point, D is that point and one step of any length is exact, as for DDIM."""
    x1 = torch.tensor([[0.3, -2.0]], dtype=torch.float64)
    for ts in (schedules.uniform(1), schedules.shifted(7)):
        result = samplers.dpm_solver_pp_2m(lambda x, t: (x1 - x) / (1 - t), X0, ts)
        torch.testing.assert_close(result, x1, rtol=0, atol=1e-12)


def test_dpm_solver_is_exact_for_data_linear_in_log_ratio():
    """Not an identity of order one: D linear in lambda makes the multistep's D at mid-step the exact one there.

    A reference written from the paper in alpha, sigma and lambda, beside the sampler's form in t.
    """

    def data_prediction(t):
        return 0.7 + 0.2 * torch.log(t / (1 - t))

    ts = torch.linspace(0.2, 0.8, 7, dtype=torch.float64)
    x = torch.tensor([[0.4]], dtype=torch.float64)
    result = samplers.dpm_solver_pp_2m(lambda x, t: (data_prediction(t) - x) / (1 - t), x, ts)
    lam = torch.log(ts / (1 - ts))
    for i in range(6):
        h = lam[i + 1] - lam[i]
        middle = data_prediction(ts[i]) if i == 0 else data_prediction(torch.sigmoid(lam[i] + h / 2))
        x = (1 - ts[i + 1]) / (1 - ts[i]) * x - ts[i + 1] * torch.expm1(-h) * middle
    torch.testing.assert_close(result, x, rtol=0, atol=1e-12)
