"""How loud a sound is, and how it is brought to a loudness without ever clipping.

Rec. ITU-R BS.1770-4: K-weighting, mean squares of blocks of 400 ms that overlap by three quarters, an absolute gate at
-70 LUFS and a relative one 10 LU below the mean of what passes it. True peaks are measured at four times the rate (its
annex 2). One channel.
"""

from __future__ import annotations

from math import cos, log10, pi, sin, tan

import torch
from torch import Tensor

BLOCK = 0.4
"""Seconds of a block; a shorter sound is one block."""
ABSOLUTE_GATE = -70.0
RELATIVE_GATE = -10.0
OFFSET = -0.691
"""LUFS of a K-weighted mean square of 1: a sine of 997 Hz at full scale has -3.01 LUFS."""
TABLE_RATE = 48_000
"""Samples a second at which BS.1770-4 gives its filters."""
QUIETEST = 1e-4
"""A sound whose largest sample is smaller (-80 dBFS) counts as silence."""


def levelled(samples: Tensor, rate: float, loudness: float | None, peak: float) -> Tensor:
    """Samples `[N]` scaled to a loudness in LUFS, or to where their true peak reaches `peak` dBFS if that is quieter.

    loudness None: only scaled down, where the peak is above its limit. ValueError for silence.
    """
    found = true_peak(samples)
    if float(samples.abs().max()) < QUIETEST:
        raise ValueError("the sound is silent (below -80 dBFS), so there is nothing to bring to a loudness")
    limit = 10 ** (peak / 20) / found
    if loudness is None:
        return samples * min(1.0, limit)
    gain = 10 ** ((loudness - integrated_loudness(samples, rate)) / 20)
    return samples * min(gain, limit)


def integrated_loudness(samples: Tensor, rate: float) -> float:
    """Loudness of samples `[N]` in LUFS (BS.1770-4, equations 2 to 7); never below the absolute gate of -70."""
    weighted = k_weighted(samples, rate)
    size = min(len(weighted), round(BLOCK * rate))
    powers = weighted.unfold(0, size, max(1, round(BLOCK * rate / 4))).square().mean(dim=1)
    levels = OFFSET + 10 * powers.clamp_min(1e-20).log10()
    heard = levels > ABSOLUTE_GATE
    if not bool(heard.any()):
        return ABSOLUTE_GATE
    relative = OFFSET + 10 * log10(float(powers[heard].mean())) + RELATIVE_GATE
    return OFFSET + 10 * log10(float(powers[heard & (levels > relative)].mean()))


def k_weighted(samples: Tensor, rate: float) -> Tensor:
    """Samples `[N]` after the two filters of BS.1770-4 (a shelf for the head, a high pass), in float64.

    The filters are recursive; they are applied as their frequency response, with room for half a second of ringing.
    The response is that of 48 kHz whatever lower rate the samples have, since a filter made for a low rate bends below
    its highest frequency.
    """
    room = len(samples) + round(0.5 * rate)
    size = 1 << (room - 1).bit_length()
    made_for = max(rate, TABLE_RATE)
    angle = 2 * pi * torch.arange(size // 2 + 1, dtype=torch.float64) / size * (rate / made_for)
    delay = torch.polar(torch.ones_like(angle), -angle)
    response = torch.ones_like(delay)
    for b, a in (shelf(made_for), high_pass(made_for)):
        response = response * (b[0] + b[1] * delay + b[2] * delay**2) / (a[0] + a[1] * delay + a[2] * delay**2)
    weighted: Tensor = torch.fft.irfft(torch.fft.rfft(samples.double(), n=size) * response, n=size)
    return weighted[: len(samples)]


Coefficients = tuple[tuple[float, float, float], tuple[float, float, float]]


def shelf(rate: float) -> Coefficients:
    """The first filter, +4 dB above about 1.7 kHz, at any rate.

    Coefficients b and a of the bilinear transform whose values at 48 kHz are table 1 of BS.1770-4 (De Man, "Evaluation
    of implementations of the EBU R128 loudness measurement", 2018).
    """
    quality, height = 0.7071752369554196, 10 ** (3.999843853973347 / 20)
    k = tan(pi * 1681.974450955533 / rate)
    root = height**0.4996667741545416
    first = 1 + k / quality + k * k
    b = (height + root * k / quality + k * k, 2 * (k * k - height), height - root * k / quality + k * k)
    a = (first, 2 * (k * k - 1), 1 - k / quality + k * k)
    return (b[0] / first, b[1] / first, b[2] / first), (1.0, a[1] / first, a[2] / first)


def high_pass(rate: float) -> Coefficients:
    """The second filter, a high pass at 38 Hz, at any rate; at 48 kHz the values of table 2 of BS.1770-4."""
    k = tan(pi * 38.13547087602444 / rate)
    quality = 0.5003270373238773
    first = 1 + k / quality + k * k
    return (1.0, -2.0, 1.0), (1.0, 2 * (k * k - 1) / first, (1 - k / quality + k * k) / first)


def true_peak(samples: Tensor) -> float:
    """The largest absolute value of samples `[N]` seen at four times their rate (BS.1770-4, annex 2)."""
    taps = over_sampling_filter()
    spread = torch.zeros(4 * len(samples), dtype=torch.float64)
    spread[::4] = samples.double()
    half = len(taps) // 2
    found = torch.nn.functional.conv1d(spread[None, None], taps[None, None], padding=half)
    return max(float(found.abs().max()), float(samples.abs().max()))


def over_sampling_filter() -> Tensor:
    """A low pass of 97 taps at a quarter of the band, Hann-windowed, with a gain of 4."""
    taps = []
    for n in range(-48, 49):
        window = 0.5 + 0.5 * cos(pi * n / 49)
        taps.append(window * (sin(pi * n / 4) / (pi * n / 4) if n else 1.0))
    return torch.tensor(taps, dtype=torch.float64)
