"""The built-in image codec: shapes, statistics, strict loading, and that the shipped one shows what it was given."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from modalities.codecs.image_autoencoder import ImageAutoencoder, ImageAutoencoderConfig, load, reconstruction_loss
from modalities.contracts import CheckpointError, Codec
from modalities.weights import description

SHIPPED = Path(description.__file__).parent / "image"


def small(seed: int = 0) -> ImageAutoencoder:
    torch.manual_seed(seed)
    return ImageAutoencoder(ImageAutoencoderConfig(width=(8, 8), encoder_blocks=(1, 1), decoder_blocks=(1, 1))).eval()


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("size", [(64, 64), (32, 80), (4, 12)])
def test_any_size_that_four_divides_goes_there_and_back(size: tuple[int, int]) -> None:
    codec = small()
    assert isinstance(codec, Codec)
    with torch.no_grad():
        latents = codec.encode(noise(2, 3, *size))
        media = codec.decode(latents)
    assert latents.shape == (2, 4, size[0] // 4, size[1] // 4)
    assert media.shape == (2, 3, *size)
    assert media.abs().max() <= 1


def test_a_sample_does_not_depend_on_its_batch_mates() -> None:
    codec, media = small(), noise(5, 3, 16, 16)
    with torch.no_grad():
        whole = codec.encode(media)
        alone = torch.cat([codec.encode(media[i : i + 1]) for i in range(5)])
        assert torch.equal(codec.encode(media), whole)
    assert torch.allclose(whole, alone, atol=1e-5)


def test_latents_have_unit_variance_after_normalising_and_decode_undoes_it() -> None:
    codec, media = small(), noise(16, 3, 16, 16)
    with torch.no_grad():
        before = codec.raw_decode(codec.raw_latents(media)).clamp(-1, 1)
        codec.normalise_by(media)
        latents = codec.encode(media)
        after = codec.decode(latents)
    assert latents.mean(dim=(0, 2, 3)) == pytest.approx([0] * 4, abs=1e-4)
    assert latents.std(dim=(0, 2, 3)) == pytest.approx([1] * 4, abs=1e-3)
    assert torch.allclose(before, after, atol=1e-4)


def test_wrong_shapes_are_refused_with_the_right_one() -> None:
    with pytest.raises(ValueError, match="divisible by 4"):
        small().encode(torch.zeros(1, 3, 30, 32))
    with pytest.raises(ValueError, match=r"\[B, 3, H, W\]"):
        small().encode(torch.zeros(1, 1, 32, 32))
    with pytest.raises(ValueError, match=r"\[B, 4, h, w\]"):
        small().decode(torch.zeros(1, 3, 8, 8))


def test_reconstruction_loss_counts_errors_and_edges() -> None:
    target = torch.zeros(1, 3, 4, 4)
    assert float(reconstruction_loss(target, target)) == 0
    assert float(reconstruction_loss(target + 0.5, target)) == pytest.approx(0.5), "no edge differs"
    stripes = target.clone()
    stripes[..., ::2] = 1
    assert float(reconstruction_loss(stripes, target)) == pytest.approx(0.5 + 1.0)


def test_saved_weights_are_loaded_strictly(tmp_path: Path) -> None:
    codec, path = small(3), tmp_path / "codec.safetensors"
    codec.mean.fill_(0.25)
    tensors = {name: value.half() for name, value in codec.state_dict().items()}
    save_file(tensors, path)
    spec = {"kind": "image-autoencoder", "file": str(path), "config": codec.config.to_mapping()}
    found = load(spec, "cpu", torch.bfloat16)
    assert not found.training
    for name, value in found.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, tensors[name].float())
    with pytest.raises(CheckpointError, match=r"codec\.safetensors"):
        load({**spec, "config": {"width": [8, 16]}}, "cpu", torch.float32)
    with pytest.raises(CheckpointError, match=r"gone\.safetensors"):
        load({**spec, "file": str(tmp_path / "gone.safetensors")}, "cpu", torch.float32)
    with pytest.raises(ValueError, match="unknown widht"):
        load({**spec, "config": {"widht": [8, 16]}}, "cpu", torch.float32)
    with pytest.raises(ValueError, match="unknown weights"):
        load({**spec, "weights": 1}, "cpu", torch.float32)


def test_the_shipped_codec_gives_a_drawn_picture_back() -> None:
    described = description.describe(SHIPPED)
    codec = load(described.codec, "cpu", torch.float32)
    row, column = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    inside = (row - 30) ** 2 + (column - 34) ** 2 < 18**2
    colours = torch.tensor([[-0.65, -0.25, 0.65], [0.9, 0.2, -0.6]])
    media = colours[inside.long()].permute(2, 0, 1)[None]
    with torch.no_grad():
        latents = codec.encode(media)
        found = codec.decode(latents)
    error = ((found - media) / 2).square().mean()
    assert float(-10 * torch.log10(error)) > 24
    assert 0.3 < float(latents.std()) < 3
