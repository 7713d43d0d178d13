from __future__ import annotations

import pytest
import torch

from modalities.generators.nextdit.rope import (
    exponents,
    grid_positions,
    pad_tables,
    pair_axes,
    rope_table,
    rotate,
    trained_frequencies,
)


def test_two_axes_are_interleaved_pair_by_pair_with_exponents_4i_over_d():
    d = 72
    assert pair_axes(d, 2).tolist() == [0, 1] * (d // 4)
    i = torch.arange(d // 4, dtype=torch.float64)
    torch.testing.assert_close(exponents(d, 2)[0::2], 4 * i / d)
    torch.testing.assert_close(exponents(d, 2)[1::2], 4 * i / d)


def test_three_axes_have_the_exponents_6i_over_d_of_the_paper():
    i = torch.arange(8, dtype=torch.float64)
    for axis in range(3):
        torch.testing.assert_close(exponents(48, 3)[axis::3], 6 * i / 48)


def test_one_axis_is_the_rotary_embedding_of_language_models():
    i = torch.arange(16, dtype=torch.float64)
    torch.testing.assert_close(trained_frequencies(32, 1, 10000.0), 10000.0 ** (-2 * i / 32))


@pytest.mark.parametrize(("axes", "head_dim"), [(1, 6), (2, 10), (3, 16), (3, 32)])
def test_pairs_that_the_axes_do_not_divide_go_to_the_first_axes(axes: int, head_dim: int):
    counts = torch.bincount(pair_axes(head_dim, axes), minlength=axes).tolist()
    assert sum(counts) == head_dim // 2
    assert counts == sorted(counts, reverse=True)
    assert counts[0] - counts[-1] <= 1


@pytest.mark.parametrize(("grid", "head_dim"), [((9,), 16), ((5, 7), 24), ((3, 4, 2), 32)])
def test_rotation_keeps_norms_and_depends_on_relative_positions_only(grid: tuple[int, ...], head_dim: int):
    source = torch.Generator().manual_seed(0)
    positions = grid_positions(grid)
    frequencies = trained_frequencies(head_dim, len(grid), 100.0)
    q = torch.randn(1, len(positions), 2, head_dim, generator=source)
    k = torch.randn(1, len(positions), 2, head_dim, generator=source)
    here = rope_table(frequencies, positions)
    shifted = rope_table(frequencies, positions + torch.tensor([3.0, 11.0, 5.0][: len(grid)]))
    torch.testing.assert_close(rotate(q, here).norm(dim=-1), q.norm(dim=-1), atol=1e-5, rtol=1e-5)
    scores = torch.einsum("bnhd,bmhd->bhnm", rotate(q, here), rotate(k, here))
    moved = torch.einsum("bnhd,bmhd->bhnm", rotate(q, shifted), rotate(k, shifted))
    torch.testing.assert_close(scores, moved, atol=1e-4, rtol=1e-4)
    still = torch.einsum("bnhd,bmhd->bhnm", q, k)
    assert (scores - still).abs().max() > 0.1


def test_every_axis_moves_the_scores():
    q = torch.randn(1, 1, 1, 24, generator=torch.Generator().manual_seed(1))
    frequencies = trained_frequencies(24, 3, 10000.0)
    origin = rotate(q, rope_table(frequencies, torch.zeros(1, 3, dtype=torch.float64)))
    for axis in range(3):
        moved = rotate(q, rope_table(frequencies, torch.eye(3, dtype=torch.float64)[axis : axis + 1]))
        assert (moved - origin).abs().max() > 1e-2


def test_pooled_positions_are_the_means_of_their_windows():
    pooled = grid_positions((5, 4), (2, 2))
    assert pooled.tolist() == [[0.5, 0.5], [0.5, 2.5], [2.5, 0.5], [2.5, 2.5], [4.0, 0.5], [4.0, 2.5]]


def test_pads_repeat_the_last_real_position():
    frequencies = trained_frequencies(8, 1, 10000.0)
    long, short = rope_table(frequencies, grid_positions((5,))), rope_table(frequencies, grid_positions((2,)))
    both = pad_tables([long, short])
    assert both.cos.shape == (2, 5, 4)
    torch.testing.assert_close(both.sin[1, 1:], short.sin[0, 1:].expand(4, -1))
