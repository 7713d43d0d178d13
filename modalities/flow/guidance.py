"""Classifier-free guidance as a function that turns two velocities into one.

Ho and Salimans, "Classifier-Free Diffusion Guidance" (2022), equation 6, in the convention in which scale 1 is the
plain positive prediction; interval after Kynkäänniemi et al., "Applying Guidance in a Limited Interval" (2024).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from modalities.contracts import Guidance, Velocity


@dataclass(frozen=True, slots=True, kw_only=True)
class VelocityPair:
    """One network under two conditions.

    positive: `[B, ...]` -> velocity under the prompts alone.
    both: `[2 B, ...]` -> velocity of the rows [positive; negative] in one evaluation; None when there is no negative.
    """

    positive: Velocity
    both: Velocity | None = None


def guide(pair: VelocityPair, guidance: Guidance) -> Velocity:
    """v = v_negative + scale (v_positive - v_negative) in the interval, v_positive elsewhere.

    One evaluation of [x; x] where guidance acts, and one of x alone where it does not: outside the interval, when the
    scale is 1, or when the pair has no negative. The ends of the interval belong to it. With `channels`, channels from
    that number on keep the positive velocity. Returns a function of (x, t) that holds no state.
    """
    low, high = guidance.interval
    if not math.isfinite(guidance.scale):
        raise ValueError(f"guidance scale must be a finite number; got {guidance.scale}")
    if not 0 <= low <= high <= 1:
        raise ValueError(f"guidance interval must satisfy 0 <= low <= high <= 1; got {guidance.interval}")
    if guidance.channels is not None and guidance.channels < 1:
        raise ValueError(f"guidance channels must be at least 1; got {guidance.channels}")
    both = pair.both
    if both is None or guidance.scale == 1:
        return pair.positive

    def guided(x: Tensor, t: Tensor) -> Tensor:
        if not low <= float(t) <= high:
            return pair.positive(x, t)
        positive, negative = both(torch.cat([x, x]), t).chunk(2)
        channels = positive.shape[1] if guidance.channels is None else guidance.channels
        if channels > positive.shape[1]:
            raise ValueError(f"guidance on {channels} channels, but the velocity has {positive.shape[1]}")
        first = negative[:, :channels] + guidance.scale * (positive[:, :channels] - negative[:, :channels])
        return first if channels == positive.shape[1] else torch.cat([first, positive[:, channels:]], dim=1)

    return guided
