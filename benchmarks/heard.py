"""What is heard in a sound: its pitch, whether it is silent, clipped, or clicks at its ends, how long it lasts.

Pitch is that of YIN (de Cheveigne and Kawahara, "YIN, a fundamental frequency estimator for speech and music", 2002):
the first deep dip of the cumulative mean normalised difference, refined by a parabola, in every frame that is loud
enough, and the median of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

RATE = 16_000
FRAME, HOP = 2048, 512
LOWEST, HIGHEST = 60.0, 1400.0
"""Hz between which a pitch is looked for; the benchmark's notes are 82 to 988 Hz."""
DEEP = 0.15
QUIET = 0.06
"""Frames below this share of the loudest frame's root mean square are not listened to."""
SILENT = 1e-3
"""A sound whose root mean square is lower (-60 dBFS) is silent."""
CLIPPED = 0.999
CLICK = 0.02
"""A sound clicks when its first or last sample, or the step to it, is larger than this share of its peak."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What is heard in one sound. pitch: MIDI number, NaN when no frame has one. sounding: share of frames heard."""

    pitch: float
    peak: float
    rms: float
    sounding: float
    is_silent: bool
    is_clipped: bool
    clicks: bool


def listen(sound: Tensor) -> Heard:
    """Listen to samples `[N]` of 16 kHz."""
    peak = float(sound.abs().max())
    rms = float(sound.square().mean().sqrt())
    pitches, loud = pitch_track(sound)
    voiced = pitches[loud & pitches.isfinite()]
    ends = torch.stack([sound[0].abs(), sound[-1].abs(), (sound[1] - sound[0]).abs(), (sound[-1] - sound[-2]).abs()])
    return Heard(
        pitch=float(voiced.median()) if len(voiced) else float("nan"),
        peak=round(peak, 4),
        rms=round(rms, 5),
        sounding=round(float(loud.float().mean()), 4),
        is_silent=rms < SILENT,
        is_clipped=bool((sound.abs() >= CLIPPED).any()),
        clicks=bool((ends > CLICK * max(peak, 1e-9)).any()),
    )


def pitch_track(sound: Tensor) -> tuple[Tensor, Tensor]:
    """MIDI number of every frame `[T]` (NaN where none is found), and whether the frame is loud enough `[T]`."""
    frames = sound.double().unfold(0, FRAME, HOP)
    level = frames.square().mean(dim=1).sqrt()
    loud = level > QUIET * level.max()
    periods = _periods(frames)
    return 69 + 12 * (RATE / periods / 440).log2(), loud


def _periods(frames: Tensor) -> Tensor:
    """The period of each frame in samples `[T]`; NaN for frames without one."""
    longest, shortest = int(RATE / LOWEST), int(RATE / HIGHEST)
    half = FRAME - longest - 2
    lags = longest + 2
    # d(lag) = sum of (x[n] - x[n + lag])^2 over the first `half` samples = power + shifted power - 2 correlation.
    size = 2 * FRAME
    head = torch.fft.rfft(frames[:, :half], n=size)
    correlation = torch.fft.irfft(head.conj() * torch.fft.rfft(frames, n=size), n=size)[:, :lags]
    squares = torch.nn.functional.pad(frames.square().cumsum(dim=1), (1, 0))
    shifted = squares[:, half : half + lags] - squares[:, :lags]
    difference = (shifted[:, :1] + shifted - 2 * correlation).clamp_min(0)
    counts = torch.arange(lags, dtype=torch.float64)
    mean = difference.cumsum(dim=1) / counts.clamp_min(1)
    normalised = torch.where(mean > 0, difference / mean.clamp_min(1e-30), torch.ones_like(mean))
    found = [_first_dip(row, shortest, longest) for row in normalised]
    return torch.tensor(found, dtype=torch.float64)


def _first_dip(row: Tensor, shortest: int, longest: int) -> float:
    inner = row[shortest : longest + 1]
    is_dip = (inner <= row[shortest - 1 : longest]) & (inner < row[shortest + 1 : longest + 2])
    dips = is_dip.nonzero().flatten() + shortest
    if not len(dips):
        return float("nan")
    deep = dips[row[dips] < DEEP]
    best = int(deep[0]) if len(deep) else int(dips[row[dips].argmin()])
    if not len(deep) and float(row[best]) > 0.6:
        return float("nan")
    before, here, after = (float(row[best + i]) for i in (-1, 0, 1))
    bend = before - 2 * here + after
    return best + (0.5 * (before - after) / bend if bend > 0 else 0.0)
