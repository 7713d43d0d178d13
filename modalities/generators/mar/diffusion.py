"""The diffusion that draws one token: noising of 1000 steps, its loss, and its reversal in fewer.

Nichol and Dhariwal 2021 (arXiv 2102.09672): cosine schedule (equation 17), a variance between beta and the posterior's
(equation 15), and their hybrid loss, here with the likelihood term at full weight, as MAR was released. Tables are
float64; arithmetic is that of the tokens, at least float32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import cos, log, pi, sqrt

import torch
from torch import Tensor

STEPS = 1000
"""Steps of the noising that a head is trained on."""
HALF_BIN = 1 / 255
"""Half the width of the bins in which the likelihood of a clean token is measured."""
SMALLEST = 1e-12

Predict = Callable[[Tensor, int], tuple[Tensor, Tensor]]
"""`predict(x, k)`: tokens `[N, F]` at the k-th of a sampler's steps, to guided noise and share of the variance."""


@dataclass(frozen=True, slots=True)
class Tables:
    """What the steps of a chain need, each `[S]` in float64, the cleanest step first.

    times: the steps of training that they stand for. beta: variances. kept: alpha-bar. posterior_log: clipped logarithm
    of the posterior's variance. clean, noisy: weights of x_0 and x_t in the posterior's mean.
    """

    times: Tensor
    beta: Tensor
    kept: Tensor
    posterior_log: Tensor
    clean: Tensor
    noisy: Tensor

    def __len__(self) -> int:
        return len(self.times)

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Tables:
        """The same tables elsewhere; times stay whole."""
        numbers = (self.beta, self.kept, self.posterior_log, self.clean, self.noisy)
        return Tables(self.times.to(device), *(each.to(device, dtype) for each in numbers))


@lru_cache(maxsize=4)
def tables(steps: int = STEPS) -> Tables:
    """The chain of training, or one of fewer steps with the noise that training had there; ValueError below 2."""
    if not 2 <= steps <= STEPS:
        raise ValueError(f"the head's diffusion has {steps} steps; expected 2 to {STEPS}")
    curve = [cos((u / STEPS + 0.008) / 1.008 * pi / 2) ** 2 for u in range(STEPS + 1)]
    betas = torch.tensor([min(1 - curve[i + 1] / curve[i], 0.999) for i in range(STEPS)], dtype=torch.float64)
    times = torch.tensor([round(k * (STEPS - 1) / (steps - 1)) for k in range(steps)])
    kept = torch.cumprod(1 - betas, 0)[times]
    before = torch.cat([kept.new_ones(1), kept[:-1]])
    beta = 1 - kept / before
    posterior = beta * (1 - before) / (1 - kept)
    posterior[0] = posterior[1]
    return Tables(
        times=times,
        beta=beta,
        kept=kept,
        posterior_log=posterior.log(),
        clean=beta * before.sqrt() / (1 - kept),
        noisy=(1 - before) * (1 - beta).sqrt() / (1 - kept),
    )


def reverse(predict: Predict, noise: Tensor, chain: Tables, temperature: float, bound: float = 0.0) -> Tensor:
    """Draw tokens: from noise[0] `[N, F]` down the chain, with temperature times noise[i] added after step i.

    noise: `[S, N, F]` standard normal. The last step adds none. bound: the clean token that a step foresees is brought
    into -bound..bound; 0 for no such bound. At the noisiest step an error of the noise counts 20,000 times in it.
    """
    x, count = noise[0], len(chain)
    for i in range(1, count + 1):
        k = count - i
        guess, share = predict(x, k)
        start = _start(x, guess, chain.kept[k])
        if bound:
            start = start.clamp(-bound, bound)
        mean = chain.clean[k] * start + chain.noisy[k] * x
        if k == 0:
            return mean
        x = mean + (0.5 * _log_variance(share, chain.beta[k], chain.posterior_log[k])).exp() * noise[i] * temperature
    raise AssertionError("a chain has at least two steps")


def noised(x: Tensor, noise: Tensor, kept: Tensor) -> Tensor:
    """x_t = sqrt(alpha-bar) x_0 + sqrt(1 - alpha-bar) noise; kept `[N, 1]`."""
    return kept.sqrt() * x + (1 - kept).sqrt() * noise


def loss(
    x: Tensor, noise: Tensor, guess: Tensor, share: Tensor, times: Tensor, chain: Tables, most: float = 1.0
) -> Tensor:
    """Loss `[N]` of predictions at `times` `[N]`: mean square of the noise's error, plus the variational bound in bits.

    x, noise, guess, share: `[N, F]`. The bound trains the variance alone: its mean is detached. most: errors are
    weighted by 1 / alpha-bar, which makes them those of a velocity, up to so much, and with a mean of 1; 1 weighs all
    alike, as published.
    """
    kept, clean, noisy, beta, posterior_log = (
        each[times][:, None] for each in (chain.kept, chain.clean, chain.noisy, chain.beta, chain.posterior_log)
    )
    at = noised(x, noise, kept)
    truth = clean * x + noisy * at
    mean = clean * _start(at, guess.detach(), kept) + noisy * at
    log_variance = _log_variance(share, beta, posterior_log)
    gap = posterior_log - log_variance
    divergence = 0.5 * (-1 - gap + gap.exp() + (truth - mean).square() * (-log_variance).exp())
    likelihood = -_log_likelihood(x, mean, 0.5 * log_variance)
    bound = torch.where(times[:, None] == 0, likelihood, divergence).mean(-1) / log(2)
    weights = (1 / chain.kept).clamp_max(most)
    return (noise - guess).square().mean(-1) * (weights / weights.mean())[times] + bound


def _start(x: Tensor, guess: Tensor, kept: Tensor) -> Tensor:
    """The clean token, given the noise in x."""
    return (1 / kept).sqrt() * x - (1 / kept - 1).sqrt() * guess


def _log_variance(share: Tensor, beta: Tensor, posterior_log: Tensor) -> Tensor:
    """Between the posterior's (share -1) and beta (share 1), in logarithms."""
    part = (share + 1) / 2
    return part * beta.log() + (1 - part) * posterior_log


def _log_likelihood(x: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Logarithm of a Gaussian's mass in the bin of x; the bins at both ends reach to infinity."""
    inverse = (-log_scale).exp()
    above = _cumulative((x - mean + HALF_BIN) * inverse)
    below = _cumulative((x - mean - HALF_BIN) * inverse)
    mass = torch.where(x < -0.999, above, torch.where(x > 0.999, 1 - below, above - below))
    return mass.clamp_min(SMALLEST).log()


def _cumulative(x: Tensor) -> Tensor:
    """The approximation of the normal distribution function that the released loss uses."""
    return 0.5 * (1 + torch.tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))
