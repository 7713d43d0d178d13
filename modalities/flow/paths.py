"""Paths from noise to data, and the conversions among the four things a network may predict.

A path is x_t = alpha(t) x1 + sigma(t) x0 with noise x0 ~ N(0, I) at t = 0 and data x1 at t = 1. On a path, any one of
velocity, score, noise and data prediction gives the other three, because x_t itself is known:

    velocity v = alpha' x1 + sigma' x0        score s = -E[x0 | x_t] / sigma
    noise    E[x0 | x_t]                      data  E[x1 | x_t]

Derivations are in docs/maths.md, section 1. Path formulas: Lipman et al., "Flow Matching for Generative Modeling"
(2023), equation 20 for linear; Ma et al., "SiT" (2024), section 2 for VP and the generalised variance-preserving
(cosine) path; all written here with time running from noise to data.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

Prediction = Literal["velocity", "score", "noise", "data"]
"""What a network predicts of x_t."""

VP_BETA_MIN = 0.1
VP_BETA_MAX = 20.0


class Coefficients(NamedTuple):
    """A path at one time. Every entry has the shape of t.

    alpha, sigma: x_t = alpha x1 + sigma x0. alpha_rate, sigma_rate: their derivatives in t.
    sigma_sigma_rate: sigma times sigma_rate, finite even where sigma_rate is not.
    The inverse map, finite for every t: x1 = data_v v + data_x x and x0 = noise_v v + noise_x x.
    """

    alpha: Tensor
    sigma: Tensor
    alpha_rate: Tensor
    sigma_rate: Tensor
    sigma_sigma_rate: Tensor
    data_v: Tensor
    data_x: Tensor
    noise_v: Tensor
    noise_x: Tensor


def _linear(t: Tensor) -> Coefficients:
    one = torch.ones_like(t)
    return Coefficients(
        alpha=t,
        sigma=1 - t,
        alpha_rate=one,
        sigma_rate=-one,
        sigma_sigma_rate=t - 1,
        data_v=1 - t,
        data_x=one,
        noise_v=-t,
        noise_x=one,
    )


def _cosine(t: Tensor) -> Coefficients:
    quarter = math.pi / 2
    # The complementary angle keeps sigma exactly 0 at t = 1; cos(pi/2) is 6e-17 in floating point.
    alpha, sigma = torch.sin(quarter * t), torch.sin(quarter * (1 - t))
    return Coefficients(
        alpha=alpha,
        sigma=sigma,
        alpha_rate=quarter * sigma,
        sigma_rate=-quarter * alpha,
        sigma_sigma_rate=-quarter * alpha * sigma,
        data_v=sigma / quarter,
        data_x=alpha,
        noise_v=-alpha / quarter,
        noise_x=sigma,
    )


def _variance_preserving(t: Tensor) -> Coefficients:
    u, span = 1 - t, VP_BETA_MAX - VP_BETA_MIN
    exponent = -0.25 * u.square() * span - 0.5 * u * VP_BETA_MIN
    alpha = torch.exp(exponent)
    sigma = torch.sqrt(-torch.expm1(2 * exponent))
    alpha_rate = alpha * (0.5 * u * span + 0.5 * VP_BETA_MIN)
    return Coefficients(
        alpha=alpha,
        sigma=sigma,
        alpha_rate=alpha_rate,
        sigma_rate=-alpha * alpha_rate / sigma,
        sigma_sigma_rate=-alpha * alpha_rate,
        data_v=sigma.square() / alpha_rate,
        data_x=alpha,
        noise_v=-alpha * sigma / alpha_rate,
        noise_x=sigma,
    )


@dataclass(frozen=True, slots=True)
class Path:
    """x_t = alpha(t) x1 + sigma(t) x0, t = 0 noise and t = 1 data.

    name: as shown to users. at: t of any shape in [0, 1] -> Coefficients of that shape.
    """

    name: str
    at: Callable[[Tensor], Coefficients]

    def interpolate(self, x0: Tensor, x1: Tensor, t: Tensor) -> Tensor:
        """x_t from noise x0 and data x1 of one shape `[B, ...]`; t is 0-dimensional or `[B]`."""
        c = self.at(_along(t, x1))
        return c.alpha * x1 + c.sigma * x0

    def velocity(self, x0: Tensor, x1: Tensor, t: Tensor) -> Tensor:
        """dx_t/dt = alpha' x1 + sigma' x0, the training target; ValueError where sigma' is infinite (VP at t = 1)."""
        c = self.at(_along(t, x1))
        _need_finite(self, "velocity", c.sigma_rate)
        return c.alpha_rate * x1 + c.sigma_rate * x0

    def convert(self, value: Tensor, x: Tensor, t: Tensor, source: Prediction, target: Prediction) -> Tensor:
        """Turn one prediction at (x, t) into another.

        value, x: `[B, ...]`; t: 0-dimensional or `[B]`. Defined at both end points wherever the source determines the
        target; ValueError where it does not (data or noise or score from which the other end cannot be divided out:
        sigma = 0 at t = 1, alpha = 0 at t = 0 on the linear and cosine paths).
        """
        if source == target:
            return value
        c = self.at(_along(t, x))
        if target == "velocity" and source == "score":
            # Written with sigma sigma', which stays finite where sigma' does not.
            data = self._data_from_noise(-c.sigma * value, x, c, source, target)
            return c.alpha_rate * data - c.sigma_sigma_rate * value
        if target == "data":
            return self._data(value, x, c, source)
        if target == "noise":
            return self._noise(value, x, c, source)
        if target == "score":
            _need_positive(self, source, target, "sigma", c.sigma)
            return -self._noise(value, x, c, source) / c.sigma
        _need_finite(self, target, c.sigma_rate)
        return c.alpha_rate * self._data(value, x, c, source) + c.sigma_rate * self._noise(value, x, c, source)

    def _data(self, value: Tensor, x: Tensor, c: Coefficients, source: Prediction) -> Tensor:
        if source == "velocity":
            return c.data_v * value + c.data_x * x
        if source == "data":
            return value
        return self._data_from_noise(self._noise(value, x, c, source), x, c, source, "data")

    def _noise(self, value: Tensor, x: Tensor, c: Coefficients, source: Prediction) -> Tensor:
        if source == "velocity":
            return c.noise_v * value + c.noise_x * x
        if source == "noise":
            return value
        if source == "score":
            return -c.sigma * value
        _need_positive(self, source, "noise", "sigma", c.sigma)
        return (x - c.alpha * value) / c.sigma

    def _data_from_noise(self, x0: Tensor, x: Tensor, c: Coefficients, source: str, target: str) -> Tensor:
        _need_positive(self, source, target, "alpha", c.alpha)
        return (x - c.sigma * x0) / c.alpha


LINEAR = Path("linear", _linear)
"""alpha = t, sigma = 1 - t: rectified flow, the path of Lumina-Next."""

COSINE = Path("cosine", _cosine)
"""alpha = sin(pi t / 2), sigma = cos(pi t / 2)."""

VP = Path("vp", _variance_preserving)
"""The variance-preserving diffusion with beta from 0.1 to 20; alpha(0) = 0.0066, so t = 0 is not quite pure noise."""

PATHS: dict[str, Path] = {path.name: path for path in (LINEAR, COSINE, VP)}


def _along(t: Tensor, x: Tensor) -> Tensor:
    """T shaped to multiply x: as it is when 0-dimensional, `[B]` with the axes of x added."""
    if t.ndim == 0:
        return t
    if t.shape != x.shape[:1]:
        raise ValueError(f"t must be 0-dimensional or one number per sample; got {tuple(t.shape)} for {tuple(x.shape)}")
    return t.reshape(-1, *[1] * (x.ndim - 1)).to(x.dtype)


def _need_positive(path: Path, source: str, target: str, name: str, coefficient: Tensor) -> None:
    if bool((coefficient <= 0).any()):
        end = "t = 1" if name == "sigma" else "t = 0"
        raise ValueError(f"on the {path.name} path, {source} does not determine {target} at {end}, where {name} = 0")


def _need_finite(path: Path, target: str, rate: Tensor) -> None:
    if not bool(torch.isfinite(rate).all()):
        raise ValueError(f"on the {path.name} path, {target} is infinite at t = 1")
