"""Coloured points as latents: each point is a cell, coordinates and colours are shifted and scaled to unit variance.

There are no weights. Every point is coded by itself, so the result depends neither on batch mates nor on the order of
the points, and any number of points will do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from modalities.weights.configuration import config_from, plain_values

COORDINATES = 3
"""Of the six channels x, y, z, red, green, blue, so many come first and are coordinates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PointsConfig:
    """latent = (value - mean) / scale, with one mean and scale for the coordinates and one for the colours.

    One number for all three coordinates keeps distances in proportion. The defaults are the statistics of the corpus
    solids-and-furniture, whose objects fill the unit ball.
    """

    coordinate_mean: float = 0.0
    coordinate_scale: float = 0.37
    colour_mean: float = 0.0
    colour_scale: float = 0.63

    def __post_init__(self) -> None:
        if not (self.coordinate_scale > 0 and self.colour_scale > 0):
            raise ValueError(f"codec points: scales must be above 0, not {self.coordinate_scale}, {self.colour_scale}")

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Read a configuration from plain values; ValueError names keys that do not exist."""
        return config_from(cls, values, "codec points")

    def to_mapping(self) -> dict[str, Any]:
        """Plain values, as `model.json` holds them."""
        return plain_values(self)


class Points:
    """Clouds `[B, 6, N]` in -1..1 to latents of about unit variance and back; a `Codec`."""

    stride: tuple[int, ...] = (1,)
    channels: int = 6

    def __init__(self, config: PointsConfig, device: torch.device | str = "cpu") -> None:
        self.config = config
        means = [config.coordinate_mean] * COORDINATES + [config.colour_mean] * COORDINATES
        scales = [config.coordinate_scale] * COORDINATES + [config.colour_scale] * COORDINATES
        self._mean = torch.tensor(means, device=device).view(1, -1, 1)
        self._scale = torch.tensor(scales, device=device).view(1, -1, 1)

    def encode(self, media: Tensor) -> Tensor:
        """Clouds `[B, 6, N]` to latents `[B, 6, N]`; ValueError when there are not six channels."""
        self._check(media, "media")
        return (media.float() - self._mean) / self._scale

    def decode(self, latents: Tensor) -> Tensor:
        """Latents `[B, 6, N]` to clouds with coordinates and colours held in -1..1."""
        self._check(latents, "latents")
        return (latents.float() * self._scale + self._mean).clamp(-1, 1)

    def _check(self, values: Tensor, what: str) -> None:
        if values.ndim != 3 or values.shape[1] != self.channels:
            raise ValueError(f"codec points: {what} should be [B, {self.channels}, N], not {list(values.shape)}")


def load(spec: Mapping[str, Any], device: torch.device | str, dtype: torch.dtype) -> Points:
    """The codec of a description: `config` alone, for there are no weights. It always computes in float32."""
    unknown = set(spec) - {"kind", "folder", "config"}
    if unknown:
        raise ValueError(f"codec points: unknown {', '.join(sorted(unknown))}; it takes config")
    return Points(PointsConfig.from_mapping(spec.get("config", {})), device)
