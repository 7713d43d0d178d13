"""What every sampler keeps besides its order: types, callbacks, independence of batch mates, refusals."""

from __future__ import annotations

import pytest
import torch

from modalities import catalog
from modalities.flow import samplers, schedules
from modalities.flow.poisson_midpoint import overdamped, poisson_midpoint, reverse_diffusion

NAMES = sorted(catalog.samplers_of("nextdit"))


def velocity(x, t):
    return torch.tanh(x) * torch.cos(3 * t) - 0.3 * x


def call(name, velocity, x, ts, seeds=None, **options):
    """Run a sampler as the generator does: noise from each sample's own generator, adaptive ones sample by sample."""
    sampler, facts = catalog.resolve("sampler", name), catalog.SAMPLERS[name].facts
    if facts.get("stochastic"):
        generators = [torch.Generator().manual_seed(seed) for seed in (seeds or range(len(x)))]
        options["noise"] = lambda: torch.stack([torch.randn(x.shape[1:], generator=g) for g in generators]).to(x.dtype)
    if facts.get("adaptive"):
        return samplers.one_by_one(sampler, [velocity] * len(x), x, ts, **options)
    return sampler(velocity, x, ts, **options)


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_does_not_depend_on_its_batch_mates(name):
    x = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(0)) * torch.logspace(-1, 1, 5)[:, None, None]
    ts = schedules.shifted(6)
    together = call(name, velocity, x, ts)
    for i in range(5):
        assert torch.equal(together[i : i + 1], call(name, velocity, x[i : i + 1], ts, seeds=[i]))
    reversed_order = call(name, velocity, x.flip(0), ts, seeds=[4, 3, 2, 1, 0])
    assert torch.equal(together, reversed_order.flip(0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("name", NAMES)
def test_state_keeps_its_type_and_the_input_is_not_written(name, dtype):
    x = torch.ones(2, 3, dtype=dtype)
    seen = set()

    def typed(x, t):
        seen.add((x.dtype, t.ndim))
        return velocity(x, t)

    options = {"rtol": 0.1, "atol": 0.1} if name == "dopri5" else {}
    result = call(name, typed, x, schedules.uniform(4), **options)
    assert result.dtype == dtype
    assert seen == {(dtype, 0)}
    assert torch.equal(x, torch.ones(2, 3, dtype=dtype))


@pytest.mark.parametrize("name", NAMES)
def test_callback_follows_the_grid_to_its_end(name):
    reached = []
    x = torch.ones(1, 3, dtype=torch.float64)
    ts = schedules.shifted(5)
    result = call(name, velocity, x, ts, callback=lambda step, t, x: reached.append((step, float(t), x)))
    assert [step for step, _, _ in reached] == list(range(len(reached)))
    assert torch.equal(reached[-1][2], result)
    if name == "dopri5":
        assert reached[-1][1] == 1.0
    else:
        assert [t for _, t, _ in reached] == ts[1:].tolist()


@pytest.mark.parametrize(("name", "per_step"), [("euler", 1), ("midpoint", 2), ("heun", 2), ("rk4", 4), ("rk4-38", 4)])
def test_evaluations_are_those_of_the_catalog(name, per_step):
    times = []
    call(name, lambda x, t: (times.append(float(t)), velocity(x, t))[1], torch.ones(1, 2), schedules.uniform(3))
    assert len(times) == 3 * per_step == 3 * catalog.SAMPLERS[name].facts["evaluations"]
    assert all(0 <= t <= 1 for t in times)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ts", [[0.0], [0.0, 0.5, 0.5, 1.0], [1.0, 0.0], [[0.0, 1.0]]])
def test_grids_that_do_not_rise_are_refused(name, ts):
    with pytest.raises(ValueError, match="time grid"):
        call(name, velocity, torch.ones(1, 2), torch.tensor(ts, dtype=torch.float64))


@pytest.mark.parametrize("name", NAMES)
def test_from_an_earlier_result(name):
    x = torch.full((1, 2), 0.5)
    result = call(name, velocity, x, schedules.truncate(schedules.uniform(10), 0.37))
    assert torch.isfinite(result).all()


def test_dopri5_refuses_a_batch_and_says_what_to_do():
    with pytest.raises(ValueError, match="one_by_one"):
        samplers.dopri5(velocity, torch.ones(2, 3), schedules.uniform(4))


def test_dopri5_says_where_it_stopped():
    with pytest.raises(ValueError, match="3 trial steps reached only t ="):
        samplers.dopri5(velocity, torch.ones(1, 3), schedules.uniform(50), rtol=1e-12, atol=1e-12, max_steps=3)
    with pytest.raises(ValueError, match="not finite"):
        samplers.dopri5(lambda x, t: x / (t - t), torch.ones(1, 3), schedules.uniform(4))
    with pytest.raises(ValueError, match="atol > 0"):
        samplers.dopri5(velocity, torch.ones(1, 3), schedules.uniform(4), atol=0.0)


def test_dopri5_crosses_a_jump_in_the_velocity():
    """Guidance intervals and the watershed switch make velocities that jump; the controller must get over them."""
    result = samplers.dopri5(
        lambda x, t: torch.ones_like(x) * (1.0 if float(t) < 0.3 else 5.0),
        torch.zeros(1, 1, dtype=torch.float64),
        schedules.uniform(10),
        rtol=1e-6,
        atol=1e-6,
    )
    assert abs(float(result) - (0.3 + 0.7 * 5)) < 1e-3


def test_one_by_one_wants_a_velocity_for_each_sample():
    with pytest.raises(ValueError, match="2 samples need as many"):
        samplers.one_by_one(samplers.euler, [velocity], torch.ones(2, 3), schedules.uniform(4))


def test_euler_maruyama_options():
    x = torch.ones(1, 2)
    with pytest.raises(ValueError, match="unknown diffusion `constant`"):
        samplers.euler_maruyama(velocity, x, schedules.uniform(4), noise=lambda: x, diffusion="constant")
    with pytest.raises(ValueError, match="scale"):
        samplers.euler_maruyama(velocity, x, schedules.uniform(4), noise=lambda: x, scale=-1.0)


def test_poisson_midpoint_evaluates_the_chosen_samples_alone():
    """N steps cost (N - 1) (2 - 1/K) + 1 evaluations of a sample on average; rows are asked for by number."""
    count, steps, k, seen = 600, 5, 8, []
    source = torch.Generator().manual_seed(0)
    x = torch.randn(count, 9, generator=source)

    def rows(chosen):
        assert sorted(set(chosen)) == list(chosen)
        seen.append(len(chosen))
        return lambda x, t: velocity(x, t) + torch.tensor(chosen)[:, None] / count

    whole = rows(range(count))
    result = poisson_midpoint(
        lambda x, t: (seen.append(len(x)), whole(x, t))[1],
        x,
        schedules.uniform(steps),
        noise=lambda: torch.randn(count, 9, generator=source),
        rows=rows,
        k=k,
    )
    assert torch.isfinite(result).all()
    assert sum(seen[1:]) / count == pytest.approx((steps - 1) * (2 - 1 / k) + 1, abs=0.2)


def test_poisson_midpoint_options():
    x = torch.ones(1, 2)
    for name, options in {
        "k must be a whole number": {"k": 0},
        "unknown diffusion `none`": {"diffusion": "none"},
        "scale must be at least 0": {"scale": -1.0},
    }.items():
        with pytest.raises(ValueError, match=name):
            poisson_midpoint(velocity, x, schedules.uniform(4), noise=lambda: x, **options)
    with pytest.raises(ValueError, match="step must be more than 0"):
        overdamped(lambda x: -x, x, step=0.0, blocks=1, k=4, noise=lambda: x)
    with pytest.raises(ValueError, match="alpha-bar"):
        reverse_diffusion(lambda x, level: x, x, torch.tensor([0.5, 0.6]), k=4, noise=lambda: x)
