"""Round trips among velocity, score, noise and data in float64, and what happens at the ends of each path."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from modalities.flow.paths import COSINE, LINEAR, PATHS, VP

KINDS = ["velocity", "score", "noise", "data"]
INNER = [0.001, 0.2, 0.5, 0.93, 0.999]


@pytest.fixture
def ends():
    generator = torch.Generator().manual_seed(3)
    return torch.randn(2, 4, 3, 5, dtype=torch.float64, generator=generator)


def at(t: float) -> torch.Tensor:
    return torch.tensor(t, dtype=torch.float64)


@pytest.mark.parametrize("t", INNER)
@pytest.mark.parametrize("name", sorted(PATHS))
def test_velocity_is_the_derivative_of_the_path(name, t, ends):
    path, step = PATHS[name], 1e-6
    difference = (path.interpolate(*ends, at(t + step)) - path.interpolate(*ends, at(t - step))) / (2 * step)
    torch.testing.assert_close(path.velocity(*ends, at(t)), difference, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("source", "target"), list(itertools.product(KINDS, KINDS)))
@pytest.mark.parametrize("name", sorted(PATHS))
def test_round_trip(name, source, target, ends):
    path = PATHS[name]
    for t in INNER:
        x, value = path.interpolate(*ends, at(t)), ends[0] + ends[1]
        there = path.convert(value, x, at(t), source, target)
        back = path.convert(there, x, at(t), target, source)
        torch.testing.assert_close(back, value, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("t", INNER)
@pytest.mark.parametrize("name", sorted(PATHS))
def test_true_velocity_gives_the_true_ends(name, t, ends):
    path = PATHS[name]
    x, v = path.interpolate(*ends, at(t)), path.velocity(*ends, at(t))
    torch.testing.assert_close(path.convert(v, x, at(t), "velocity", "noise"), ends[0], rtol=0, atol=1e-9)
    torch.testing.assert_close(path.convert(v, x, at(t), "velocity", "data"), ends[1], rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", sorted(PATHS))
def test_score_of_gaussian_data(name):
    """For data N(0, q^2), x_t is N(0, alpha^2 q^2 + sigma^2) and its score is -x over that variance."""
    path, spread, x = PATHS[name], 0.7, torch.linspace(-2, 2, 7, dtype=torch.float64)[:, None]
    for t in INNER:
        c = path.at(at(t))
        variance = c.alpha**2 * spread**2 + c.sigma**2
        data = c.alpha * spread**2 / variance * x
        torch.testing.assert_close(path.convert(data, x, at(t), "data", "score"), -x / variance, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name", sorted(PATHS))
def test_ends_that_are_determined(name, ends):
    path, x = PATHS[name], ends[0]
    # At t = 1 a finite score says that no noise is left, whatever the path.
    data = path.convert(ends[1], x, at(1.0), "score", "data")
    torch.testing.assert_close(data, x, rtol=0, atol=1e-12)
    assert torch.isfinite(path.convert(ends[1], x, at(1.0), "score", "velocity")).all()
    for t in (0.0, 1.0):
        assert torch.isfinite(path.convert(ends[1], x, at(t), "velocity", "data")).all()
        assert torch.isfinite(path.convert(ends[1], x, at(t), "velocity", "noise")).all()


def test_data_and_noise_give_the_velocity_at_the_other_end(ends):
    x0, x1 = ends
    torch.testing.assert_close(LINEAR.convert(x1, x0, at(0.0), "data", "velocity"), x1 - x0)
    torch.testing.assert_close(LINEAR.convert(x0, x1, at(1.0), "noise", "velocity"), x1 - x0)
    torch.testing.assert_close(COSINE.convert(x1, x0, at(0.0), "data", "velocity"), x1 * math.pi / 2)


@pytest.mark.parametrize(
    ("path", "source", "target", "t", "reason"),
    [
        (LINEAR, "velocity", "score", 1.0, "sigma = 0"),
        (LINEAR, "data", "velocity", 1.0, "sigma = 0"),
        (COSINE, "data", "noise", 1.0, "sigma = 0"),
        (VP, "noise", "score", 1.0, "sigma = 0"),
        (LINEAR, "noise", "velocity", 0.0, "alpha = 0"),
        (COSINE, "score", "data", 0.0, "alpha = 0"),
        (VP, "noise", "velocity", 1.0, "infinite"),
    ],
)
def test_ends_that_are_not_determined_are_refused(path, source, target, t, reason, ends):
    with pytest.raises(ValueError, match=reason):
        path.convert(ends[0], ends[1], at(t), source, target)


@pytest.mark.parametrize("name", sorted(PATHS))
def test_one_time_for_each_sample(name, ends):
    path, t = PATHS[name], torch.tensor([0.1, 0.4, 0.6, 0.9], dtype=torch.float64)
    together = path.interpolate(*ends, t)
    for i in range(4):
        torch.testing.assert_close(together[i : i + 1], path.interpolate(*ends[:, i : i + 1], t[i]), rtol=0, atol=1e-15)
    with pytest.raises(ValueError, match="one number per sample"):
        path.interpolate(*ends, t[:3])


@pytest.mark.parametrize("name", sorted(PATHS))
def test_paths_start_at_noise_and_end_at_data(name, ends):
    path = PATHS[name]
    torch.testing.assert_close(path.interpolate(*ends, at(1.0)), ends[1], rtol=0, atol=0)
    tolerance = 0.03 if path is VP else 0.0  # alpha(0) = 0.0066: the VP path does not quite reach pure noise
    torch.testing.assert_close(path.interpolate(*ends, at(0.0)), ends[0], rtol=0, atol=tolerance)
