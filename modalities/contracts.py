"""The nouns and protocols that every part of `modalities` shares.

Time runs from noise (t = 0) to data (t = 1) and a velocity is dx/dt. Sizes are in media units (pixels, frames, samples,
points), one number per axis of the modality and rows before columns; latents are `[batch, channels, *axes]`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

Size = tuple[int, ...]
Velocity = Callable[[Tensor, Tensor], Tensor]
"""`velocity(x, t)`: x is `[B, C, *axes]`, t a 0-dimensional tensor; returns dx/dt in the shape of x."""


class CheckpointError(ValueError):
    """A checkpoint is missing, unreadable, unsafe, or does not hold what its configuration says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditioning:
    """What a text encoder says of a batch of prompts.

    tokens: `[B, L, D]` features, one row of L per prompt, right-padded.
    mask: `[B, L]` bool, True where a token is real. Every row has at least one True.
    """

    tokens: Tensor
    mask: Tensor

    def __len__(self) -> int:
        return self.tokens.shape[0]

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Conditioning:
        """The same conditioning on a device, its tokens cast to `dtype` when one is given."""
        return Conditioning(tokens=self.tokens.to(device=device, dtype=dtype), mask=self.mask.to(device))

    def rows(self, rows: slice) -> Conditioning:
        """The conditionings of some of the prompts."""
        return Conditioning(tokens=self.tokens[rows], mask=self.mask[rows])

    def split(self) -> list[Conditioning]:
        """One conditioning per prompt, without padding, so that equal prompts give equal tensors."""
        lengths = self.mask.sum(dim=1).tolist()
        return [
            Conditioning(tokens=self.tokens[i : i + 1, :n].clone(), mask=self.mask[i : i + 1, :n].clone())
            for i, n in enumerate(lengths)
        ]

    @staticmethod
    def stack(parts: Sequence[Conditioning], length: int | None = None) -> Conditioning:
        """Concatenate along the batch, right-padding with zeros to the longest part (or to `length`)."""
        longest = max(part.tokens.shape[1] for part in parts) if length is None else length
        pad = [longest - part.tokens.shape[1] for part in parts]
        tokens = [torch.nn.functional.pad(part.tokens, (0, 0, 0, n)) for part, n in zip(parts, pad, strict=True)]
        masks = [torch.nn.functional.pad(part.mask, (0, n)) for part, n in zip(parts, pad, strict=True)]
        return Conditioning(tokens=torch.cat(tokens), mask=torch.cat(masks))


@dataclass(frozen=True, slots=True, kw_only=True)
class Guidance:
    """Classifier-free guidance: v = v_negative + scale (v_positive - v_negative).

    interval: the times t in which guidance acts; outside, the positive velocity is used alone.
    channels: guide only the first so many channels (3 in the released Lumina code); None guides all.
    """

    scale: float = 4.0
    interval: tuple[float, float] = (0.0, 1.0)
    channels: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Extrapolation:
    """How positions are rescaled when the size is not the trained one. See `nextdit/extrapolation.py`.

    method: none, position-interpolation, ntk-aware, frequency-aware, time-aware or watershed.
    watershed: time at which the watershed method changes from interpolation to NTK.
    proportional_attention: scale self-attention by sqrt(log_base(tokens)), base = trained tokens.
    context_drop: largest fraction of keys and values pooled away (at t = 0); 0 turns it off.
    scale: per-axis (wanted / trained tokens of each axis, never below 1), area (one scale for all axes, the square root
    of the token ratio, never below 1: the released Lumina code), or area-always (also below 1: the diffusers pipeline).
    """

    method: str = "none"
    watershed: float = 0.3
    proportional_attention: bool = False
    context_drop: float = 0.0
    scale: str = "per-axis"


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateOptions:
    """How latents are made from conditioning. Names are those of `modalities.catalog`.

    steps: number of intervals of the time grid. strength: 1 starts from noise; less starts from `start` latents
    re-noised to t = 1 - strength.
    """

    sampler: str = "midpoint"
    sampler_options: Mapping[str, float | str] = field(default_factory=dict)
    steps: int = 20
    schedule: str = "shifted"
    schedule_options: Mapping[str, float] = field(default_factory=dict)
    guidance: Guidance = field(default_factory=Guidance)
    extrapolation: Extrapolation = field(default_factory=Extrapolation)
    strength: float = 1.0


@runtime_checkable
class TextEncoder(Protocol):
    """Prompts to conditioning. A prompt's conditioning never depends on its batch mates."""

    width: int
    """D, the last axis of the tokens."""
    fingerprint: str
    """A hash of everything that decides the output: weights, tokenizer, layer, length."""

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """Encode prompts; right-padded to the longest. An empty prompt is allowed."""
        ...

    def unknown_words(self, prompt: str) -> list[str]:
        """The words of a prompt that the encoder has no meaning for."""
        ...


@runtime_checkable
class Codec(Protocol):
    """Media to latents and back. Media are float tensors `[B, channels, *axes]` in -1..1."""

    stride: tuple[int, ...]
    """Media units per latent cell, for each axis."""
    channels: int
    """Channels of the latents."""

    def encode(self, media: Tensor) -> Tensor:
        """Media `[B, C, *size]` to latents `[B, channels, *size / stride]`, scaled to about unit variance."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Latents to media in -1..1."""
        ...


@runtime_checkable
class Generator(Protocol):
    """Conditioning to latents, and the loss that trains it."""

    def latent_shape(self, size: Size) -> tuple[int, ...]:
        """`[channels, *axes]` of the latents of one sample; ValueError when the size does not fit the model."""
        ...

    def generate(
        self,
        conditioning: Conditioning,
        negative: Conditioning | None,
        size: Size,
        seeds: Sequence[int],
        options: GenerateOptions,
        start: Tensor | None = None,
    ) -> Tensor:
        """Latents `[B, channels, *axes]`. Sample i depends on conditioning i and seed i, never on the batch order."""
        ...

    def loss(self, latents: Tensor, conditioning: Conditioning, *, generator: torch.Generator) -> Tensor:
        """Scalar training loss of a batch of latents `[B, channels, *axes]`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Modality:
    """What makes one kind of media: axes, codec, generator, limits, defaults and the names of its exporters.

    codec: the built-in one, as model.json holds it. generator: what the kind of media decides of a Next-DiT's
    configuration (`NextDiTConfig`). A training file takes both from here unless it says otherwise.
    rate: media units a second along the first axis (frames of a video, samples of a sound); 0 where there is no time.
    is_bytes: media leave the decode stage as uint8 (pictures); otherwise as float32 in -1..1.
    enlargement: how latents are brought to another size before a larger sample is made from them: `media` (decode,
    resize, encode: between two cells lies no latent that decodes to what lies between them), `latents` (a sound: its
    spectrogram is stretched in time, where stretching the wave would lower the pitch) or `repetition` (points without
    order: each stands for several, which their noise tells apart).
    """

    name: str
    axes: tuple[str, ...]
    media_channels: int
    formats: tuple[str, ...]
    codec: Mapping[str, Any]
    generator: Mapping[str, Any]
    default_size: Size
    largest_size: Size
    defaults: GenerateOptions
    rate: float = 0.0
    is_bytes: bool = True
    enlargement: Literal["media", "latents", "repetition"] = "media"
