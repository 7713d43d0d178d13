"""Any picture codec as a codec of videos and views: every frame is encoded and decoded as a picture of its own.

This is how Lumina-T2X makes latents of videos (arXiv:2405.05945, section 2.3: each frame through an image VAE, no
compression in time). Each sample is worked on alone, a few frames at a time, so that neither batch mates nor length
change what becomes of a frame, and memory does not grow with either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor

from modalities import catalog
from modalities.contracts import Codec

MOST_PIXELS = 64 * 1024
"""Pixels of the frames that go through the inner codec at once; a larger frame goes alone."""
MOST_FRAMES = 16
"""Frames that go through the inner codec at once, however small they are."""


class PerFrame:
    """A `Codec` of media `[B, 3, F, H, W]` made of one of pictures `[B, 3, H, W]`; stride 1 along the frames."""

    def __init__(self, inner: Codec) -> None:
        """inner: the picture codec; ValueError when it is not one of two axes."""
        if len(inner.stride) != 2:
            raise ValueError(f"per-frame takes a codec of pictures, with two strides; this one has {inner.stride}")
        self.inner = inner
        self.stride: tuple[int, ...] = (1, *inner.stride)
        self.channels = inner.channels

    def encode(self, media: Tensor) -> Tensor:
        """Media `[B, 3, F, H, W]` in -1..1 to latents `[B, channels, F, H / s, W / s]`."""
        pixels = media.shape[-2] * media.shape[-1] if media.ndim == 5 else 0
        return self._by_frames(self.inner.encode, media, "media", 3, pixels)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents `[B, channels, F, h, w]` to media `[B, 3, F, h s, w s]` in -1..1."""
        cells = latents.shape[-2] * latents.shape[-1] if latents.ndim == 5 else 0
        pixels = cells * self.inner.stride[0] * self.inner.stride[1]
        return self._by_frames(self.inner.decode, latents, "latents", self.channels, pixels)

    def _by_frames(
        self, function: Callable[[Tensor], Tensor], batch: Tensor, name: str, channels: int, pixels: int
    ) -> Tensor:
        if batch.ndim != 5 or batch.shape[1] != channels or 0 in batch.shape:
            wanted = f"[B, {channels}, frames, rows, columns] with at least one frame"
            raise ValueError(f"{name} of a per-frame codec should be {wanted}, not {list(batch.shape)}")
        at_once = max(1, min(MOST_FRAMES, MOST_PIXELS // pixels))
        samples = []
        for sample in batch.transpose(1, 2):
            frames = torch.cat([function(part) for part in sample.split(at_once)])
            samples.append(frames.transpose(0, 1))
        return torch.stack(samples)


def load(spec: Mapping[str, Any], device: torch.device | str, dtype: torch.dtype) -> PerFrame:
    """The codec of a description: `codec` is that of the inner codec, with `kind` and what that kind takes.

    ValueError when `codec` is missing or its kind is unknown; the inner codec's own errors pass through.
    """
    unknown = set(spec) - {"kind", "codec", "folder", "config", "of"}
    inner = spec.get("codec")
    if unknown or not isinstance(inner, Mapping) or "kind" not in inner:
        wrong = f"unknown {', '.join(sorted(unknown))}" if unknown else "no `codec` with a `kind`"
        raise ValueError(f"codec per-frame: {wrong}; it takes `codec`, the description of a picture codec")
    try:
        load_inner = cast(Callable[..., Codec], catalog.resolve("codec", str(inner["kind"])))
    except KeyError as error:
        raise ValueError(f"codec per-frame: {error.args[0]}") from None
    return PerFrame(load_inner(inner, device, dtype))
