"""The codec of coloured points."""

import pytest
import torch

from modalities.catalog import resolve
from modalities.codecs.points import Points, PointsConfig, load
from modalities.contracts import Codec


def cloud(seed: int, points: int = 50) -> torch.Tensor:
    return torch.rand((2, 6, points), generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_what_is_encoded_is_decoded() -> None:
    codec = load({"kind": "points"}, "cpu", torch.float32)
    assert isinstance(codec, Codec)
    assert resolve("codec", "points") is load
    media = cloud(0)
    torch.testing.assert_close(codec.decode(codec.encode(media)), media)


def test_coordinates_keep_their_proportions_and_variance_becomes_one() -> None:
    codec = Points(PointsConfig(coordinate_mean=0.1, coordinate_scale=0.5, colour_mean=-0.2, colour_scale=0.25))
    media = torch.stack([torch.full((4,), v) for v in (0.6, 0.1, -0.4, 0.05, -0.2, -0.45)])[None]
    expected = torch.tensor([1.0, 0.0, -1.0, 1.0, 0.0, -1.0])
    torch.testing.assert_close(codec.encode(media)[0, :, 0], expected)


def test_decoding_clamps_and_does_not_see_batch_mates_or_order() -> None:
    codec = Points(PointsConfig())
    latents = 5 * cloud(1)
    media = codec.decode(latents)
    assert media.abs().max() == 1
    order = torch.randperm(50, generator=torch.Generator().manual_seed(2))
    assert torch.equal(codec.decode(latents[..., order]), media[..., order])
    assert torch.equal(codec.decode(latents[1:]), media[1:])


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"kind": "points", "file": "x"}, "unknown file; it takes config"),
        ({"kind": "points", "config": {"scale": 1}}, "unknown scale; known: colour_mean"),
        ({"kind": "points", "config": {"colour_scale": 0}}, "scales must be above 0"),
    ],
)
def test_a_wrong_description_is_refused(spec: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(spec, "cpu", torch.float32)


def test_a_wrong_number_of_channels_is_refused() -> None:
    with pytest.raises(ValueError, match=r"should be \[B, 6, N\], not \[1, 3, 5\]"):
        Points(PointsConfig()).decode(torch.zeros(1, 3, 5))
