"""The built-in image codec: a small convolutional autoencoder, stride 4, made for the built-in image model.

Pictures are folded into half their side first and unfolded last (pixel shuffle), so no convolution runs at full
resolution. Latents are softly bounded and normalised channel by channel to unit variance with statistics that are
stored beside the weights. It is deterministic: there is no sampling in `encode`. Any height and width that 4 divides
will do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modalities.weights.checkpoint import read_tensors
from modalities.weights.configuration import config_from, plain_values


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageAutoencoderConfig:
    """Shape of the autoencoder.

    channels: latent channels. width: features at half and at quarter resolution. encoder_blocks, decoder_blocks:
    residual blocks at half and at quarter resolution. bound: latents before normalisation lie in -bound..bound.
    """

    media_channels: int = 3
    channels: int = 4
    width: tuple[int, int] = (48, 64)
    encoder_blocks: tuple[int, int] = (1, 2)
    decoder_blocks: tuple[int, int] = (2, 3)
    bound: float = 3.0

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Read a configuration from plain values; ValueError names keys that do not exist."""
        return config_from(cls, values, "image autoencoder")

    def to_mapping(self) -> dict[str, Any]:
        """Plain values, as `model.json` holds them."""
        return plain_values(self)


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions beside an identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, width, H, W]` to the same shape."""
        change: Tensor = self.second(F.silu(self.first(F.silu(x))))
        return x + change


def _blocks(width: int, number: int) -> list[nn.Module]:
    return [ResidualBlock(width) for _ in range(number)]


class ImageAutoencoder(nn.Module):
    """Pictures in -1..1 to latents of about unit variance and back; a `Codec`."""

    stride: tuple[int, ...] = (4, 4)

    def __init__(self, config: ImageAutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        self.channels = config.channels
        half, quarter = config.width
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(2),
            nn.Conv2d(4 * config.media_channels, half, 3, padding=1),
            *_blocks(half, config.encoder_blocks[0]),
            nn.Conv2d(half, quarter, 4, stride=2, padding=1),
            *_blocks(quarter, config.encoder_blocks[1]),
            nn.SiLU(),
            nn.Conv2d(quarter, config.channels, 3, padding=1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(config.channels, quarter, 3, padding=1),
            *_blocks(quarter, config.decoder_blocks[1]),
            nn.Conv2d(quarter, 4 * half, 3, padding=1),
            nn.PixelShuffle(2),
            *_blocks(half, config.decoder_blocks[0]),
            nn.SiLU(),
            nn.Conv2d(half, 4 * config.media_channels, 3, padding=1),
            nn.PixelShuffle(2),
        )
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.zeros(config.channels))
        self.register_buffer("std", torch.ones(config.channels))

    def raw_latents(self, media: Tensor) -> Tensor:
        """Latents before normalisation, bounded by `bound * tanh(z / bound)`."""
        bound = self.config.bound
        return bound * torch.tanh(self.encoder(media) / bound)

    def raw_decode(self, latents: Tensor) -> Tensor:
        """Media of latents before normalisation; not clamped, so that training has gradients everywhere."""
        media: Tensor = self.decoder(latents)
        return media

    def encode(self, media: Tensor) -> Tensor:
        """Media `[B, 3, H, W]` to latents `[B, channels, H / 4, W / 4]`; ValueError when 4 divides H or W not."""
        if media.ndim != 4 or media.shape[1] != self.config.media_channels or any(n % 4 for n in media.shape[2:]):
            wanted = f"[B, {self.config.media_channels}, H, W] with H and W divisible by 4"
            raise ValueError(f"the image autoencoder takes {wanted}, not {list(media.shape)}")
        raw = self.raw_latents(media.to(self.mean.dtype))
        return (raw - self._channel(self.mean)) / self._channel(self.std)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents `[B, channels, h, w]` to media `[B, 3, 4 h, 4 w]` in -1..1."""
        if latents.ndim != 4 or latents.shape[1] != self.channels:
            raise ValueError(f"latents should be [B, {self.channels}, h, w], not {list(latents.shape)}")
        raw = latents.to(self.mean.dtype) * self._channel(self.std) + self._channel(self.mean)
        bound = self.config.bound
        return self.raw_decode(raw.clamp(-bound, bound)).clamp(-1, 1)

    def normalise_by(self, media: Tensor) -> None:
        """Set the stored mean and deviation of every latent channel from a batch of media."""
        with torch.no_grad():
            raw = self.raw_latents(media)
            self.mean.copy_(raw.mean(dim=(0, 2, 3)))
            self.std.copy_(raw.std(dim=(0, 2, 3)).clamp_min(1e-4))

    @staticmethod
    def _channel(values: Tensor) -> Tensor:
        return values.view(1, -1, 1, 1)


def reconstruction_loss(media: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error plus that of the differences between neighbours, which keeps edges sharp."""
    loss = (media - target).abs().mean()
    for axis in (2, 3):
        loss = loss + (media.diff(dim=axis) - target.diff(dim=axis)).abs().mean()
    return loss


def load(spec: Mapping[str, Any], device: torch.device | str, dtype: torch.dtype) -> ImageAutoencoder:
    """The codec of a description: `file` (safetensors) and `config`. CheckpointError when the two do not agree.

    It always computes in float32: it is small, and rounding would show in flat colours.
    """
    unknown = set(spec) - {"kind", "file", "folder", "config"}
    if unknown or "file" not in spec:
        wrong = f"unknown {', '.join(sorted(unknown))}" if unknown else "no `file`"
        raise ValueError(f"codec image-autoencoder: {wrong}; it takes file and config")
    codec = ImageAutoencoder(ImageAutoencoderConfig.from_mapping(spec.get("config", {})))
    shapes = {name: tuple(value.shape) for name, value in codec.state_dict().items()}
    tensors = read_tensors(Path(spec["file"]), shapes)
    codec.load_state_dict({name: value.float() for name, value in tensors.items()})
    return codec.to(device).eval().requires_grad_(False)
