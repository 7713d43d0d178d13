"""The VQGAN that DiGIT and MAGE decode with: a port of MaskGIT's tokenizer (Chang et al. 2022, appendix A), stride 16.

It differs from the VQ models of taming-transformers and diffusers: no attention; convolutions of residual blocks and
the first of the encoder have no bias; two blocks a level on both sides; halving is an average pool; and where the
channels change, the shortcut is a 1 x 1 convolution of the block's result h, not of its input: y = h + W h. Names of
parameters are those of the published file. Pixels inside are 0..1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modalities.codecs.dinov2_tokens import DinoV2Config, DinoV2Tokens, load_tokens
from modalities.codecs.semantic_tokens import nearest
from modalities.weights.checkpoint import read_tensors
from modalities.weights.configuration import config_from, plain_values


@dataclass(frozen=True, slots=True, kw_only=True)
class VQGANConfig:
    """Shape of the network; the defaults are those of the published file.

    codes: rows of the codebook. channels: of its vectors. width, multipliers: features of each level, from the pixels
    on; every level but the last halves the side. blocks: residual blocks of a level. groups: of the norms.
    """

    codes: int = 1024
    channels: int = 256
    width: int = 128
    multipliers: tuple[int, ...] = (1, 1, 2, 2, 4)
    blocks: int = 2
    groups: int = 32

    def __post_init__(self) -> None:
        if min(self.codes, self.channels, self.width, self.blocks, self.groups, *self.multipliers, 1) < 1:
            raise ValueError("VQGAN: every number should be at least 1")
        if not self.multipliers or any(self.width * factor % self.groups for factor in self.multipliers):
            raise ValueError(f"VQGAN: the features of every level should be a multiple of the {self.groups} groups")

    @property
    def stride(self) -> int:
        """Pixels of a code's side."""
        return 1 << (len(self.multipliers) - 1)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Read a configuration from plain values; ValueError names keys that do not exist."""
        return config_from(cls, values, "VQGAN")

    def to_mapping(self) -> dict[str, Any]:
        """Plain values, as `model.json` holds them."""
        return plain_values(self)


class ResidualBlock(nn.Module):
    """h = conv(silu(norm(conv(silu(norm(x)))))); then x + h, or h + W h where the channels change."""

    def __init__(self, inputs: int, outputs: int, groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, inputs, eps=1e-6)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.GroupNorm(groups, outputs, eps=1e-6)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.nin_shortcut = nn.Conv2d(outputs, outputs, 1, bias=False) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        """`[B, inputs, H, W]` to `[B, outputs, H, W]`."""
        h: Tensor = self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))
        return x + h if self.nin_shortcut is None else h + self.nin_shortcut(h)


class Resampling(nn.Module):
    """Twice the side by repetition, then a 3 x 3 convolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, width, H, W]` to `[B, width, 2 H, 2 W]`."""
        out: Tensor = self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return out


class Level(nn.Module):
    """The residual blocks of one resolution, and what follows them on the way up."""

    def __init__(self, inputs: int, outputs: int, config: VQGANConfig, *, grows: bool = False) -> None:
        super().__init__()
        ends = [inputs, *[outputs] * config.blocks]
        self.block = nn.ModuleList(ResidualBlock(a, b, config.groups) for a, b in pairwise(ends))
        self.upsample = Resampling(outputs) if grows else None

    def forward(self, x: Tensor) -> Tensor:
        """`[B, inputs, H, W]` to `[B, outputs, H, W]`, or twice the side."""
        for block in self.block:
            x = block(x)
        return x if self.upsample is None else self.upsample(x)


class Middle(nn.Module):
    """Two residual blocks at the lowest resolution."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.block_1 = ResidualBlock(width, width, groups)
        self.block_2 = ResidualBlock(width, width, groups)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, width, H, W]` to the same."""
        out: Tensor = self.block_2(self.block_1(x))
        return out


class Encoder(nn.Module):
    """Pixels in 0..1 to vectors `[B, channels, h, w]`."""

    def __init__(self, config: VQGANConfig) -> None:
        super().__init__()
        widths = [config.width * factor for factor in config.multipliers]
        self.conv_in = nn.Conv2d(3, config.width, 3, padding=1, bias=False)
        starts = [config.width, *widths[:-1]]
        self.down = nn.ModuleList(Level(a, b, config) for a, b in zip(starts, widths, strict=True))
        self.mid = Middle(widths[-1], config.groups)
        self.norm_out = nn.GroupNorm(config.groups, widths[-1], eps=1e-6)
        self.conv_out = nn.Conv2d(widths[-1], config.channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Every level but the last is followed by the mean of 2 x 2 cells."""
        x = self.conv_in(x)
        for i, level in enumerate(self.down):
            x = level(x)
            if i < len(self.down) - 1:
                x = F.avg_pool2d(x, 2)
        out: Tensor = self.conv_out(F.silu(self.norm_out(self.mid(x))))
        return out


class Decoder(nn.Module):
    """Vectors of codes to pixels in 0..1, not clamped. `up` is ordered as `down` is, so it is walked from its end."""

    def __init__(self, config: VQGANConfig) -> None:
        super().__init__()
        widths = [config.width * factor for factor in config.multipliers]
        self.conv_in = nn.Conv2d(config.channels, widths[-1], 3, padding=1)
        self.mid = Middle(widths[-1], config.groups)
        starts = [*widths[1:], widths[-1]]
        self.up = nn.ModuleList(
            Level(a, b, config, grows=i > 0) for i, (a, b) in enumerate(zip(starts, widths, strict=True))
        )
        self.norm_out = nn.GroupNorm(config.groups, widths[0], eps=1e-6)
        self.conv_out = nn.Conv2d(widths[0], 3, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        """`[B, channels, h, w]` to `[B, 3, stride h, stride w]`."""
        x: Tensor = self.mid(self.conv_in(z))
        for i in reversed(range(len(self.up))):
            x = self.up[i](x)
        out: Tensor = self.conv_out(F.silu(self.norm_out(x)))
        return out


class Codebook(nn.Module):
    """The vectors of the codes."""

    def __init__(self, config: VQGANConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.codes, config.channels)


class VQGAN(nn.Module):
    """The network under its published names: encoder.*, decoder.*, quantize.embedding.weight."""

    def __init__(self, config: VQGANConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.quantize = Codebook(config)

    @property
    def codebook(self) -> Tensor:
        """`[codes, channels]`."""
        return self.quantize.embedding.weight


class VQGANCodec:
    """A `Codec` of code ids as floats `[B, 1, h, w]`; with a tokenizer `encode` adds its tokens as a second channel.

    Arithmetic is float32 and one sample at a time, so that no sample depends on its batch mates and memory does not
    grow with the batch. The tokenizer is read when `encode` first needs it: pictures are made without it.
    """

    def __init__(self, network: VQGAN, tokenizer: Callable[[], DinoV2Tokens] | None = None) -> None:
        self.network = network
        self.stride: tuple[int, ...] = (network.config.stride,) * 2
        self.channels = 1 if tokenizer is None else 2
        self._read_tokenizer = tokenizer
        self._tokenizer: DinoV2Tokens | None = None

    @torch.no_grad()
    def encode(self, media: Tensor) -> Tensor:
        """Media `[B, 3, H, W]` in -1..1 to ids `[B, channels, h, w]`; ValueError when the stride divides H or W not."""
        step = self.stride[0]
        if media.ndim != 4 or media.shape[1] != 3 or any(n < step or n % step for n in media.shape[2:]):
            raise ValueError(f"the VQGAN takes [B, 3, H, W] with H and W divisible by {step}, not {list(media.shape)}")
        media = media.to(self.network.codebook.device, torch.float32)
        vectors = [self.network.encoder(sample) for sample in torch.split(media * 0.5 + 0.5, 1)]
        codes = torch.cat([nearest(each.movedim(1, -1), self.network.codebook) for each in vectors])
        if self._read_tokenizer is None:
            return codes[:, None].float()
        if self._tokenizer is None:
            self._tokenizer = self._read_tokenizer()
        tokens = self._tokenizer.tokens(media)
        for axis in (1, 2):
            if codes.shape[axis] % tokens.shape[axis]:
                raise ValueError(f"a grid of {list(tokens.shape[1:])} tokens does not divide one of codes")
            tokens = tokens.repeat_interleave(codes.shape[axis] // tokens.shape[axis], dim=axis)
        return torch.stack([codes, tokens], dim=1).float()

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Ids `[B, C, h, w]`, codes in the first channel, to media in -1..1; ValueError for ids that are no codes."""
        if latents.ndim != 4 or latents.shape[1] < 1:
            raise ValueError(f"code ids should be [B, 1, h, w], not {list(latents.shape)}")
        book = self.network.codebook
        codes = latents[:, 0].to(book.device).round().long()
        if codes.numel() and (int(codes.min()) < 0 or int(codes.max()) >= len(book)):
            raise ValueError(f"code ids are {int(codes.min())} to {int(codes.max())}; there are {len(book)} codes")
        pixels = [self.network.decoder(book[sample].movedim(-1, 1)) for sample in torch.split(codes, 1)]
        return (torch.cat(pixels) * 2 - 1).clamp(-1, 1)


def expected_shapes(config: VQGANConfig) -> dict[str, tuple[int, ...]]:
    """Every tensor of the published file."""
    with torch.device("meta"):
        network = VQGAN(config)
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def load(spec: Mapping[str, Any], device: torch.device | str, dtype: torch.dtype) -> VQGANCodec:
    """The codec of a description: `file` and `config`; `tokenizer`, its configuration where one lies beside the file.

    CheckpointError when tensors and configuration do not agree. `dtype` is not followed: rounding would change ids.
    """
    unknown = set(spec) - {"kind", "file", "folder", "config", "tokenizer"}
    if unknown or "file" not in spec:
        wrong = f"unknown {', '.join(sorted(unknown))}" if unknown else "no `file`"
        raise ValueError(f"codec vqgan: {wrong}; it takes file, config and tokenizer")
    config = VQGANConfig.from_mapping(spec.get("config", {}))
    with torch.device("meta"):
        network = VQGAN(config)
    file = Path(str(spec["file"]))
    tensors = read_tensors(file, expected_shapes(config))
    network.load_state_dict({name: value.float() for name, value in tensors.items()}, assign=True)
    network.to(device).eval().requires_grad_(False)
    if "tokenizer" not in spec:
        return VQGANCodec(network)
    settings = DinoV2Config.from_mapping(spec["tokenizer"])
    return VQGANCodec(network, lambda: load_tokens(settings, file.with_name("tokenizer.safetensors"), device))
