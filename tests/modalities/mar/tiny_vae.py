"""A tiny autoencoder under the names of latent diffusion: random weights, and its formulas written out in float64."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

Weights = dict[str, Tensor]


def weights(width: int = 32, multipliers: tuple[int, ...] = (1, 1, 2), channels: int = 6, seed: int = 0) -> Weights:
    """All tensors; attention at the coarsest level of the encoder and in the middle of both, as in KL-16."""
    shapes: dict[str, tuple[int, ...]] = {}
    wide = [width * m for m in multipliers]

    def conv(name: str, out: int, into: int, side: int = 3) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (out, into, side, side), (out,)

    def norm(name: str, n: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (n,), (n,)

    def residual(name: str, into: int, out: int) -> None:
        norm(f"{name}.norm1", into)
        conv(f"{name}.conv1", out, into)
        norm(f"{name}.norm2", out)
        conv(f"{name}.conv2", out, out)
        if into != out:
            conv(f"{name}.nin_shortcut", out, into, 1)

    def attention(name: str, n: int) -> None:
        norm(f"{name}.norm", n)
        for part in ("q", "k", "v", "proj_out"):
            conv(f"{name}.{part}", n, n, 1)

    def middle(side: str) -> None:
        residual(f"{side}.mid.block_1", wide[-1], wide[-1])
        attention(f"{side}.mid.attn_1", wide[-1])
        residual(f"{side}.mid.block_2", wide[-1], wide[-1])

    conv("encoder.conv_in", width, 3)
    into = width
    for i, out in enumerate(wide):
        for j in range(2):
            residual(f"encoder.down.{i}.block.{j}", into, out)
            into = out
            if i == len(wide) - 1:
                attention(f"encoder.down.{i}.attn.{j}", out)
        if i < len(wide) - 1:
            conv(f"encoder.down.{i}.downsample.conv", out, out)
    middle("encoder")
    norm("encoder.norm_out", into)
    conv("encoder.conv_out", 2 * channels, into)
    conv("quant_conv", 2 * channels, 2 * channels, 1)
    conv("post_quant_conv", channels, channels, 1)
    conv("decoder.conv_in", wide[-1], channels)
    middle("decoder")
    into = wide[-1]
    for i in reversed(range(len(wide))):
        for j in range(3):
            residual(f"decoder.up.{i}.block.{j}", into, wide[i])
            into = wide[i]
        if i:
            conv(f"decoder.up.{i}.upsample.conv", into, into)
    norm("decoder.norm_out", into)
    conv("decoder.conv_out", 3, into)
    source = torch.Generator().manual_seed(seed)
    made = {}
    for name, shape in shapes.items():
        fan = shape[1] * shape[2] * shape[3] if len(shape) == 4 else 0
        made[name] = torch.randn(shape, generator=source) * (fan**-0.5 if fan else 0.2)
        if "norm" in name and name.endswith("weight"):
            made[name] += 1
    return made


def _conv(w: Weights, name: str, x: Tensor, stride: int = 1, padding: int = 1) -> Tensor:
    return F.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], stride, padding)


def _norm(w: Weights, name: str, x: Tensor) -> Tensor:
    groups = x.reshape(len(x), 32, -1)
    groups = (groups - groups.mean(2, keepdim=True)) / (groups.var(2, correction=0, keepdim=True) + 1e-6).sqrt()
    return groups.reshape(x.shape) * w[f"{name}.weight"][:, None, None] + w[f"{name}.bias"][:, None, None]


def _silu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x)


def _residual(w: Weights, name: str, x: Tensor) -> Tensor:
    h = _conv(w, f"{name}.conv1", _silu(_norm(w, f"{name}.norm1", x)))
    h = _conv(w, f"{name}.conv2", _silu(_norm(w, f"{name}.norm2", h)))
    return h + (_conv(w, f"{name}.nin_shortcut", x, padding=0) if f"{name}.nin_shortcut.weight" in w else x)


def _attention(w: Weights, name: str, x: Tensor) -> Tensor:
    h = _norm(w, f"{name}.norm", x)
    q, k, v = (_conv(w, f"{name}.{part}", h, padding=0).flatten(2) for part in "qkv")
    mixed = v @ torch.softmax(q.transpose(1, 2) @ k / q.shape[1] ** 0.5, -1).transpose(1, 2)
    return x + _conv(w, f"{name}.proj_out", mixed.reshape(x.shape), padding=0)


def _middle(w: Weights, side: str, x: Tensor) -> Tensor:
    x = _attention(w, f"{side}.mid.attn_1", _residual(w, f"{side}.mid.block_1", x))
    return _residual(w, f"{side}.mid.block_2", x)


def levels(w: Weights) -> int:
    return 1 + max(int(name.split(".")[2]) for name in w if name.startswith("encoder.down."))


def encode(w: Weights, media: Tensor) -> Tensor:
    """Mode of the posterior."""
    x = _conv(w, "encoder.conv_in", media)
    for i in range(levels(w)):
        for j in range(2):
            x = _residual(w, f"encoder.down.{i}.block.{j}", x)
            if f"encoder.down.{i}.attn.{j}.q.weight" in w:
                x = _attention(w, f"encoder.down.{i}.attn.{j}", x)
        if i < levels(w) - 1:
            x = _conv(w, f"encoder.down.{i}.downsample.conv", F.pad(x, (0, 1, 0, 1)), 2, 0)
    x = _conv(w, "encoder.conv_out", _silu(_norm(w, "encoder.norm_out", _middle(w, "encoder", x))))
    return _conv(w, "quant_conv", x, padding=0).chunk(2, 1)[0]


def decode(w: Weights, z: Tensor) -> Tensor:
    x = _middle(w, "decoder", _conv(w, "decoder.conv_in", _conv(w, "post_quant_conv", z, padding=0)))
    for i in reversed(range(levels(w))):
        for j in range(3):
            x = _residual(w, f"decoder.up.{i}.block.{j}", x)
        if i:
            x = _conv(w, f"decoder.up.{i}.upsample.conv", x.repeat_interleave(2, 2).repeat_interleave(2, 3))
    return _conv(w, "decoder.conv_out", _silu(_norm(w, "decoder.norm_out", x)))
