"""From magnitudes of a spectrogram to samples: fast Griffin-Lim on frames that are not centred.

Frame t covers samples `t hop .. t hop + window - 1`, so T frames make (T - 1) hop + window samples. Everything here
works on one spectrogram at a time: a sound's bits never depend on what else is in its batch.
"""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor


def nonnegative_spectrum(mel: Tensor, filters: Tensor, steps: int) -> Tensor:
    """Magnitudes `[F, T]` >= 0 whose mel `filters.T @ x` comes close to `mel` `[M, T]`; filters are `[F, M]`.

    The pseudo-inverse, made positive, then multiplicative steps that lower the squared error and keep every value
    positive (Lee and Seung, "Algorithms for non-negative matrix factorization", 2001, equation 4).
    """
    x: Tensor = (torch.linalg.pinv(filters.T) @ mel).clamp_min(1e-8)
    wanted = filters @ mel
    both = filters @ filters.T
    for _ in range(steps):
        x = x * wanted / (both @ x).clamp_min(1e-10)
    return x


def start_phase(magnitudes: Tensor, hop: int) -> Tensor:
    """Phases `[F, T]` to start from: each spectral peak runs on as a sinusoid of its interpolated frequency.

    Beauregard, Harish and Wyse, "Single pass spectrogram inversion" (2015). Bins belong to the nearest peak and turn
    with it; nothing is random, so equal spectra give equal sounds.
    """
    bins, frames = magnitudes.shape
    size = 2 * (bins - 1)
    inner = magnitudes[1:-1]
    is_peak = (inner > magnitudes[:-2]) & (inner >= magnitudes[2:])
    below, above = magnitudes[:-2], magnitudes[2:]
    bend = (below - 2 * inner + above).clamp_max(-1e-12)
    shift = (0.5 * (below - above) / bend).clamp(-0.5, 0.5)
    positions = torch.arange(1, bins - 1, device=magnitudes.device)
    step = 2 * pi * hop / size * (positions[:, None] + shift)
    step = torch.where(is_peak, step, torch.zeros_like(step))
    nearest = _nearest_peak(is_peak)
    phase = torch.zeros_like(magnitudes)
    running = torch.zeros(bins, device=magnitudes.device)
    everywhere = torch.arange(bins, device=magnitudes.device)
    for t in range(frames):
        owner = nearest[:, t]
        running = running[owner + 1] + step[owner, t]
        # Neighbouring bins of one sinusoid alternate in sign, because the window's middle is half a frame away.
        phase[:, t] = running + pi * ((everywhere - owner - 1) % 2)
    return phase


def _nearest_peak(is_peak: Tensor) -> Tensor:
    """For every bin `[F + 2, T]` the row of `is_peak` `[F, T]` that is the nearest peak (its own where none is)."""
    rows, frames = is_peak.shape
    index = torch.arange(rows, device=is_peak.device)[:, None].expand(rows, frames)
    far = 4 * rows
    before = torch.where(is_peak, index, -far).cummax(dim=0).values
    after = torch.where(is_peak, index, far).flip(0).cummin(dim=0).values.flip(0)
    own = torch.where(index - before <= after - index, before, after)
    own = torch.where((own < 0) | (own >= rows), index, own)
    return torch.cat([own[:1], own, own[-1:]])


def griffin_lim(magnitudes: Tensor, window: Tensor, hop: int, steps: int, momentum: float) -> Tensor:
    """Samples `[(T - 1) hop + window]` with about the magnitudes `[F, T]`.

    Perraudin, Balazs and Sondergaard, "A fast Griffin-Lim algorithm" (2013), algorithm 2: the projection onto spectra
    of real sounds is extrapolated by `momentum` before the magnitudes are put back.
    """
    weight = window_weight(window, hop, magnitudes.shape[1])
    angles = torch.polar(torch.ones_like(magnitudes), start_phase(magnitudes, hop))
    before = torch.zeros_like(angles)
    for _ in range(steps):
        projected = spectrum(inverse(magnitudes * angles, window, hop, weight), window, hop)
        ahead = projected + momentum * (projected - before)
        angles = ahead / ahead.abs().clamp_min(1e-12)
        before = projected
    return inverse(magnitudes * angles, window, hop, weight)


def spectrum(samples: Tensor, window: Tensor, hop: int) -> Tensor:
    """Complex spectrum `[..., F, T]` of samples `[..., N]`, frames not centred."""
    frames: Tensor = torch.fft.rfft(samples.unfold(-1, len(window), hop) * window)
    return frames.transpose(-1, -2)


def inverse(frames: Tensor, window: Tensor, hop: int, weight: Tensor) -> Tensor:
    """Samples `[N]` whose spectrum is nearest to `frames` `[F, T]`: windowed overlap-add (Griffin and Lim 1984)."""
    pieces = torch.fft.irfft(frames.T, n=len(window)) * window
    return overlap_add(pieces, hop) / weight


def window_weight(window: Tensor, hop: int, frames: int) -> Tensor:
    """Sum of the squared windows over each sample `[N]`, kept away from zero at both ends."""
    return overlap_add((window * window).expand(frames, -1), hop).clamp_min(1e-3)


def overlap_add(pieces: Tensor, hop: int) -> Tensor:
    """Pieces `[T, W]` laid out `hop` apart and added: `[(T - 1) hop + W]`. W is a multiple of hop."""
    frames, size = pieces.shape
    shares = size // hop
    total = torch.zeros(frames + shares - 1, hop, dtype=pieces.dtype, device=pieces.device)
    for share in range(shares):
        total[share : share + frames] += pieces[:, share * hop : (share + 1) * hop]
    return total.flatten()
