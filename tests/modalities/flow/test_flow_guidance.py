from __future__ import annotations

import pytest
import torch

from modalities.contracts import Guidance
from modalities.flow.guidance import VelocityPair, guide


class Network:
    """A small real velocity under two conditions, which counts the rows it is asked for."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def positive(self, x, t):
        self.rows.append(len(x))
        return x * (1 + t) + 1

    def negative(self, x, t):
        return torch.sin(x) - t

    def both(self, x, t):
        self.rows.append(len(x))
        first, second = x.chunk(2)
        return torch.cat([first * (1 + t) + 1, self.negative(second, t)])


@pytest.fixture
def network():
    return Network()


@pytest.fixture
def x():
    return torch.randn(3, 4, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


def pair(network: Network) -> VelocityPair:
    return VelocityPair(positive=network.positive, both=network.both)


T = torch.tensor(0.5, dtype=torch.float64)


def test_guided_velocity(network, x):
    v = guide(pair(network), Guidance(scale=3.0))(x, T)
    positive, negative = network.positive(x, T), network.negative(x, T)
    torch.testing.assert_close(v, negative + 3 * (positive - negative))
    assert network.rows[0] == 6  # one evaluation of both


@pytest.mark.parametrize("scale", [1.0])
def test_scale_one_never_evaluates_the_negative(network, x, scale):
    v = guide(pair(network), Guidance(scale=scale))(x, T)
    assert network.rows == [3]
    assert torch.equal(v, network.positive(x, T))


def test_scale_zero_is_the_negative(network, x):
    torch.testing.assert_close(guide(pair(network), Guidance(scale=0.0))(x, T), network.negative(x, T))


def test_without_a_negative_there_is_nothing_to_guide_with(network, x):
    v = guide(VelocityPair(positive=network.positive), Guidance(scale=5.0))(x, T)
    assert torch.equal(v, network.positive(x, T))


@pytest.mark.parametrize(("t", "rows"), [(0.1, 3), (0.2, 6), (0.5, 6), (0.8, 6), (0.81, 3)])
def test_interval_holds_its_ends(network, x, t, rows):
    guide(pair(network), Guidance(scale=2.0, interval=(0.2, 0.8)))(x, torch.tensor(t, dtype=torch.float64))
    assert network.rows == [rows]


def test_channels_beyond_the_guided_ones_are_positive(network, x):
    v = guide(pair(network), Guidance(scale=4.0, channels=3))(x, T)
    full = guide(pair(network), Guidance(scale=4.0))(x, T)
    assert torch.equal(v[:, :3], full[:, :3])
    assert torch.equal(v[:, 3:], network.positive(x, T)[:, 3:])
    assert torch.equal(guide(pair(network), Guidance(scale=4.0, channels=4))(x, T), full)


@pytest.mark.parametrize(
    ("guidance", "word"),
    [
        (Guidance(scale=float("nan")), "scale"),
        (Guidance(interval=(0.6, 0.4)), "interval"),
        (Guidance(interval=(-0.1, 0.4)), "interval"),
        (Guidance(channels=0), "channels"),
    ],
)
def test_wrong_guidance_is_refused_before_sampling(network, guidance, word):
    with pytest.raises(ValueError, match=word):
        guide(pair(network), guidance)


def test_more_channels_than_there_are(network, x):
    with pytest.raises(ValueError, match="4"):
        guide(pair(network), Guidance(scale=2.0, channels=5))(x, T)
