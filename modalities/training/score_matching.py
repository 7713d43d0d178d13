"""Score matching: denoising, sliced, finite-difference sliced and LCSS, for any affine noising and any prediction.

The network stands for a score S(x, t), the gradient of the log-density of x_t = alpha x1 + sigma x0. With the weight
w(t) and means over the elements, the losses are

    denoising           w/2 |S(x_t) + x0 / sigma|^2               Vincent (2011)
    sliced              w (e . dS(x_t) e + |S(x_t)|^2 / 2)        Song et al. (2019), square exact
    finite differences  w (e . (S+ - S-) / (2 h) + |S+ + S-|^2 / 8)        Pang et al. (2020)
    lcss                w (e . (S+ - S-) / (2 h) + (|S+|^2 + |S-|^2) / 4)  Stein's identity, both signs of e
    lcss, plain         w (e . S+ / h + |S+|^2 / 2)       Stein's identity, one evaluation

with S+- = S(x +- h e). LCSS averages the Hyvaerinen objective over Gaussian e, where Stein's identity turns the trace
of the Jacobian into an inner product: nothing is differentiated but the loss. Its minimiser is the score of the density
smoothed by h; so x carries only so much noise of its own that x +- h e has exactly that of the time it is labelled
with: x = alpha x1 + sigma x0 / k, h = sigma r / k, k = sqrt(1 + r^2). Values below 0 are usual for all but the first.
The printed form of the LCSS loss was not at hand; this is the reading whose minimiser is a score. Both forms of it have
the same expectation; the variance of the plain one grows as 1 / h^2, so it wants a ratio r near 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from modalities.training.objectives import Predict, rectified_flow

Predicts = Literal["velocity", "noise", "score"]
Weight = Literal["noise", "velocity", "one"]
SMALLEST_TIME = 0.05
"""A score says nothing of a velocity at t = 0; the weight of an error in velocity is kept at what it is here."""
RATIO = 0.3
"""r: the noise that LCSS adds, over what is there already."""


class Noising(NamedTuple):
    """Of x_t = alpha x1 + sigma x0 at times of any shape, and their derivatives in t (0 noise, 1 data)."""

    alpha: Tensor
    sigma: Tensor
    alpha_rate: Tensor
    sigma_rate: Tensor


Process = Callable[[Tensor], Noising]


def linear(t: Tensor) -> Noising:
    """The path of rectified flow: alpha = t, sigma = 1 - t."""
    return Noising(t, 1 - t, torch.ones_like(t), -torch.ones_like(t))


def variance_exploding(t: Tensor, least: float = 0.01, most: float = 50.0) -> Noising:
    """VE of Song et al. (2021): alpha = 1, sigma from `most` at t = 0 to `least` at t = 1."""
    sigma = least * (most / least) ** (1 - t)
    return Noising(torch.ones_like(t), sigma, torch.zeros_like(t), -math.log(most / least) * sigma)


def variance_preserving(t: Tensor, least: float = 0.1, most: float = 20.0) -> Noising:
    """VP of Song et al. (2021), beta from `least` to `most`: alpha^2 + sigma^2 = 1; not at t = 1."""
    alpha, rate = _kept(t, least, most)
    sigma = torch.sqrt(1 - alpha**2)
    return Noising(alpha, sigma, rate, -alpha * rate / sigma)


def sub_variance_preserving(t: Tensor, least: float = 0.1, most: float = 20.0) -> Noising:
    """Sub-VP of Song et al. (2021): sigma = 1 - alpha^2 with the alpha of VP."""
    alpha, rate = _kept(t, least, most)
    return Noising(alpha, 1 - alpha**2, rate, -2 * alpha * rate)


def _kept(t: Tensor, least: float, most: float) -> tuple[Tensor, Tensor]:
    u, span = 1 - t, most - least
    alpha = torch.exp(-0.25 * u**2 * span - 0.5 * u * least)
    return alpha, alpha * (0.5 * u * span + 0.5 * least)


PROCESSES: dict[str, Process] = {
    "linear": linear,
    "ve": variance_exploding,
    "vp": variance_preserving,
    "sub-vp": sub_variance_preserving,
}


@dataclass(frozen=True, slots=True)
class ScoreMatching:
    """What the losses have in common: how data are noised, what the network predicts, how times are weighted.

    weight: `noise` counts errors as those of a noise prediction (sigma^2), `velocity` as those of a velocity, `one` as
    those of the score itself.
    """

    process: Process = linear
    predicts: Predicts = "velocity"
    weight: Weight = "velocity"

    def score(self, predict: Predict, x: Tensor, times: Tensor) -> Tensor:
        """S(x, t) in float32 or wider from what the network puts out; x `[B, ...]`, times `[B]`."""
        out = predict(x, times)
        out = out.to(torch.promote_types(out.dtype, torch.float32))
        c = self.at(times, x)
        if self.predicts == "score":
            return out
        if self.predicts == "noise":
            return -out / c.sigma
        return -(c.alpha_rate * x - c.alpha * out) / (c.alpha_rate * c.sigma - c.alpha * c.sigma_rate) / c.sigma

    def at(self, times: Tensor, x: Tensor) -> Noising:
        """The coefficients at times `[B]`, shaped to multiply x."""
        return self.process(times.view(-1, *[1] * (x.ndim - 1)))

    def weights(self, times: Tensor, x: Tensor) -> Tensor:
        """w(t), shaped to multiply x."""
        if self.weight == "one":
            return torch.ones_like(times).view(-1, *[1] * (x.ndim - 1))
        if self.weight == "noise":
            return self.at(times, x).sigma ** 2
        c = self.at(times.clamp_min(SMALLEST_TIME), x)
        return ((c.alpha_rate * c.sigma - c.alpha * c.sigma_rate) * c.sigma / c.alpha) ** 2

    def denoising(self, predict: Predict, data: Tensor, times: Tensor, noise: Tensor) -> Tensor:
        """Half the weighted mean square of S(x_t, t) + x0 / sigma."""
        c = self.at(times, data)
        away = self.score(predict, c.alpha * data + c.sigma * noise, times) + noise / c.sigma
        return (self.weights(times, data) * away.square()).mean() / 2

    def sliced(self, predict: Predict, data: Tensor, times: Tensor, noise: Tensor, directions: Tensor) -> Tensor:
        """Sliced score matching, its square exact; differentiates the network twice."""
        c = self.at(times, data)
        x = (c.alpha * data + c.sigma * noise).requires_grad_()
        with torch.enable_grad():
            score = self.score(predict, x, times)
            (product,) = torch.autograd.grad((score * directions).sum(), x, create_graph=True)
            return (self.weights(times, data) * (product * directions + score.square() / 2)).mean()

    def finite_differences(
        self, predict: Predict, data: Tensor, times: Tensor, noise: Tensor, directions: Tensor, ratio: float = 0.1
    ) -> Tensor:
        """Sliced score matching with the Jacobian product as a difference over h = ratio sigma."""
        c = self.at(times, data)
        x, h = c.alpha * data + c.sigma * noise, ratio * c.sigma
        above, below = (self.score(predict, x + sign * h * directions, times) for sign in (1, -1))
        slope = (above - below) * directions / (2 * h)
        return (self.weights(times, data) * (slope + (above + below).square() / 8)).mean()

    def lcss(
        self,
        predict: Predict,
        data: Tensor,
        times: Tensor,
        noise: Tensor,
        directions: Tensor,
        ratio: float = RATIO,
        antithetic: bool = True,
    ) -> Tensor:
        """Local curvature smoothing with Stein's identity, on noise that adds up to that of the label.

        antithetic: both signs of e, two evaluations; otherwise the plain form of one, whose gradient is that of
        denoising score matching at the same points when `noise` is 0.
        """
        c = self.at(times, data)
        whole = math.sqrt(1 + ratio**2)
        x, h = c.alpha * data + c.sigma / whole * noise, c.sigma * (ratio / whole)
        if not antithetic:
            score = self.score(predict, x + h * directions, times)
            return (self.weights(times, data) * (score * directions / h + score.square() / 2)).mean()
        above, below = (self.score(predict, x + sign * h * directions, times) for sign in (1, -1))
        slope = (above - below) * directions / (2 * h)
        return (self.weights(times, data) * (slope + (above.square() + below.square()) / 4)).mean()


_VELOCITY = ScoreMatching()


def denoising(predict: Predict, data: Tensor, times: Tensor, noise: Tensor) -> Tensor:
    """Denoising score matching of a velocity on the linear path; half of rectified flow but for times near 0."""
    return _VELOCITY.denoising(predict, data, _inside(times), noise)


def sliced(predict: Predict, data: Tensor, times: Tensor, noise: Tensor, directions: Tensor) -> Tensor:
    """Sliced score matching of a velocity on the linear path."""
    return _VELOCITY.sliced(predict, data, _inside(times), noise, directions)


def finite_difference_sliced(
    predict: Predict, data: Tensor, times: Tensor, noise: Tensor, directions: Tensor
) -> Tensor:
    """Finite-difference sliced score matching of a velocity on the linear path."""
    return _VELOCITY.finite_differences(predict, data, _inside(times), noise, directions)


def lcss(predict: Predict, data: Tensor, times: Tensor, noise: Tensor, directions: Tensor) -> Tensor:
    """LCSS of a velocity on the linear path."""
    return _VELOCITY.lcss(predict, data, _inside(times), noise, directions)


def lcss_plain(predict: Predict, data: Tensor, times: Tensor, noise: Tensor, directions: Tensor) -> Tensor:
    """LCSS of a velocity on the linear path in the plain form, which adds as much noise as there is already."""
    return _VELOCITY.lcss(predict, data, _inside(times), noise, directions, 1.0, antithetic=False)


def rectified_flow_lcss(predict: Predict, data: Tensor, times: Tensor, noise: Tensor, directions: Tensor) -> Tensor:
    """Rectified flow, and LCSS weighted as a noise prediction beside it: flow for times near 0, LCSS near the data."""
    beside = ScoreMatching(weight="noise").lcss(predict, data, _inside(times), noise, directions, 0.1)
    return rectified_flow(predict, data, times, noise) + beside


def _inside(times: Tensor) -> Tensor:
    """Times where a score says something of the velocity, and where there is noise."""
    return times.clamp(1e-3, 1 - 1e-3)
