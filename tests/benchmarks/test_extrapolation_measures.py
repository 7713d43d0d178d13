"""The measures of the extrapolation benchmark on pictures whose answer is known."""

from __future__ import annotations

import torch
from extrapolation import chosen_prompts, foreground, laplacian, objects, reduced, ways
from extrapolation_page import score

from modalities import catalog


def blocks(*boxes: tuple[int, int, int, int], side: int = 64) -> torch.Tensor:
    picture = torch.full((1, 3, side, side), 0.9)
    for top, left, bottom, right in boxes:
        picture[:, :, top:bottom, left:right] = torch.tensor([0.8, 0.1, 0.1])[:, None, None]
    return picture


def test_objects_are_connected_regions_of_some_size():
    one = blocks((10, 10, 40, 40))
    two = blocks((10, 10, 30, 30), (35, 35, 55, 55))
    touching = blocks((10, 10, 30, 30), (30, 30, 50, 50))
    speck = blocks((10, 10, 40, 40), (60, 4, 61, 6))
    pictures = torch.cat([one, two, touching, speck, blocks()])
    assert objects(foreground(pictures)).tolist() == [1, 2, 1, 1, 0]


def test_a_long_winding_object_is_one():
    snake = blocks((4, 4, 8, 60), (8, 56, 20, 60), (16, 4, 20, 60), (20, 4, 32, 8), (28, 4, 32, 60))
    assert objects(foreground(snake)).tolist() == [1]


def test_counts_do_not_depend_on_the_size_of_the_picture():
    two = blocks((10, 10, 30, 30), (35, 35, 55, 55))
    large = torch.nn.functional.interpolate(two, scale_factor=2, mode="nearest")
    assert objects(foreground(large)).tolist() == [2]
    torch.testing.assert_close(reduced(large, 64), two, rtol=0, atol=0.5)


def test_detail_falls_with_blur():
    sharp = blocks((10, 10, 40, 40))
    soft = torch.nn.functional.avg_pool2d(sharp, 5, 1, 2, count_include_pad=False)
    assert float(laplacian(soft)) < float(laplacian(sharp))


def test_every_method_is_compared_from_noise_and_from_an_earlier_result():
    compared = ways()
    assert {way.extrapolation.method for way in compared if way.strength == 1} == set(catalog.EXTRAPOLATIONS)
    assert {way.extrapolation.method for way in compared if way.strength == 0.6} == set(catalog.EXTRAPOLATIONS)
    assert any(way.extrapolation.proportional_attention for way in compared)
    assert any(way.extrapolation.context_drop for way in compared)
    assert len({way.name for way in compared}) == len(compared)


def test_chosen_prompts_ask_for_one_thing_in_several_languages():
    prompts = chosen_prompts(8)
    assert len({prompt.id for prompt in prompts}) == 8
    assert all(prompt.count == 1 for prompt in prompts)
    assert len({prompt.language for prompt in prompts}) >= 6


def test_ways_are_ordered_by_what_follows_and_is_not_repeated():
    good = {"follows": 0.9, "repeated": 0.1, "coverage": 1.2, "detail": 1.0}
    repeated = {"follows": 1.0, "repeated": 0.5, "coverage": 1.0, "detail": 2.0}
    small = {"follows": 0.9, "repeated": 0.1, "coverage": 0.5, "detail": 1.0}
    assert score(good) > score(repeated)
    assert score(good) > score(small)
