"""Time grids: `schedule(steps, **options)` gives float64 times, steps + 1 of them, rising strictly from 0 to 1.

A grid is orthogonal to the sampler that walks it. Grids live on the CPU in double precision; a time reaches a network
as a 0-dimensional tensor, which multiplies tensors of any device and type. Derivations: docs/maths.md, section 5.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def uniform(steps: int) -> Tensor:
    """Equal steps in t."""
    if steps < 1:
        raise ValueError(f"steps must be at least 1; got {steps}")
    return torch.linspace(0.0, 1.0, steps + 1, dtype=torch.float64)


def shifted(steps: int, *, shift: float = 4.0) -> Tensor:
    """t' = t / (t + s - s t): steps near the noise are s times finer, near the data s times coarser.

    shift: s > 0; 1 is uniform, 4 is Lumina-Next's choice. Esser et al., "Scaling Rectified Flow Transformers" (2024),
    equation 23, written with time running from noise to data.
    """
    if not (math.isfinite(shift) and shift > 0):
        raise ValueError(f"shift must be positive; got {shift}")
    u = uniform(steps)
    return u / (u + shift * (1 - u))


def resolution_shifted(steps: int, *, tokens: float, trained_tokens: float, shift: float = 4.0) -> Tensor:
    """`shifted` with s = shift * sqrt(tokens / trained_tokens), so that every size sees the same uncertainty.

    tokens, trained_tokens: number of latent cells (or tokens) sampled, and at the size that `shift` was chosen for.
    Esser et al. (2024), equation 23.
    """
    if not (tokens > 0 and trained_tokens > 0):
        raise ValueError(f"tokens and trained_tokens must be positive; got {tokens} and {trained_tokens}")
    return shifted(steps, shift=shift * math.sqrt(tokens / trained_tokens))


def sigmoid(steps: int, *, mu: float = 0.6, alpha: float = 6.0, beta: float = 20.0) -> Tensor:
    """Step sizes that rise along one logistic curve and fall along another, after Lumina-Next's sigmoid schedule.

    With u = n / steps, the step size is proportional to g(u) = logistic(alpha (u - mu)) * logistic(beta (1 - u)): small
    near the noise, where Euler's error is largest, growing around u = mu, and halved again at the data end.
    mu, alpha, beta: 0.6, 6 and 20 are the numbers that the paper gives (Zhuo et al. 2024, section 2.4); its formula was
    not at hand, so the shape is this project's reading of them.
    """
    if not (alpha > 0 and beta > 0):
        raise ValueError(f"alpha and beta must be positive; got {alpha} and {beta}")
    u = uniform(steps)
    fine = 256
    v = uniform(steps * fine)
    size = torch.sigmoid(alpha * (v - mu)) * torch.sigmoid(beta * (1 - v))
    area = torch.cat([u[:1], torch.cumsum((size[1:] + size[:-1]) / 2, dim=0)])[::fine]
    return area / area[-1]


def rational(steps: int, *, power: float = 1.5, shift: float = 2.0) -> Tensor:
    """t = u^p / (u^p + s (1 - u)^p): small steps at both ends, smaller at the noise when s > 1.

    It is a straight line of slope p in logit coordinates: logit t = p logit u - log s. power: p >= 1, and 1 gives
    `shifted`. shift: s > 0. Named after the rational schedule of Lumina-Next, whose constants were not at hand.
    """
    if not power >= 1:
        raise ValueError(f"power must be at least 1; got {power}")
    if not (math.isfinite(shift) and shift > 0):
        raise ValueError(f"shift must be positive; got {shift}")
    u = uniform(steps)
    near, far = u**power, (1 - u) ** power
    return near / (near + shift * far)


def truncate(ts: Tensor, start: float) -> Tensor:
    """The part of a grid after `start`, with `start` itself as its first time.

    start: 0 <= start < 1; the strength of a re-noised start is 1 - start. The result ends at the grid's end and has
    at least one step; it is not rescaled, so the steps that remain are those of the full grid.
    """
    if not 0 <= start < float(ts[-1]):
        raise ValueError(f"start must be at least 0 and less than {float(ts[-1])}; got {start}")
    if start <= float(ts[0]):
        return ts
    return torch.cat([ts.new_tensor([start]), ts[ts > start]])
