"""Sounds as logarithmic mel spectrograms, and back by Griffin-Lim: the codec of the built-in audio model.

The mel is the one of the released Lumina audio and music models (and of their BigVGAN vocoder): 16 kHz, frames of 1024
samples 256 apart, 80 Slaney filters from 0 to 8000 Hz, log10 of values of at least 1e-5; the sound is reflected by
(window - hop) / 2 = 384 samples at both ends, so N samples give exactly N / 256 frames. It holds no weights: means and
deviations of every mel bin stand in the codec's configuration, so that latents have about unit variance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modalities.codecs.griffin_lim import griffin_lim, nonnegative_spectrum, spectrum
from modalities.weights.configuration import config_from

LOUDEST = 0.99
"""Samples of a decoded sound whose peak would be larger are scaled down to it, never clipped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MelConfig:
    """How sounds become mel spectrograms.

    rate: samples a second. window, hop: samples of a frame and between frames. mels: filters between `lowest` and
    `highest` (Hz). floor: smallest magnitude. mean, std: of log10 magnitudes, one number per filter; empty means 0, 1.
    """

    rate: int = 16_000
    window: int = 1024
    hop: int = 256
    mels: int = 80
    lowest: float = 0.0
    highest: float = 8000.0
    floor: float = 1e-5
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.hop < 1 or self.window % self.hop or (self.window - self.hop) % 2:
            raise ValueError(
                f"window {self.window} should be a multiple of hop {self.hop}, and differ by an even number"
            )
        if not 0 <= self.lowest < self.highest <= self.rate / 2:
            raise ValueError(f"filters from {self.lowest} to {self.highest} Hz do not fit in 0..{self.rate / 2:g} Hz")
        for name in ("mean", "std"):
            values = getattr(self, name)
            if values and len(values) != self.mels:
                raise ValueError(f"{name} has {len(values)} numbers; expected one for each of {self.mels} filters")
        if self.floor <= 0 or any(value <= 0 for value in self.std):
            raise ValueError("floor and every std should be above 0")

    @property
    def pad(self) -> int:
        """Samples reflected at each end."""
        return (self.window - self.hop) // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class MelGriffinLimConfig(MelConfig):
    """A mel spectrogram and how it is turned back.

    inversion_steps: multiplicative steps from mels to magnitudes. steps, momentum: of fast Griffin-Lim. fade_in,
    fade_out: samples of the cosine fades at both ends, against clicks.
    """

    inversion_steps: int = 30
    steps: int = 32
    momentum: float = 0.99
    fade_in: int = 32
    fade_out: int = 256


class MelSpectrogram(nn.Module):
    """Samples to normalised log10 mels, and normalised mels to magnitudes."""

    def __init__(self, config: MelConfig) -> None:
        super().__init__()
        self.config = config
        mean = config.mean or (0.0,) * config.mels
        std = config.std or (1.0,) * config.mels
        self.filters: Tensor
        self.frame: Tensor
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("filters", mel_filters(config), persistent=False)
        self.register_buffer("frame", torch.hann_window(config.window), persistent=False)
        self.register_buffer("mean", torch.tensor(mean)[:, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None], persistent=False)

    def forward(self, media: Tensor) -> Tensor:
        """Media `[B, 1, N]` in -1..1 to `[B, mels, N / hop]`; ValueError when hop does not divide N."""
        config = self.config
        if media.ndim != 3 or media.shape[1] != 1 or media.shape[2] % config.hop or media.shape[2] <= config.pad:
            wanted = f"[B, 1, samples], a multiple of {config.hop} samples and more than {config.pad}"
            raise ValueError(f"a mel spectrogram takes {wanted}, not {list(media.shape)}")
        padded = F.pad(media.float(), (config.pad, config.pad), mode="reflect")[:, 0]
        found = spectrum(padded, self.frame, config.hop)
        magnitudes = (found.real.square() + found.imag.square() + 1e-9).sqrt()
        logs = (self.filters.T @ magnitudes).clamp_min(config.floor).log10()
        return (logs - self.mean) / self.std

    def raw(self, latents: Tensor) -> Tensor:
        """Log10 mels `[..., mels, T]` of normalised ones; not below the floor, not above what full scale can give."""
        lowest = torch.tensor(self.config.floor).log10().item()
        return (latents.float() * self.std + self.mean).clamp(lowest, 3.0)


def mel_filters(config: MelConfig) -> Tensor:
    """Triangular filters `[window / 2 + 1, mels]` on Slaney's mel scale, each of unit area."""
    from torchaudio.functional import melscale_fbanks  # half a second

    with torch.device("cpu"):  # values are needed even where the rest is only shapes
        filters: Tensor = melscale_fbanks(
            config.window // 2 + 1,
            config.lowest,
            config.highest,
            config.mels,
            config.rate,
            norm="slaney",
            mel_scale="slaney",
        )
    return filters


class MelGriffinLim(nn.Module):
    """Sounds to mel spectrograms and back by Griffin-Lim; a `Codec` without weights."""

    def __init__(self, config: MelGriffinLimConfig) -> None:
        super().__init__()
        self.config = config
        self.mel = MelSpectrogram(config)
        self.stride: tuple[int, ...] = (config.hop,)
        self.channels = config.mels

    def encode(self, media: Tensor) -> Tensor:
        """Media `[B, 1, N]` to `[B, mels, N / hop]`, about unit variance; each sound by itself."""
        return torch.cat([self.mel(one) for one in torch.split(media, 1)]) if len(media) else self.mel(media)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents `[B, mels, T]` to media `[B, 1, T hop]` in -1..1, faded at both ends; each sound by itself."""
        if latents.ndim != 3 or latents.shape[1] != self.channels or latents.shape[2] < 2:
            raise ValueError(f"latents should be [B, {self.channels}, frames], 2 or more, not {list(latents.shape)}")
        return torch.stack([self._sound(one)[None] for one in latents])

    def _sound(self, latents: Tensor) -> Tensor:
        config, mel = self.config, self.mel
        magnitudes = nonnegative_spectrum(10 ** mel.raw(latents), mel.filters, config.inversion_steps)
        samples = griffin_lim(magnitudes, mel.frame, config.hop, config.steps, config.momentum)
        samples = samples[config.pad : len(samples) - config.pad]
        return faded(samples / (samples.abs().max() / LOUDEST).clamp_min(1.0), config.fade_in, config.fade_out)


def faded(samples: Tensor, first: int, last: int) -> Tensor:
    """Samples `[N]` that begin and end at zero: half-cosine fades over `first` and `last` samples."""
    samples = samples.clone()
    for count, backwards in ((min(first, len(samples)), False), (min(last, len(samples)), True)):
        ramp = 0.5 - 0.5 * torch.cos(torch.linspace(0, torch.pi, count + 1, device=samples.device)[:-1])
        if backwards:
            samples[len(samples) - count :] *= ramp.flip(0)
        else:
            samples[:count] *= ramp
    return samples


def load(spec: Mapping[str, Any], device: torch.device | str, dtype: torch.dtype) -> MelGriffinLim:
    """The codec of a description, which has a `config` and no file. It computes in float32 whatever the dtype."""
    unknown = set(spec) - {"kind", "folder", "config"}
    if unknown:
        raise ValueError(f"codec mel-griffin-lim: unknown {', '.join(sorted(unknown))}; it takes config alone")
    codec = MelGriffinLim(config_from(MelGriffinLimConfig, spec.get("config", {}), "mel spectrogram"))
    return codec.to(device).eval().requires_grad_(False)
