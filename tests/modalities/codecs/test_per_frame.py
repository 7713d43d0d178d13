"""The codec of pictures on every frame: shapes, independence of the other frames, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from modalities.codecs import per_frame
from modalities.codecs.image_autoencoder import ImageAutoencoder, ImageAutoencoderConfig
from modalities.codecs.per_frame import PerFrame, load
from modalities.contracts import Codec


def inner() -> ImageAutoencoder:
    torch.manual_seed(0)
    config = ImageAutoencoderConfig(width=(8, 8), encoder_blocks=(1, 1), decoder_blocks=(1, 1))
    return ImageAutoencoder(config).eval().requires_grad_(False)


def clips(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("frames", [1, 5, 40])
def test_every_frame_is_what_the_inner_codec_makes_of_it(frames: int) -> None:
    codec, media = PerFrame(inner()), clips(2, 3, frames, 16, 24)
    assert isinstance(codec, Codec)
    assert (codec.stride, codec.channels) == ((1, 4, 4), 4)
    latents = codec.encode(media)
    assert latents.shape == (2, 4, frames, 4, 6)
    back = codec.decode(latents)
    assert back.shape == media.shape
    for i in (0, frames - 1):
        assert torch.allclose(latents[:, :, i], codec.inner.encode(media[:, :, i]), atol=1e-5)
        assert torch.allclose(back[:, :, i], codec.inner.decode(latents[:, :, i]), atol=1e-5)


def test_a_sample_is_the_same_bytes_with_any_batch_mates() -> None:
    codec, media = PerFrame(inner()), clips(3, 3, 20, 16, 16)
    latents = codec.encode(media)
    assert torch.equal(codec.encode(media[1:2]), latents[1:2])
    assert torch.equal(codec.decode(latents[2:]), codec.decode(latents)[2:])


def test_few_frames_are_in_memory_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    codec, sizes = PerFrame(inner()), []
    encode = codec.inner.encode
    monkeypatch.setattr(codec.inner, "encode", lambda media: sizes.append(len(media)) or encode(media))
    codec.encode(clips(1, 3, 40, 16, 16))
    assert sizes == [16, 16, 8]
    sizes.clear()
    monkeypatch.setattr(per_frame, "MOST_PIXELS", 3 * 256 + 1)
    codec.encode(clips(1, 3, 7, 16, 16))
    assert sizes == [3, 3, 1]
    monkeypatch.setattr(per_frame, "MOST_PIXELS", 1)
    codec.encode(clips(1, 3, 2, 16, 16))
    assert sizes[-2:] == [1, 1]


@pytest.mark.parametrize("shape", [(1, 3, 16, 16), (1, 1, 2, 16, 16), (1, 3, 0, 16, 16), (1, 3, 2, 15, 16)])
def test_what_is_no_video_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\[B, 3, "):
        PerFrame(inner()).encode(clips(*shape))
    with pytest.raises(ValueError, match="latents of a per-frame codec"):
        PerFrame(inner()).decode(clips(1, 3, 2, 4, 4))


def test_a_codec_of_other_axes_is_refused() -> None:
    with pytest.raises(ValueError, match="two strides"):
        PerFrame(PerFrame(inner()))


def test_it_loads_the_codec_that_its_description_holds(tmp_path: Path) -> None:
    file = tmp_path / "codec.safetensors"
    save_file(inner().state_dict(), file)
    spec = {"kind": "image-autoencoder", "file": str(file), "config": inner().config.to_mapping()}
    codec = load({"kind": "per-frame", "codec": spec}, "cpu", torch.float32)
    media = clips(1, 3, 2, 8, 8)
    assert torch.equal(codec.encode(media), PerFrame(inner()).encode(media))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({}, "no `codec` with a `kind`"),
        ({"codec": {}}, "no `codec` with a `kind`"),
        ({"codec": {"kind": "image-autoencoder"}, "colour": 1}, "unknown colour"),
        ({"codec": {"kind": "nothing"}}, "unknown codec `nothing`; known: "),
    ],
)
def test_a_wrong_description_is_refused(spec: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load({"kind": "per-frame", **spec}, "cpu", torch.float32)
