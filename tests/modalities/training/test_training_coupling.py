"""Noise points paired with data points of the same sample."""

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from modalities.training.coupling import CELL, pair_points


def draw(points: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    source = torch.Generator().manual_seed(seed)
    noise = torch.randn((3, 6, points), generator=source)
    data = torch.nn.functional.normalize(torch.randn((3, 6, points), generator=source), dim=1) * 2
    return noise, data


def cost(noise: torch.Tensor, data: torch.Tensor) -> float:
    return float((noise - data)[:, :3].square().sum())


def test_within_a_cell_the_pairing_is_the_optimal_one() -> None:
    noise, data = draw(CELL)
    best = 0.0
    for x, y in zip(noise[:, :3].double().numpy(), data[:, :3].double().numpy(), strict=True):
        distances = np.square(y.T[:, None] - x.T[None]).sum(-1)
        best += float(distances[linear_sum_assignment(distances)].sum())
    assert cost(pair_points(noise, data, 3), data) == pytest.approx(best, rel=1e-5)


@pytest.mark.parametrize("points", [100, 128, 256, 300])
def test_the_noise_is_permuted_and_the_paths_are_short(points: int) -> None:
    noise, data = draw(points)
    paired = pair_points(noise, data, 3)
    for before, after in zip(noise, paired, strict=True):
        assert sorted(map(tuple, before.T.tolist())) == sorted(map(tuple, after.T.tolist()))
    assert cost(paired, data) < 0.35 * cost(noise, data)


def test_a_sample_is_paired_alone_and_its_order_does_not_matter() -> None:
    noise, data = draw(128)
    paired = pair_points(noise, data, 3)
    assert torch.equal(pair_points(noise[1:2], data[1:2], 3), paired[1:2])
    order = torch.randperm(128, generator=torch.Generator().manual_seed(3))
    assert torch.equal(pair_points(noise[..., order], data, 3), paired)


def test_other_channels_take_no_part() -> None:
    noise, data = draw(64)
    other = noise.clone()
    other[:, 3:] = 7
    assert torch.equal(pair_points(other, data, 3)[:, :3], pair_points(noise, data, 3)[:, :3])


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="should both be"):
        pair_points(torch.zeros(1, 6, 4), torch.zeros(1, 6, 5), 3)
    with pytest.raises(ValueError, match="coordinates is 7"):
        pair_points(torch.zeros(1, 6, 4), torch.zeros(1, 6, 4), 7)
