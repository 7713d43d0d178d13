"""Causal video autoencoders of diffusers, tiny and random: shapes, determinism, statistics, strict loading."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from modalities import catalog
from modalities.codecs.diffusers_video_vae import DiffusersVideoVAE, load
from modalities.contracts import CheckpointError

HUNYUAN: dict[str, Any] = {
    "latent_channels": 4,
    "block_out_channels": [8, 8, 8, 8],
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "scaling_factor": 0.5,
    "mid_block_add_attention": False,
}
WAN: dict[str, Any] = {"base_dim": 4, "z_dim": 4, "num_res_blocks": 1, "dim_mult": [1, 1, 1, 1]}
WAN |= {"latents_mean": [0.1, -0.2, 0.3, 0.0], "latents_std": [1.0, 2.0, 0.5, 1.5]}
LTX: dict[str, Any] = {"latent_channels": 8, "block_out_channels": [8, 8, 8, 8], "layers_per_block": [1] * 5}
LTX |= {"decoder_block_out_channels": [8, 8, 8, 8], "decoder_layers_per_block": [1] * 5, "patch_size": 2}
CASES = {
    "AutoencoderKLHunyuanVideo": (HUNYUAN, (4, 8, 8)),
    "AutoencoderKLWan": (WAN, (4, 8, 8)),
    "AutoencoderKLLTXVideo": (LTX, (8, 16, 16)),
}


@pytest.fixture(scope="module", params=CASES)
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The name of a class and the folder of a tiny random one."""
    folder = tmp_path_factory.mktemp("video_vae")
    torch.manual_seed(0)
    network = getattr(diffusers, request.param)(**CASES[request.param][0])
    if request.param == "AutoencoderKLLTXVideo":
        network.latents_mean.copy_(torch.linspace(-1, 1, 8))
        network.latents_std.copy_(torch.linspace(0.5, 2, 8))
    network.save_pretrained(folder / "vae")
    return request.param, folder


def opened(folder: Path) -> DiffusersVideoVAE:
    return load({"kind": "diffusers-video-vae", "source": str(folder)}, "cpu", torch.float32)


def clips(codec: DiffusersVideoVAE, count: int = 2) -> Tensor:
    """Clips of two latent frames and two cells a side."""
    time, *sides = codec.stride
    shape = (count, 3, 1 + time, *(2 * side for side in sides))
    return torch.rand(shape, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_frames_go_in_and_come_out_as_many(saved: tuple[str, Path]) -> None:
    name, folder = saved
    codec = opened(folder)
    assert codec.stride == CASES[name][1]
    media = clips(codec, 1)
    latents = codec.encode(media)
    assert latents.shape == (1, codec.channels, 2, 2, 2)
    back = codec.decode(latents)
    assert back.shape == media.shape
    assert back.abs().max() <= 1
    assert codec.decode(torch.cat([latents, latents[:, :, 1:]], dim=2)).shape[2] == 1 + 2 * codec.stride[0]


def test_equal_clips_give_equal_latents_whatever_stands_beside_them(saved: tuple[str, Path]) -> None:
    codec = opened(saved[1])
    media = clips(codec)
    both = codec.encode(media)
    assert torch.equal(codec.encode(media[1:]), both[1:])
    assert torch.equal(codec.decode(both[1:]), codec.decode(both)[1:])


def test_latents_are_normalised_by_the_stored_statistics(saved: tuple[str, Path]) -> None:
    name, folder = saved
    codec = opened(folder)
    media = clips(codec, 1)
    network: Any = codec.network
    with torch.no_grad():
        mode = network.encode(media).latent_dist.mode()
    mean, std, scale = torch.zeros(codec.channels), torch.ones(codec.channels), 1.0
    if name == "AutoencoderKLHunyuanVideo":
        scale = 0.5
    if name == "AutoencoderKLWan":
        mean, std = torch.tensor(WAN["latents_mean"]), torch.tensor(WAN["latents_std"])
    if name == "AutoencoderKLLTXVideo":
        mean, std = torch.linspace(-1, 1, 8), torch.linspace(0.5, 2, 8)
    expected = (mode - mean.view(1, -1, 1, 1, 1)) / std.view(1, -1, 1, 1, 1) * scale
    torch.testing.assert_close(codec.encode(media), expected)


def test_other_numbers_of_frames_and_wrong_latents_are_refused(saved: tuple[str, Path]) -> None:
    codec = opened(saved[1])
    media = clips(codec, 1)
    with pytest.raises(ValueError, match=rf"1 \+ {codec.stride[0]} k, H, W"):
        codec.encode(media[:, :, :-1])
    with pytest.raises(ValueError, match="divisible by"):
        codec.encode(media[..., :-1])
    with pytest.raises(ValueError, match="latents should be"):
        codec.decode(torch.zeros(1, codec.channels + 1, 1, 1, 1))


def test_damaged_folders_are_refused_by_name(saved: tuple[str, Path], tmp_path: Path) -> None:
    place = saved[1] / "vae"
    config = json.loads((place / "config.json").read_text())
    weights = (place / "diffusion_pytorch_model.safetensors").read_bytes()
    for change, message in (
        ({"_class_name": "AutoencoderKLCogVideoX"}, "class AutoencoderKLCogVideoX; diffusers-video-vae takes"),
        ({"timestep_conditioning": True}, "draws noise"),
        ({"z_dim": 6, "latent_channels": 6, "latents_mean": None, "latents_std": None}, "do not fit"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(config | change))
        (tmp_path / "diffusion_pytorch_model.safetensors").write_bytes(weights)
        with pytest.raises(CheckpointError, match=message):
            opened(tmp_path)


def test_the_catalog_knows_the_codec() -> None:
    assert catalog.resolve("codec", "diffusers-video-vae") is load
