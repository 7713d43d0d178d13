"""Video models with codecs of real checkpoints, from folder to media: a picture VAE per frame, a causal video VAE."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from modalities.contracts import GenerateOptions, Guidance
from modalities.weights.described import nearest_length
from modalities.weights.description import DescriptionError, describe
from modalities.weights.loading import load_codec, load_generator, load_text_encoder
from tests.tiny_model import make_tiny_model

CAUSAL: dict[str, Any] = {"kind": "diffusers-video-vae"}
FRAMES: dict[str, Any] = {"kind": "per-frame", "codec": {"kind": "diffusers-vae"}}


def video_model(folder: Path, codec: dict[str, Any], native_size: list[int]) -> Path:
    """A tiny video model whose codec is a tiny random one of diffusers, in its folder as `vae`."""
    make_tiny_model(folder, modality="multi-view")
    values = json.loads((folder / "model.json").read_text())
    values |= {"modality": "video", "codec": codec, "native_size": native_size}
    (folder / "model.json").write_text(json.dumps(values))
    torch.manual_seed(0)
    few = {"block_out_channels": [8, 8, 8, 8], "layers_per_block": 1, "norm_num_groups": 4, "latent_channels": 4}
    if codec is CAUSAL:
        diffusers.AutoencoderKLHunyuanVideo(**few, mid_block_add_attention=False).save_pretrained(folder / "vae")
    else:
        kinds = {"down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4}
        diffusers.AutoencoderKL(**few, **kinds).save_pretrained(folder / "vae")
    return folder


@pytest.mark.parametrize(
    ("codec", "native_size", "size"),
    [(CAUSAL, [13, 32, 32], (17, 32, 48)), (FRAMES, [4, 32, 32], (5, 32, 48))],
    ids=["causal", "per-frame"],
)
def test_a_model_folder_makes_frames(
    tmp_path: Path, codec: dict[str, Any], native_size: list[int], size: tuple[int, ...]
) -> None:
    described = describe(video_model(tmp_path / "model", codec, native_size))
    assert described.stride == ((4, 8, 8) if codec is CAUSAL else (1, 8, 8))
    assert described.num_tokens(native_size) == 4 * 2 * 2
    assert described.num_tokens(size) == 5 * 2 * 3
    model = load_generator(described, "cpu", torch.float32)
    encoder = load_text_encoder(described, "cpu", torch.float32)
    options = GenerateOptions(sampler="euler", steps=1, guidance=Guidance(scale=1.0))
    latents = model.generate(encoder.encode(["a cat"]), None, size, [3], options)
    media = load_codec(described, "cpu", torch.float32).decode(latents)
    assert media.shape == (1, 3, *size)
    assert media.isfinite().all()


def test_sizes_that_a_causal_codec_cannot_make_are_refused_with_the_nearest(tmp_path: Path) -> None:
    described = describe(video_model(tmp_path / "model", CAUSAL, [13, 32, 32]))
    assert described.units == (4, 16, 16)
    assert described.offset == (-3, 0, 0)
    assert [nearest_length(n, 4, -3) for n in (-2, 1, 2, 4, 12, 16, 17)] == [1, 1, 1, 5, 13, 17, 17]
    with pytest.raises(ValueError, match=r"not a multiple of \(4, 16, 16\) plus \(-3, 0, 0\)"):
        described.num_tokens((12, 32, 32))
    model = load_generator(described, "cpu", torch.float32)
    with pytest.raises(ValueError, match=r"the nearest that is: \(13, 32, 32\)"):
        model.latent_shape((12, 32, 32))
    with pytest.raises(DescriptionError, match="native_size"):
        describe(video_model(tmp_path / "other", CAUSAL, [12, 32, 32]))
