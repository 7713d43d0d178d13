"""Extrapolation along the one axis of sounds and the three of videos: only an axis that grew is rescaled."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from modalities.contracts import Conditioning, Extrapolation, GenerateOptions
from modalities.generators.nextdit.config import NextDiTConfig
from modalities.generators.nextdit.extrapolation import METHODS, PositionsAt, attention_factor
from modalities.generators.nextdit.generate import NextDiTGenerator
from modalities.generators.nextdit.model import NextDiT
from modalities.generators.nextdit.rope import Rope

MakeModel = Callable[..., NextDiT]
GROWN = {
    "sound, twice as long": ((12,), (24,)),
    "video, twice the frames": ((4, 8, 8), (8, 8, 8)),
    "video, twice the rows and columns": ((4, 8, 8), (4, 16, 16)),
    "video, wider": ((4, 8, 8), (4, 8, 12)),
}


def positions(
    trained: tuple[int, ...], wanted: tuple[int, ...], options: Extrapolation, t: float = 0.5
) -> tuple[Rope, Rope]:
    """Rotary tables of a size under a method, and those of the same size without one."""
    config = NextDiTConfig(patch=(1,) * len(trained), dim=96, heads=4, kv_heads=2, trained_tokens=trained)
    found = [
        PositionsAt(config, wanted, chosen, "cpu")(t)[0].query for chosen in (options, Extrapolation(method="none"))
    ]
    assert found[0] is not None
    assert found[1] is not None
    return found[0], found[1]


@pytest.mark.parametrize("growth", sorted(GROWN))
@pytest.mark.parametrize("method", sorted(set(METHODS) - {"none"}))
def test_only_the_axes_that_grew_are_rescaled(method: str, growth: str):
    trained, wanted = GROWN[growth]
    scaled, plain = positions(trained, wanted, Extrapolation(method=method))
    axes = len(trained)
    for axis in range(axes):
        same = torch.equal(scaled.sin[..., axis::axes], plain.sin[..., axis::axes])
        assert same == (trained[axis] == wanted[axis]), (growth, axis)


@pytest.mark.parametrize("growth", sorted(GROWN))
def test_interpolated_positions_end_where_they_ended_in_training(growth: str):
    trained, wanted = GROWN[growth]
    scaled, _ = positions(trained, wanted, Extrapolation(method="position-interpolation"))
    inside, _ = positions(trained, trained, Extrapolation(method="none"))
    # The slowest wave of each axis turns least, so its sine grows with the position.
    axes = len(trained)
    for axis in range(axes):
        last = scaled.sin[0, :, -axes + axis].max()
        assert last <= inside.sin[0, :, -axes + axis].max() * (1 + 1 / trained[axis]) + 1e-6


@pytest.mark.parametrize(("axes", "size"), [(1, (40,)), (3, (8, 8, 8)), (3, (4, 16, 24))])
@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_generates_along_one_and_three_axes(
    make_model: MakeModel, conditioning: Conditioning, method: str, axes: int, size: tuple[int, ...]
):
    generator = NextDiTGenerator(make_model(axes), (1,) * axes)
    scaled = Extrapolation(method=method, proportional_attention=True, context_drop=0.7)
    options = GenerateOptions(sampler="euler", steps=2, extrapolation=scaled)
    out = generator.generate(conditioning.split()[0], None, size, [1], options)
    assert out.shape == (1, 4, *size)
    assert out.isfinite().all()
    assert out.std() > 0.1


@pytest.mark.parametrize(("axes", "start", "size"), [(1, (10,), (20,)), (3, (2, 4, 4), (4, 8, 4))])
def test_latents_of_a_smaller_size_are_enlarged_and_taken_on(
    make_model: MakeModel, conditioning: Conditioning, axes: int, start: tuple[int, ...], size: tuple[int, ...]
):
    model = make_model(axes)
    with torch.no_grad():
        for parameter in model.final_layer.parameters():
            parameter.zero_()
    options = GenerateOptions(sampler="euler", steps=2, strength=1e-6)
    latents = torch.ones(1, 4, *start)
    out = NextDiTGenerator(model, (1,) * axes).generate(
        conditioning.split()[0], None, size, [1], options, start=latents
    )
    torch.testing.assert_close(out, torch.ones(1, 4, *size), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("axes", "grid"), [(1, (32,)), (3, (4, 8, 8))])
def test_context_drop_merges_windows_of_one_and_three_axes_and_fades(axes: int, grid: tuple[int, ...]):
    config = NextDiTConfig(patch=(1,) * axes, dim=96, heads=4, kv_heads=2, trained_tokens=(4,) * axes)
    at = PositionsAt(config, grid, Extrapolation(context_drop=0.75), "cpu")
    sizes = []
    for t in (0.0, 0.5, 0.9, 1.0):
        found, _ = at(t)
        assert found.query is not None
        assert found.key is not None
        assert found.query.cos.shape[1] == torch.Size(grid).numel()
        sizes.append(found.key.cos.shape[1])
        if found.pool is not None:
            assert found.pool[0] == grid
            assert len(found.pool[1]) == axes
    assert sizes[0] == torch.Size(grid).numel() // 4
    assert sizes == sorted(sizes)
    assert sizes[-1] == torch.Size(grid).numel()


def test_attention_is_sharpened_by_the_number_of_tokens_whatever_the_axes():
    assert attention_factor((4, 8, 8), (8, 8, 8)) == attention_factor((256,), (512,)) > 1
    assert attention_factor((4, 8, 8), (8, 8, 4)) == 1
