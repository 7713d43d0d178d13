from __future__ import annotations

import pytest
import torch

from modalities.generators.nextdit.config import NextDiTConfig, token_grid
from modalities.generators.nextdit.tokens import pack, patchify, unpack, unpatchify

SHAPES = [((12,), (3,)), ((6, 10), (2, 2)), ((6, 8), (3, 1)), ((4, 6, 10), (1, 3, 2))]


def reorder(tokens: torch.Tensor, channels: int) -> torch.Tensor:
    """Input features (channel, *patch) to output features (*patch, channel)."""
    return tokens.reshape(*tokens.shape[:2], channels, -1).transpose(2, 3).flatten(2)


@pytest.mark.parametrize(("axes", "patch"), SHAPES)
def test_unpatchify_inverts_patchify_but_for_the_order_of_features(axes: tuple[int, ...], patch: tuple[int, ...]):
    x = torch.arange(2 * 3 * torch.tensor(axes).prod()).reshape(2, 3, *axes)
    tokens = patchify(x, patch)
    grid = token_grid(axes, patch)
    assert torch.equal(unpatchify(reorder(tokens, 3), grid, patch), x)
    assert not torch.equal(unpatchify(tokens, grid, patch), x)


def test_tokens_are_in_rows_with_the_channel_slowest():
    x = torch.arange(2 * 2 * 4).reshape(1, 2, 2, 4)
    assert patchify(x, (2, 2))[0].tolist() == [[0, 1, 4, 5, 8, 9, 12, 13], [2, 3, 6, 7, 10, 11, 14, 15]]


def test_packing_pads_and_unpacking_drops_the_pads():
    xs = [torch.randn(3, 4, 6), torch.randn(3, 2, 2), torch.randn(3, 8, 2)]
    config = NextDiTConfig(in_channels=3, learn_sigma=False)
    packed = pack(xs, config)
    assert packed.mask.sum(1).tolist() == [6, 1, 4]
    assert packed.tokens.shape == (3, 6, 12)
    assert packed.tokens[~packed.mask].abs().sum() == 0
    back = unpack(reorder(packed.tokens, 3), packed.grids, config)
    assert all(torch.equal(a, b) for a, b in zip(back, xs, strict=True))


@pytest.mark.parametrize(("axes", "message"), [((5, 4), "not divisible"), ((4,), "1 axes"), ((0, 4), "not divisible")])
def test_sizes_that_do_not_fit_are_refused(axes: tuple[int, ...], message: str):
    with pytest.raises(ValueError, match=message):
        token_grid(axes, (2, 2))
