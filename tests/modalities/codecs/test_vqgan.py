"""The VQGAN of the published DiGIT against its formulas written out in float64; strict loading; its discrete tokens."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from modalities.codecs.dinov2_tokens import DinoV2Config
from modalities.codecs.dinov2_tokens import expected_shapes as tokenizer_shapes
from modalities.codecs.vqgan import VQGAN, VQGANCodec, VQGANConfig, expected_shapes, load
from modalities.contracts import CheckpointError
from modalities.weights.checkpoint import write_tensors

CONFIG = VQGANConfig(codes=24, channels=6, width=8, multipliers=(1, 2, 2), groups=4)
TOKENS = DinoV2Config(dim=16, layers=1, heads=2, patch=7, grid=2, table=5, clusters=9)


def tiny(seed: int = 1) -> VQGAN:
    torch.manual_seed(seed)
    network = VQGAN(CONFIG)
    with torch.no_grad():
        for tensor in network.parameters():
            tensor.add_(torch.randn_like(tensor) * 0.1)
    return network.eval().requires_grad_(False)


def written_out(network: VQGAN, media: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Vectors, ids and pixels of one picture, from the specification's sentences, in float64."""
    p = {name: tensor.double() for name, tensor in network.state_dict().items()}

    def conv(name: str, x: Tensor) -> Tensor:
        weight = p[f"{name}.weight"]
        return F.conv2d(x, weight, p.get(f"{name}.bias"), padding=weight.shape[-1] // 2)

    def norm(name: str, x: Tensor) -> Tensor:
        parts = x.view(1, 4, -1)
        parts = (parts - parts.mean(2, keepdim=True)) / (parts.var(2, keepdim=True, unbiased=False) + 1e-6).sqrt()
        return parts.view(x.shape) * p[f"{name}.weight"].view(1, -1, 1, 1) + p[f"{name}.bias"].view(1, -1, 1, 1)

    def swish(x: Tensor) -> Tensor:
        return x / (1 + (-x).exp())

    def block(name: str, x: Tensor) -> Tensor:
        h = conv(f"{name}.conv2", swish(norm(f"{name}.norm2", conv(f"{name}.conv1", swish(norm(f"{name}.norm1", x))))))
        return h + conv(f"{name}.nin_shortcut", h) if f"{name}.nin_shortcut.weight" in p else x + h

    h = conv("encoder.conv_in", media.double() / 2 + 0.5)
    for level in range(3):
        for i in range(2):
            h = block(f"encoder.down.{level}.block.{i}", h)
        if level < 2:
            h = (h[..., ::2, ::2] + h[..., 1::2, ::2] + h[..., ::2, 1::2] + h[..., 1::2, 1::2]) / 4
    h = block("encoder.mid.block_2", block("encoder.mid.block_1", h))
    z = conv("encoder.conv_out", swish(norm("encoder.norm_out", h)))
    book = p["quantize.embedding.weight"]
    ids = (z[0].flatten(1).T[:, None] - book).square().sum(-1).argmin(1).view(z.shape[2:])
    h = conv("decoder.conv_in", book[ids].movedim(-1, 0)[None])
    h = block("decoder.mid.block_2", block("decoder.mid.block_1", h))
    for level in (2, 1, 0):
        for i in range(2):
            h = block(f"decoder.up.{level}.block.{i}", h)
        if level:
            h = conv(f"decoder.up.{level}.upsample.conv", h.repeat_interleave(2, 2).repeat_interleave(2, 3))
    return z, ids, conv("decoder.conv_out", swish(norm("decoder.norm_out", h)))


def picture(seed: int, side: int = 16, batch: int = 1) -> Tensor:
    return torch.rand((batch, 3, side, side), generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_the_published_file_has_168_tensors_of_54_515_587_numbers():
    shapes = expected_shapes(VQGANConfig())
    counts = dict.fromkeys(("encoder", "decoder", "quantize"), 0)
    for name, shape in shapes.items():
        counts[name.split(".")[0]] += torch.Size(shape).numel()
    assert len(shapes) == 168
    assert counts == {"encoder": 23_775_104, "decoder": 30_478_339, "quantize": 262_144}
    assert sum(counts.values()) == 54_515_587
    biased = sorted(name for name in shapes if name.endswith("bias") and "norm" not in name)
    pattern = r"(en|de)coder\.conv_out|decoder\.conv_in|decoder\.up\.[1-4]\.upsample\.conv"
    assert len(biased) == 7
    assert all(re.fullmatch(pattern, name.removesuffix(".bias")) for name in biased)
    assert not any("attn" in name for name in shapes)


def test_encoder_codes_and_decoder_follow_the_specification():
    network, media = tiny(), picture(5)
    codec = VQGANCodec(network)
    z, ids, pixels = written_out(network, media)
    assert (network.encoder(media / 2 + 0.5) - z).abs().max() < 1e-4 * z.abs().max()
    found = codec.encode(media)
    assert torch.equal(found, ids[None, None].float())
    assert len(ids.unique()) > 3
    assert (network.decoder(network.codebook[ids].movedim(-1, 0)[None]) - pixels).abs().max() < 1e-4
    assert (codec.decode(found) - (pixels * 2 - 1).clamp(-1, 1)).abs().max() < 1e-4
    assert codec.stride == (4, 4)
    assert codec.channels == 1


def test_a_picture_does_not_depend_on_its_batch_mates():
    codec, media = VQGANCodec(tiny()), picture(6, batch=3)
    ids = codec.encode(media)
    assert torch.equal(ids, torch.cat([codec.encode(one) for one in media.split(1)]))
    assert torch.equal(codec.decode(ids), torch.cat([codec.decode(one) for one in ids.split(1)]))


@pytest.mark.parametrize(
    ("media", "message"), [(picture(1, side=18), "divisible by 4"), (picture(1)[:, :1], "\\[B, 3, H, W\\]")]
)
def test_media_that_do_not_fit_are_refused(media: Tensor, message: str):
    with pytest.raises(ValueError, match=message):
        VQGANCodec(tiny()).encode(media)


@pytest.mark.parametrize(
    ("latents", "message"),
    [
        (torch.full((1, 1, 2, 2), 24.0), "24 to 24; there are 24 codes"),
        (torch.full((1, 1, 2, 2), -1.0), "-1 to -1"),
        (torch.zeros(1, 4), "should be \\[B, 1, h, w\\]"),
    ],
)
def test_ids_that_are_no_codes_are_refused(latents: Tensor, message: str):
    with pytest.raises(ValueError, match=message):
        VQGANCodec(tiny()).decode(latents)


def spec(folder: Path, **more: Any) -> dict[str, Any]:
    file = folder / "codec.safetensors"
    write_tensors(file, tiny().state_dict())
    return {"kind": "vqgan", "file": str(file), "folder": str(folder), "config": CONFIG.to_mapping(), **more}


def test_a_file_is_loaded_strictly(tmp_path: Path):
    codec = load(spec(tmp_path), "cpu", torch.float16)
    assert torch.equal(codec.encode(picture(5)), VQGANCodec(tiny()).encode(picture(5)))
    with pytest.raises(CheckpointError, match=r"unexpected: post_quant_conv\.bias"):
        load({**spec(tmp_path), "file": str(_with_more(tmp_path))}, "cpu", torch.float32)
    with pytest.raises(ValueError, match="unknown scale; it takes"):
        load(spec(tmp_path, scale=2), "cpu", torch.float32)
    with pytest.raises(ValueError, match=r"unknown code; known: .*did you mean codes"):
        load({**spec(tmp_path), "config": {"code": 3}}, "cpu", torch.float32)


def _with_more(folder: Path) -> Path:
    file = folder / "more.safetensors"
    write_tensors(file, {**tiny().state_dict(), "post_quant_conv.bias": torch.zeros(1)})
    return file


def test_tokens_come_along_where_there_is_a_tokenizer(tmp_path: Path):
    generator = torch.Generator().manual_seed(3)
    shapes = tokenizer_shapes(TOKENS)
    tensors = {name: torch.randn(shape, generator=generator) * 0.3 for name, shape in shapes.items()}
    given = spec(tmp_path, tokenizer=TOKENS.to_mapping())
    codec = load(given, "cpu", torch.float32)
    media = picture(7, side=16, batch=2)
    assert codec.channels == 2
    assert codec.decode(torch.zeros(1, 2, 4, 4)).shape == (1, 3, 16, 16)  # the tokenizer is not needed, nor read
    with pytest.raises(CheckpointError, match=r"tokenizer\.safetensors"):
        codec.encode(media)
    write_tensors(tmp_path / "tokenizer.safetensors", tensors)
    found = codec.encode(media)
    assert torch.equal(found[:, :1], VQGANCodec(tiny()).encode(media))
    tokens = found[:, 1, ::2, ::2]
    assert torch.equal(found[:, 1], tokens.repeat_interleave(2, 1).repeat_interleave(2, 2))
    assert int(tokens.max()) < 9
