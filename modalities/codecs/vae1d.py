"""The codec of the released Lumina audio and music models: sounds, mel spectrograms, 20 latent channels, and back.

A one-dimensional variational autoencoder ("maa2" of Make-An-Audio 2) codes 80 log10 mels a frame into 20 channels every
second frame; a vocoder (BigVGAN where the folder holds one, Griffin-Lim otherwise) turns its mels into samples. Latents
are the mode of the posterior times a learned scale, so nothing is drawn. Attribute names are the published keys.
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

from modalities.codecs.bigvgan import load as load_bigvgan
from modalities.codecs.mel_spectrogram import MelConfig, MelGriffinLim, MelGriffinLimConfig, MelSpectrogram
from modalities.weights.checkpoint import check_tensors, read_tensors
from modalities.weights.configuration import config_from, plain_values

PREFIX = "first_stage_model."
"""What the released training checkpoints put before every name of the autoencoder."""

Vocoder = Callable[[Tensor], Tensor]
"""Log10 mels `[1, 80, T]` to samples `[1, 1, 256 T]` in -1..1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VAE1DConfig:
    """Shape of the autoencoder; the defaults are those of the release.

    mels: channels of the spectrogram. channels: of the network's narrow end. embed: of the latents, which a projection
    makes of those. width, multipliers: features of each level. blocks: residual blocks of a level, one more in the
    decoder. kernel: of the ends and of the whole encoder; the decoder's blocks have 3. halved: levels after which time
    is halved. groups: of the group norms.
    """

    mels: int = 80
    channels: int = 20
    embed: int = 20
    width: int = 384
    multipliers: tuple[int, ...] = (1, 2, 4)
    blocks: int = 2
    kernel: int = 5
    halved: tuple[int, ...] = (0,)
    groups: int = 32

    def __post_init__(self) -> None:
        for name in ("mels", "channels", "embed", "width", "blocks", "kernel", "groups"):
            if getattr(self, name) < 1:
                raise ValueError(f"vae1d: {name} is {getattr(self, name)}; expected at least 1")
        if not self.multipliers or self.kernel % 2 == 0 or self.width % self.groups:
            raise ValueError("vae1d: there should be a level, an odd kernel, and a width that `groups` divides")
        if any(not 0 <= level < len(self.multipliers) - 1 for level in self.halved):
            raise ValueError(f"vae1d: halved {self.halved} should name levels 0 to {len(self.multipliers) - 2}")

    @property
    def frames(self) -> int:
        """Mel frames of one latent frame."""
        return 1 << len(self.halved)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Read a configuration from plain values; ValueError names keys that do not exist."""
        return config_from(cls, values, "vae1d")

    def to_mapping(self) -> dict[str, Any]:
        """Plain values, as `model.json` holds them."""
        return plain_values(self)


class ResidualBlock(nn.Module):
    """Norm, silu, convolution, twice, beside an identity or a projection."""

    def __init__(self, inputs: int, outputs: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, inputs, eps=1e-6)
        self.conv1 = nn.Conv1d(inputs, outputs, kernel, padding=kernel // 2)
        self.norm2 = nn.GroupNorm(groups, outputs, eps=1e-6)
        self.conv2 = nn.Conv1d(outputs, outputs, kernel, padding=kernel // 2)
        if inputs != outputs:
            self.nin_shortcut = nn.Conv1d(inputs, outputs, 1)
        self._projects = inputs != outputs

    def forward(self, x: Tensor) -> Tensor:
        """`[B, inputs, T]` to `[B, outputs, T]`."""
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        out: Tensor = h + (self.nin_shortcut(x) if self._projects else x)
        return out


class AttentionBlock(nn.Module):
    """One head of attention over all frames, added to its input."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, width, eps=1e-6)
        self.q, self.k, self.v, self.proj_out = (nn.Conv1d(width, width, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """`[B, width, T]` to the same shape."""
        h = self.norm(x)
        q, k, v = (part(h).transpose(1, 2) for part in (self.q, self.k, self.v))
        out: Tensor = x + self.proj_out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2))
        return out


class Resample(nn.Module):
    """Twice as many frames (nearest, then convolution) or half as many (a zero at the end, then stride 2)."""

    def __init__(self, width: int, *, up: bool) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width, width, 3, padding=1) if up else nn.Conv1d(width, width, 3, stride=2)
        self._up = up

    def forward(self, x: Tensor) -> Tensor:
        """`[B, width, T]` to `[B, width, 2 T]` or `[B, width, T / 2]`."""
        out: Tensor = self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest") if self._up else F.pad(x, (0, 1)))
        return out


class Level(nn.Module):
    """The residual blocks of one level and, where time changes there, what changes it."""

    def __init__(self, inputs: int, outputs: int, blocks: int, kernel: int, groups: int) -> None:
        super().__init__()
        widths = [inputs, *[outputs] * blocks]
        self.block = nn.ModuleList(ResidualBlock(a, b, kernel, groups) for a, b in pairwise(widths))
        self.downsample: Resample | None = None
        self.upsample: Resample | None = None

    def forward(self, x: Tensor) -> Tensor:
        """`[B, inputs, T]` to `[B, outputs, T']`."""
        for block in self.block:
            x = block(x)
        change = self.downsample or self.upsample
        return x if change is None else change(x)


class Middle(nn.Module):
    """Block, attention, block at the coarsest level."""

    def __init__(self, width: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.block_1 = ResidualBlock(width, width, kernel, groups)
        self.attn_1 = AttentionBlock(width, groups)
        self.block_2 = ResidualBlock(width, width, kernel, groups)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, width, T]` to the same shape."""
        out: Tensor = self.block_2(self.attn_1(self.block_1(x)))
        return out


class Encoder(nn.Module):
    """Mels to the two halves of the posterior, mean and log variance."""

    def __init__(self, config: VAE1DConfig) -> None:
        super().__init__()
        widths = [config.width, *(config.width * m for m in config.multipliers)]
        self.conv_in = nn.Conv1d(config.mels, widths[0], config.kernel, padding=config.kernel // 2)
        self.down = nn.ModuleList()
        for i, (inputs, outputs) in enumerate(pairwise(widths)):
            level = Level(inputs, outputs, config.blocks, config.kernel, config.groups)
            level.downsample = Resample(outputs, up=False) if i in config.halved else None
            self.down.append(level)
        self.mid = Middle(widths[-1], config.kernel, config.groups)
        self.norm_out = nn.GroupNorm(config.groups, widths[-1], eps=1e-6)
        self.conv_out = nn.Conv1d(widths[-1], 2 * config.channels, config.kernel, padding=config.kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, mels, T]` to `[B, 2 channels, T / frames]`."""
        h = self.conv_in(x)
        for level in self.down:
            h = level(h)
        out: Tensor = self.conv_out(F.silu(self.norm_out(self.mid(h))))
        return out


class Decoder(nn.Module):
    """Latents to mels. Its blocks have kernels of 3 whatever the encoder's are; time doubles one level below."""

    def __init__(self, config: VAE1DConfig) -> None:
        super().__init__()
        widths = [config.width * m for m in config.multipliers]
        self.conv_in = nn.Conv1d(config.channels, widths[-1], config.kernel, padding=config.kernel // 2)
        self.mid = Middle(widths[-1], 3, config.groups)
        self.up = nn.ModuleList()
        for i, outputs in enumerate(widths):
            inputs = widths[min(i + 1, len(widths) - 1)]
            level = Level(inputs, outputs, config.blocks + 1, 3, config.groups)
            level.upsample = Resample(outputs, up=True) if i - 1 in config.halved else None
            self.up.append(level)
        self.norm_out = nn.GroupNorm(config.groups, widths[0], eps=1e-6)
        self.conv_out = nn.Conv1d(widths[0], config.mels, config.kernel, padding=config.kernel // 2)

    def forward(self, z: Tensor) -> Tensor:
        """`[B, channels, T]` to `[B, mels, T frames]`."""
        h = self.mid(self.conv_in(z))
        for level in reversed(list(self.up)):
            h = level(h)
        out: Tensor = self.conv_out(F.silu(self.norm_out(h)))
        return out


class MelVAE(nn.Module):
    """Mels to latents and back: the autoencoder alone, without sounds."""

    def __init__(self, config: VAE1DConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.quant_conv = nn.Conv1d(2 * config.channels, 2 * config.embed, 1)
        self.post_quant_conv = nn.Conv1d(config.embed, config.channels, 1)
        self.scale_factor: Tensor
        self.register_buffer("scale_factor", torch.ones(()))

    def encode(self, mel: Tensor) -> Tensor:
        """Mels `[B, mels, T]` to scaled latents `[B, embed, T / frames]`: the mode of the posterior."""
        mode: Tensor = self.quant_conv(self.encoder(mel))[:, : self.config.embed]
        return mode * self.scale_factor

    def decode(self, latents: Tensor) -> Tensor:
        """Scaled latents `[B, embed, T]` to mels `[B, mels, T frames]`."""
        mel: Tensor = self.decoder(self.post_quant_conv(latents / self.scale_factor))
        return mel


class VAE1D:
    """Sounds to latents and back; a `Codec`. In float32, each sound by itself, so that batch mates change nothing."""

    def __init__(self, network: MelVAE, vocoder: Vocoder) -> None:
        """vocoder: turns the mels of one sound into samples, on the network's device."""
        self.network = network.float().eval().requires_grad_(False)
        self.vocoder = vocoder
        self._analysis = MelSpectrogram(MelConfig(mels=network.config.mels)).to(network.scale_factor.device)
        self.stride: tuple[int, ...] = (self._analysis.config.hop * network.config.frames,)
        self.channels = network.config.embed

    @torch.no_grad()
    def encode(self, media: Tensor) -> Tensor:
        """Media `[B, 1, N]` in -1..1, N a multiple of the stride, to latents `[B, channels, N / stride]`."""
        if media.ndim != 3 or media.shape[1] != 1 or media.shape[2] % self.stride[0] or not media.shape[2]:
            wanted = f"[B, 1, samples] with samples divisible by {self.stride[0]}"
            raise ValueError(f"the codec vae1d takes {wanted}, not {list(media.shape)}")
        sounds = torch.split(media.to(self.network.scale_factor.device, torch.float32), 1)
        return torch.cat([self.network.encode(self._analysis(sound)) for sound in sounds])

    @torch.no_grad()
    def decode_to_mel(self, latents: Tensor) -> Tensor:
        """Latents `[B, channels, T]` to log10 mels `[B, mels, T frames]`."""
        if latents.ndim != 3 or latents.shape[1] != self.channels or not latents.shape[2]:
            raise ValueError(f"latents should be [B, {self.channels}, frames], not {list(latents.shape)}")
        rows = torch.split(latents.to(self.network.scale_factor.device, torch.float32), 1)
        return torch.cat([self.network.decode(row) for row in rows])

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Latents `[B, channels, T]` to media `[B, 1, T stride]` in -1..1."""
        return torch.cat([self.vocoder(mel) for mel in torch.split(self.decode_to_mel(latents), 1)]).clamp(-1, 1)


def expected_shapes(config: VAE1DConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of the codec's file: published names without their prefix, and `scale_factor`."""
    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in MelVAE(config).state_dict().items()}


def load(spec: Mapping[str, Any], device: torch.device | str, dtype: torch.dtype) -> VAE1D:
    """The codec of a description: `file` (safetensors), `config`, and `vocoder`, a mapping with `kind` and `config`.

    The vocoder's weights are `vocoder.safetensors` beside the file; without `vocoder`, Griffin-Lim takes its place.
    CheckpointError when weights and configuration do not agree. Always in float32.
    """
    unknown = set(spec) - {"kind", "file", "folder", "config", "vocoder"}
    if unknown or "file" not in spec:
        wrong = f"unknown {', '.join(sorted(unknown))}" if unknown else "no `file`"
        raise ValueError(f"codec vae1d: {wrong}; it takes file, config and vocoder")
    network, file = MelVAE(VAE1DConfig.from_mapping(spec.get("config", {}))), Path(spec["file"])
    tensors = {name.removeprefix(PREFIX): tensor.float() for name, tensor in read_tensors(file).items()}
    check_tensors(tensors, {name: tuple(value.shape) for name, value in network.state_dict().items()}, str(file))
    network.load_state_dict(tensors)
    return VAE1D(network.to(device), _vocoder(spec.get("vocoder"), file.parent, network.config, device))


def _vocoder(spec: Mapping[str, Any] | None, folder: Path, config: VAE1DConfig, device: torch.device | str) -> Vocoder:
    if spec is None:
        return MelGriffinLim(MelGriffinLimConfig(mels=config.mels)).to(device).decode
    if spec.get("kind") != "bigvgan":
        raise ValueError(f"codec vae1d: unknown vocoder `{spec.get('kind')}`; known: bigvgan")
    parts = {"kind": "bigvgan", "file": str(folder / "vocoder.safetensors"), "config": spec.get("config", {})}
    vocoder: Vocoder = load_bigvgan(parts, device, torch.float32).decode_mel
    return vocoder
