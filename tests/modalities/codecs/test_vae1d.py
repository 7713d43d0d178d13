"""The audio VAE against a plain reference on random weights in the published layout, and its sounds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from modalities.codecs.mel_spectrogram import MelConfig, MelSpectrogram
from modalities.codecs.vae1d import PREFIX, VAE1D, VAE1DConfig, expected_shapes, load
from modalities.contracts import CheckpointError, Codec
from modalities.weights.checkpoint import write_tensors

SMALL = VAE1DConfig(channels=6, embed=4, width=8, groups=4)
State = dict[str, Tensor]


def random_state(config: VAE1DConfig = SMALL, seed: int = 0) -> State:
    source = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in expected_shapes(config).items():
        state[name] = torch.randn(shape, generator=source) * (0.1 if len(shape) < 2 else shape[1] ** -0.5)
        if re.search(r"norm\w*\.weight$", name):
            state[name] += 1
    state["scale_factor"] = torch.tensor(0.7)
    return state


def conv(state: State, name: str, x: Tensor, *, stride: int = 1, pad: int | None = None) -> Tensor:
    """A convolution as a sum over its taps."""
    weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    taps = weight.shape[2]
    x = F.pad(x, (taps // 2, taps // 2)) if pad is None else F.pad(x, (0, pad))
    count = (x.shape[2] - taps) // stride + 1
    parts = [weight[:, :, i] @ x[:, :, i : i + stride * (count - 1) + 1 : stride] for i in range(taps)]
    return torch.stack(parts).sum(0) + bias[:, None]


def norm(state: State, name: str, x: Tensor, groups: int = 4) -> Tensor:
    parts = x.reshape(x.shape[0], groups, -1)
    parts = (parts - parts.mean(2, keepdim=True)) / torch.sqrt(parts.var(2, unbiased=False, keepdim=True) + 1e-6)
    return parts.reshape(x.shape) * state[f"{name}.weight"][:, None] + state[f"{name}.bias"][:, None]


def swish(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x)


def residual(state: State, name: str, x: Tensor) -> Tensor:
    h = conv(state, f"{name}.conv1", swish(norm(state, f"{name}.norm1", x)))
    h = conv(state, f"{name}.conv2", swish(norm(state, f"{name}.norm2", h)))
    return h + (conv(state, f"{name}.nin_shortcut", x) if f"{name}.nin_shortcut.weight" in state else x)


def middle(state: State, name: str, x: Tensor) -> Tensor:
    x = residual(state, f"{name}.block_1", x)
    h = norm(state, f"{name}.attn_1.norm", x)
    q, k, v = (conv(state, f"{name}.attn_1.{part}", h) for part in "qkv")
    weights = torch.softmax(q.transpose(1, 2) @ k / q.shape[1] ** 0.5, dim=-1)
    x = x + conv(state, f"{name}.attn_1.proj_out", v @ weights.transpose(1, 2))
    return residual(state, f"{name}.block_2", x)


def reference_encode(state: State, mel: Tensor, channels: int) -> Tensor:
    h = conv(state, "encoder.conv_in", mel)
    for level in range(3):
        for i in range(2):
            h = residual(state, f"encoder.down.{level}.block.{i}", h)
        if level == 0:
            h = conv(state, "encoder.down.0.downsample.conv", h, stride=2, pad=1)
    h = swish(norm(state, "encoder.norm_out", middle(state, "encoder.mid", h)))
    moments = conv(state, "quant_conv", conv(state, "encoder.conv_out", h))
    return moments[:, :channels] * state["scale_factor"]


def reference_decode(state: State, latents: Tensor) -> Tensor:
    h = conv(state, "post_quant_conv", latents / state["scale_factor"])
    h = middle(state, "decoder.mid", conv(state, "decoder.conv_in", h))
    for level in (2, 1, 0):
        for i in range(3):
            h = residual(state, f"decoder.up.{level}.block.{i}", h)
        if level == 1:
            h = conv(state, "decoder.up.1.upsample.conv", h.repeat_interleave(2, dim=2))
    return conv(state, "decoder.conv_out", swish(norm(state, "decoder.norm_out", h)))


def made(folder: Path, state: State | None = None, config: VAE1DConfig = SMALL) -> VAE1D:
    write_tensors(folder / "codec.safetensors", random_state(config) if state is None else state)
    spec = {"kind": "vae1d", "file": str(folder / "codec.safetensors"), "config": config.to_mapping()}
    return load(spec, "cpu", torch.float32)


def test_both_directions_are_those_of_the_reference(tmp_path: Path) -> None:
    codec, state = made(tmp_path), random_state()
    mel = torch.randn(2, 80, 14, generator=torch.Generator().manual_seed(1))
    latents = codec.network.encode(mel)
    assert latents.shape == (2, 4, 7)
    assert (latents - reference_encode(state, mel, 4)).abs().max() < 1e-4
    expected = reference_decode(state, latents)
    assert expected.std() > 0.1
    assert (codec.decode_to_mel(latents) - expected).abs().max() < 1e-4


def test_the_published_layout() -> None:
    shapes = expected_shapes(VAE1DConfig())
    assert shapes["encoder.conv_in.weight"] == (384, 80, 5)
    assert shapes["encoder.down.0.downsample.conv.weight"] == (384, 384, 3)
    assert shapes["encoder.down.1.block.0.nin_shortcut.weight"] == (768, 384, 1)
    assert shapes["encoder.mid.attn_1.proj_out.weight"] == (1536, 1536, 1)
    assert shapes["encoder.conv_out.weight"] == (40, 1536, 5)
    assert shapes["quant_conv.weight"] == (40, 40, 1)
    assert shapes["post_quant_conv.weight"] == (20, 20, 1)
    assert shapes["decoder.conv_in.weight"] == (1536, 20, 5)
    assert shapes["decoder.up.1.block.0.conv1.weight"] == (768, 1536, 3)
    assert shapes["decoder.up.1.upsample.conv.weight"] == (768, 768, 3)
    assert shapes["decoder.conv_out.weight"] == (80, 384, 5)
    assert not any("attn." in name or ".attn.0" in name for name in shapes)


def test_sounds_go_in_and_out_each_by_itself(tmp_path: Path) -> None:
    codec = made(tmp_path)
    assert isinstance(codec, Codec)
    assert (codec.stride, codec.channels) == ((512,), 4)
    media = torch.randn(3, 1, 4096, generator=torch.Generator().manual_seed(2)).clamp(-1, 1)
    latents = codec.encode(media)
    expected = reference_encode(random_state(), MelSpectrogram(MelConfig())(media), 4)
    assert (latents - expected).abs().max() < 1e-4
    sounds = codec.decode(latents)
    assert sounds.shape == (3, 1, 4096)
    assert 0 < sounds.abs().max() <= 1
    for i in range(3):
        assert torch.equal(codec.encode(media[i : i + 1])[0], latents[i])
        assert torch.equal(codec.decode(latents[i : i + 1])[0], sounds[i])


def test_names_may_keep_the_prefix_of_the_training_checkpoint(tmp_path: Path) -> None:
    state = random_state()
    prefixed = {f"{PREFIX}{name}": tensor for name, tensor in state.items() if name != "scale_factor"}
    codec = made(tmp_path, prefixed | {"scale_factor": state["scale_factor"]})
    mel = torch.randn(1, 80, 4)
    assert torch.equal(codec.network.encode(mel), made(tmp_path / "plain").network.encode(mel))


def test_weights_and_media_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    state = random_state()
    del state["quant_conv.bias"]
    with pytest.raises(CheckpointError, match=r"codec\.safetensors.*1 missing: quant_conv\.bias"):
        made(tmp_path, state)
    codec = made(tmp_path)
    with pytest.raises(ValueError, match="divisible by 512"):
        codec.encode(torch.zeros(1, 1, 700))
    with pytest.raises(ValueError, match=r"\[B, 4, frames\]"):
        codec.decode(torch.zeros(1, 5, 4))
    spec = {"kind": "vae1d", "file": str(tmp_path / "codec.safetensors"), "config": SMALL.to_mapping()}
    with pytest.raises(ValueError, match="unknown vocoder `wavenet`; known: bigvgan"):
        load(spec | {"vocoder": {"kind": "wavenet"}}, "cpu", torch.float32)
    with pytest.raises(ValueError, match="unknown depth"):
        VAE1DConfig.from_mapping({"depth": 3})
    with pytest.raises(ValueError, match="levels 0 to 1"):
        VAE1DConfig(halved=(2,))
