"""The codec that reads diffusers' autoencoders; its numbers are held against diffusers in tests/parity."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from modalities.codecs.diffusers_vae import load
from modalities.contracts import CheckpointError, Codec
from modalities.weights.checkpoint import read_tensors, write_tensors

pytest.importorskip("diffusers")

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    network = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=6,
        scaling_factor=0.5,
        shift_factor=0.25,
    )
    network.save_pretrained(tmp_path / "vae")
    return tmp_path / "vae"


def test_it_satisfies_the_contract(folder: Path):
    codec = load({"kind": "diffusers-vae", "folder": str(folder)}, "cpu", torch.bfloat16)
    assert isinstance(codec, Codec)
    assert (codec.stride, codec.channels) == ((2, 2), 6)
    media = torch.rand(2, 3, 8, 12) * 2 - 1
    latents = codec.encode(media)
    assert latents.shape == (2, 6, 4, 6)
    assert latents.dtype == torch.float32
    decoded = codec.decode(latents)
    assert decoded.shape == media.shape
    assert decoded.abs().max() <= 1
    assert torch.equal(codec.encode(media[1:])[0], latents[1])
    assert torch.equal(codec.decode(latents[1:])[0], decoded[1])


def test_scale_and_shift_are_those_of_the_configuration(folder: Path):
    media = torch.rand(1, 3, 8, 8) * 2 - 1
    scaled = load({"folder": str(folder)}, "cpu", torch.float32).encode(media)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"scaling_factor": 1.0, "shift_factor": None}))
    plain = load({"folder": str(folder)}, "cpu", torch.float32).encode(media)
    torch.testing.assert_close(scaled, (plain - 0.25) * 0.5)


def test_a_whole_pipeline_folder_may_be_named(folder: Path):
    assert load({"source": str(folder.parent)}, "cpu", torch.float32).channels == 6


def test_attention_under_its_old_names_is_read(folder: Path):
    tensors = read_tensors(folder / WEIGHTS)
    new = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    old = {}
    for name, tensor in tensors.items():
        for ours, theirs in new.items():
            name = name.replace(f".{ours}.", f".{theirs}.") if ".attentions." in name else name
        old[name] = tensor
    assert set(old) != set(tensors)
    before = load({"folder": str(folder)}, "cpu", torch.float32).decode(torch.ones(1, 6, 4, 4))
    write_tensors(folder / WEIGHTS, old)
    after = load({"folder": str(folder)}, "cpu", torch.float32).decode(torch.ones(1, 6, 4, 4))
    assert torch.equal(before, after)


def test_weights_that_do_not_fit_are_refused(folder: Path):
    tensors = dict(read_tensors(folder / WEIGHTS))
    del tensors["decoder.conv_in.bias"]
    write_tensors(folder / WEIGHTS, tensors)
    with pytest.raises(CheckpointError, match=r"1 missing: decoder\.conv_in\.bias"):
        load({"folder": str(folder)}, "cpu", torch.float32)
    (folder / WEIGHTS).unlink()
    with pytest.raises(CheckpointError, match=r"no diffusion_pytorch_model\.safetensors"):
        load({"folder": str(folder)}, "cpu", torch.float32)
    with pytest.raises(CheckpointError, match="needs `source`"):
        load({"kind": "diffusers-vae"}, "cpu", torch.float32)


@pytest.mark.parametrize("shape", [(1, 3, 8, 9), (1, 4, 8, 8), (3, 8, 8)])
def test_media_that_do_not_fit_are_refused(folder: Path, shape: tuple[int, ...]):
    with pytest.raises(ValueError, match="divisible by 2"):
        load({"folder": str(folder)}, "cpu", torch.float32).encode(torch.zeros(shape))


def test_latents_that_do_not_fit_are_refused(folder: Path):
    with pytest.raises(ValueError, match=r"\[B, 6, h, w\]"):
        load({"folder": str(folder)}, "cpu", torch.float32).decode(torch.zeros(1, 4, 2, 2))
