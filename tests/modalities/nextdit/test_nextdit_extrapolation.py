from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import log, pi, sqrt

import pytest
import torch

from modalities.contracts import Extrapolation
from modalities.generators.nextdit.extrapolation import (
    METHODS,
    PositionsAt,
    Spectrum,
    attention_factor,
    context_window,
    scales,
)
from modalities.generators.nextdit.layers import pool_tokens
from modalities.generators.nextdit.model import NextDiT
from modalities.generators.nextdit.rope import exponents

SPECTRUM = Spectrum(head_dim=72, theta=10000.0, trained=(64, 64))
OPTIONS = Extrapolation()


def frequencies(
    method: str, scale: tuple[float, ...], t: float = 0.5, options: Extrapolation = OPTIONS
) -> torch.Tensor:
    return METHODS[method](SPECTRUM, scale, t, options)


@pytest.mark.parametrize("method", sorted(METHODS))
@pytest.mark.parametrize("t", [0.0, 0.2, 1.0])
def test_a_scale_of_one_changes_nothing(method: str, t: float):
    torch.testing.assert_close(frequencies(method, (1.0, 1.0), t), SPECTRUM.base())


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"none"}))
@pytest.mark.parametrize("t", [0.0, 0.2, 0.7, 1.0])
def test_every_method_lies_between_the_trained_and_the_interpolated_frequencies(method: str, t: float):
    found = frequencies(method, (2.0, 3.0), t)
    base, interpolated = SPECTRUM.base(), frequencies("position-interpolation", (2.0, 3.0))
    assert (found <= base + 1e-12).all()
    assert (found >= frequencies("ntk-aware", (2.0, 3.0), t) * 0 + interpolated - 1e-12).all() or method == "none"
    assert not torch.equal(found, base)


def test_position_interpolation_keeps_every_position_in_the_trained_range():
    assert torch.equal(frequencies("position-interpolation", (4.0, 4.0)), SPECTRUM.base() / 4)


def test_ntk_multiplies_the_base_as_the_released_code_does():
    torch.testing.assert_close(frequencies("ntk-aware", (1.5, 1.5)), 15000.0 ** -exponents(72, 2))


def test_frequency_aware_interpolates_the_wave_that_spans_the_trained_length_exactly():
    turn = log(64 / (2 * pi), 10000.0)
    spectrum = Spectrum(head_dim=72, theta=10000.0, trained=(64, 64))
    scaled = (10000.0 * 2 ** (1 / turn)) ** -turn
    assert scaled == pytest.approx(10000.0**-turn / 2)
    found, base = frequencies("frequency-aware", (2.0, 2.0)), spectrum.base()
    slow = exponents(72, 2) >= turn
    torch.testing.assert_close(found[slow], base[slow] / 2)
    assert (found[~slow] > base[~slow] / 2 + 1e-9).all()


def test_frequency_aware_interpolates_an_axis_too_short_for_any_wave():
    short = Spectrum(head_dim=32, theta=10000.0, trained=(6, 64))
    found = METHODS["frequency-aware"](short, (2.0, 2.0), 0.5, OPTIONS)
    torch.testing.assert_close(found[0::2], short.base()[0::2] / 2)
    assert found[1] == 1.0


def test_time_aware_runs_from_interpolation_to_ntk():
    scale = (2.0, 2.0)
    start, end = frequencies("time-aware", scale, 0.0), frequencies("time-aware", scale, 1.0)
    interpolated = frequencies("position-interpolation", scale)
    torch.testing.assert_close(start[2:], interpolated[2:])
    assert start[:2].tolist() == [1.0, 1.0]
    torch.testing.assert_close(end, torch.maximum(frequencies("ntk-aware", scale), interpolated))
    middle = [frequencies("time-aware", scale, t / 10) for t in range(11)]
    assert all((later >= earlier - 1e-12).all() for earlier, later in pairwise(middle))


def test_time_aware_is_the_formula_of_the_paper():
    t, s, d = 0.3, 2.0, 72
    base = 10000.0 * s ** (d / ((d - 1) * t + 1))
    wanted = torch.maximum(base ** -exponents(d, 2), SPECTRUM.base() / s)
    torch.testing.assert_close(frequencies("time-aware", (s, s), t), wanted)


def test_the_watershed_switches_at_its_time():
    options = Extrapolation(watershed=0.3)
    before, after = (frequencies("watershed", (2.0, 2.0), t, options) for t in (0.2999, 0.3))
    assert torch.equal(before, frequencies("position-interpolation", (2.0, 2.0)))
    assert torch.equal(after, frequencies("ntk-aware", (2.0, 2.0)))


def test_scales_follow_their_rule():
    assert scales((64, 64), (32, 128), "per-axis") == (1.0, 2.0)
    assert scales((64, 64), (32, 128), "area") == (1.0, 1.0)
    assert scales((64, 64), (128, 128), "area") == (2.0, 2.0)
    assert scales((64, 64), (32, 32), "area") == (1.0, 1.0)
    assert scales((64, 64), (32, 32), "area-always") == (0.5, 0.5)
    with pytest.raises(ValueError, match="per-axis"):
        scales((64, 64), (32, 32), "diagonal")


def test_proportional_attention_is_the_root_of_the_logarithm_and_acts_above_the_trained_size():
    assert attention_factor((64, 64), (128, 128)) == pytest.approx(1.0801234)
    assert attention_factor((64, 64), (64, 64)) == 1.0
    assert attention_factor((64, 64), (32, 32)) == 1.0
    assert attention_factor((64, 64), (32, 32), below=True) == pytest.approx(sqrt(log(1024, 4096)))
    assert attention_factor((1, 1), (4, 4)) == 1.0


def test_context_drop_is_strongest_at_the_noise_and_none_at_the_data():
    windows = [context_window(0.75, t, 2) for t in (0.0, 0.2, 0.4, 1.0)]
    assert windows == [(2, 2), (1, 2), (1, 1), (1, 1)]
    assert context_window(0.0, 0.0, 2) == (1, 1)
    assert context_window(0.9, 0.0, 3) == (2, 2, 2)
    with pytest.raises(ValueError, match="context drop"):
        context_window(1.0, 0.0, 2)


def test_pooling_averages_windows_of_the_grid():
    x = torch.arange(12.0).reshape(1, 12, 1)
    assert pool_tokens(x, ((3, 4), (2, 2))).flatten().tolist() == [2.5, 4.5, 8.5, 10.5]


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_pooling_keeps_the_mean_of_a_constant_on_any_number_of_axes(axes: int):
    grid = (5, 4, 3)[:axes]
    x = torch.full((2, torch.tensor(grid).prod(), 3), 2.0)
    assert pool_tokens(x, (grid, (2,) * axes)).unique().tolist() == [2.0]


def test_tables_that_do_not_depend_on_time_are_made_once(make_model: Callable[..., NextDiT]):
    config = make_model().config
    still = PositionsAt(config, (8, 8), Extrapolation(method="ntk-aware"), "cpu")
    assert still(0.1)[0].query.cos is still(0.9)[0].query.cos
    moving = PositionsAt(config, (8, 8), Extrapolation(method="time-aware"), "cpu")
    assert not torch.equal(moving(0.1)[0].query.cos, moving(0.9)[0].query.cos)
    with pytest.raises(ValueError, match=r"unknown extrapolation `ntk`; known: .*ntk-aware"):
        PositionsAt(config, (8, 8), Extrapolation(method="ntk"), "cpu")
