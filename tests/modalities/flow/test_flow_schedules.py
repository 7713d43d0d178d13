from __future__ import annotations

import pytest
import torch

from modalities import catalog
from modalities.flow import schedules

OPTIONS = {"resolution-shifted": {"tokens": 4096, "trained_tokens": 1024}}


@pytest.mark.parametrize("name", sorted(catalog.SCHEDULES))
@pytest.mark.parametrize("steps", [1, 2, 5, 20, 250])
def test_grids_rise_strictly_from_noise_to_data(name, steps):
    ts = catalog.resolve("schedule", name)(steps, **OPTIONS.get(name, {}))
    assert ts.dtype == torch.float64
    assert ts.shape == (steps + 1,)
    assert ts[0] == 0
    assert ts[-1] == 1
    assert (ts[1:] > ts[:-1]).all()


def test_shifted_has_lumina_numbers():
    # Ten points, shift 4: 0, .0303, .0667, .1111, ... .4667, .6667, 1.
    ts = schedules.shifted(9, shift=4.0)
    expected = torch.tensor([0, 0.0303, 0.0667, 0.1111], dtype=torch.float64)
    torch.testing.assert_close(ts[:4], expected, rtol=0, atol=5e-5)
    torch.testing.assert_close(ts[-3:-1], torch.tensor([0.4667, 0.6667], dtype=torch.float64), rtol=0, atol=5e-5)


def test_shifts_compose_by_multiplication():
    once = schedules.shifted(12, shift=6.0)
    twice = schedules.shifted(12, shift=2.0)
    torch.testing.assert_close(once, twice / (twice + 3 * (1 - twice)), rtol=0, atol=1e-15)


def test_resolution_shift_is_the_root_of_the_token_ratio():
    torch.testing.assert_close(
        schedules.resolution_shifted(8, tokens=4096, trained_tokens=1024, shift=3.0), schedules.shifted(8, shift=6.0)
    )
    torch.testing.assert_close(
        schedules.resolution_shifted(8, tokens=256, trained_tokens=256), schedules.shifted(8, shift=4.0)
    )


def test_resolution_shift_keeps_the_noise_of_an_averaged_picture():
    """Averaging m values of x_t = t x1 + (1 - t) x0 divides the noise by sqrt(m): sigma/alpha at s t equals it."""
    t = schedules.uniform(10)[1:-1]
    fine = schedules.resolution_shifted(10, tokens=4 * 256, trained_tokens=256, shift=1.0)[1:-1]
    torch.testing.assert_close((1 - fine) / fine / 2, (1 - t) / t)


def test_sigmoid_and_rational_are_fine_near_the_noise():
    for ts in (schedules.sigmoid(10), schedules.rational(10)):
        sizes = ts[1:] - ts[:-1]
        assert sizes[0] < 0.3 * sizes.max()
        assert sizes[-1] < sizes.max()


def test_rational_with_power_one_is_shifted():
    torch.testing.assert_close(schedules.rational(7, power=1.0, shift=3.0), schedules.shifted(7, shift=3.0))


def test_a_finer_sigmoid_grid_holds_the_coarser_one():
    torch.testing.assert_close(schedules.sigmoid(20)[::2], schedules.sigmoid(10), rtol=0, atol=1e-6)


def test_truncate_keeps_the_times_after_the_start():
    ts = schedules.uniform(10)
    assert torch.equal(schedules.truncate(ts, 0.0), ts)
    cut = schedules.truncate(ts, 0.42)
    assert cut[0] == 0.42
    assert torch.equal(cut[1:], ts[5:])
    on_the_grid = schedules.truncate(ts, float(ts[5]))
    assert torch.equal(on_the_grid, ts[5:])
    assert len(schedules.truncate(ts, 0.999)) == 2
    for start in (-0.1, 1.0):
        with pytest.raises(ValueError, match="start"):
            schedules.truncate(ts, start)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: schedules.uniform(0), "steps"),
        (lambda: schedules.shifted(4, shift=0.0), "shift"),
        (lambda: schedules.shifted(4, shift=float("inf")), "shift"),
        (lambda: schedules.resolution_shifted(4, tokens=0, trained_tokens=4), "tokens"),
        (lambda: schedules.sigmoid(4, beta=-1.0), "beta"),
        (lambda: schedules.rational(4, power=0.5), "power"),
    ],
)
def test_wrong_options_are_named(call, word):
    with pytest.raises(ValueError, match=word):
        call()
