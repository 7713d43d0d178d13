"""The Poisson midpoint method: many small steps of a stochastic chain for about two evaluations of its drift.

Kandasamy and Nagaraj, "The Poisson Midpoint Method for Langevin Dynamics: Provably Efficient Discretization for
Diffusion Models" (2024). A chain x' = A x + G b(x, t) + S z takes K small steps, its drift b dear and all else cheap.
One block of the method stands for those K steps:

* the predictor walks the block with the drift frozen at its start: p' = A p + G b0 + S z;
* the chain proper walks beside it with the same z, and each small step is chosen with the chance 1 / K, alone; a chosen
  one takes the drift b0 + K (b(p, t) - b0) in place of b0.

On average over the choices each small step has the drift b(p, t). A block costs 1 + Binomial(K - 1, 1 / K)
evaluations, 2 - 1 / K on average: the first small step starts where b0 was taken and needs none of its own. The noises
and the choices of a sample come from its own source, so nothing depends on its batch mates.

Here are overdamped and underdamped Langevin dynamics, the reverse diffusion over discrete noise levels (DDPM), and the
sampler for flows, whose score follows from the velocity. Derivations: docs/maths.md, section 3; error
against evaluations: benchmarks/poisson_midpoint.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from modalities.contracts import Velocity
from modalities.flow.samplers import Callback, Diffusion, Noise, grid_steps, report

Score = Callable[[Tensor], Tensor]
"""`score(x)`: the gradient of the logarithm of the density at x `[B, ...]`."""
NoiseAt = Callable[[Tensor, int], Tensor]
"""`noise_at(x, s)`: the noise prediction at level s, counted from 1."""
Rows = Callable[[Sequence[int]], Velocity]
"""`rows(chosen)`: samples of the batch, by number, to the velocity of those alone."""


class Chain(NamedTuple):
    """A chain of small steps, one block of it.

    drift(state, i, rows): b before small step i, of the samples `rows` (numbers) whose states are given; None is all.
    advance(i, state, b, z): the state after small step i; linear in state, b and z.
    draw(): the z of one small step of all samples.
    """

    drift: Callable[[Tensor, int, Tensor | None], Tensor]
    advance: Callable[[int, Tensor, Tensor, Tensor], Tensor]
    draw: Callable[[], Tensor]


def block(chain: Chain, state: Tensor, chosen: Tensor) -> Tensor:
    """The state `[B, ...]` after K small steps; chosen `[B, K]` bool says which take their drift at the predictor.

    Chosen steps of one sample add up; each has the weight K of the small step, and the predictor sees none of them. The
    first column changes nothing, because there the predictor is where b0 was taken.
    """
    k = chosen.shape[1]
    frozen = chain.drift(state, 0, None)
    walked = predicted = state
    for i in range(k):
        z, drift = chain.draw(), frozen
        rows = chosen[:, i].nonzero().flatten() if i else chosen.new_empty(0)
        if len(rows):
            there = chain.drift(predicted[rows], i, rows)
            drift = frozen.clone()
            drift[rows] += k * (there - frozen[rows])
        walked = chain.advance(i, walked, drift, z)
        predicted = chain.advance(i, predicted, frozen, z)
    return walked


def choose(noise: Noise, count: int, k: int) -> Tensor:
    """Independent choices `[count, K]` with the chance 1 / K, from as few standard normal draws as that takes.

    A number below the quantile of 1 / K chooses. Nothing is drawn for K = 1, where a choice changes nothing.
    """
    if k == 1:
        return torch.zeros(count, 1, dtype=torch.bool)
    drawn = noise().reshape(count, -1)
    while drawn.shape[1] < k:
        drawn = torch.cat([drawn, noise().reshape(count, -1)], dim=1)
    return drawn[:, :k].double().cpu() < float(torch.special.ndtri(torch.tensor(1 / k, dtype=torch.float64)))


def overdamped(score: Score, x: Tensor, *, step: float, blocks: int, k: int, noise: Noise) -> Tensor:
    """Langevin dynamics dx = s dt + sqrt(2) dW, `blocks` blocks of length `step`, K small Euler-Maruyama steps each.

    x: `[B, ...]`; noise() is standard normal in its shape. k = 1 is the unadjusted Langevin algorithm. The method gains
    while step times the largest curvature of the log-density stays below about 0.4, and K above the reciprocal of that
    product buys nothing.
    """
    _check(k, step=step)
    h = step / k
    chain = Chain(
        drift=lambda state, i, rows: score(state),
        advance=lambda i, state, b, z: state + h * b + math.sqrt(2 * h) * z,
        draw=noise,
    )
    for _ in range(blocks):
        x = block(chain, x, choose(noise, len(x), k))
    return x


def underdamped(
    score: Score, x: Tensor, v: Tensor, *, step: float, blocks: int, k: int, noise: Noise, friction: float = 2.0
) -> tuple[Tensor, Tensor]:
    """Kinetic Langevin dynamics dx = v dt, dv = (s - friction v) dt + sqrt(2 friction) dW; positions and velocities.

    Small steps are exact for a frozen score, positions and velocities with their joint noise. x, v: `[B, ...]`;
    noise() is standard normal in the shape of x and is called twice a small step.
    """
    _check(k, step=step, friction=friction)
    h, g = step / k, friction
    kept, gone = math.exp(-g * h), -math.expm1(-g * h)
    push = (h - gone / g) / g
    spread_v = math.sqrt(-math.expm1(-2 * g * h))
    shared = gone**2 / g / spread_v
    variance_x = 2 / g * (h - 2 * gone / g - math.expm1(-2 * g * h) / (2 * g))
    own = math.sqrt(max(variance_x - shared**2, 0.0))

    def advance(i: int, state: Tensor, b: Tensor, z: Tensor) -> Tensor:
        at, moving = state.unbind(1)
        at_next = at + gone / g * moving + push * b + shared * z[:, 0] + own * z[:, 1]
        return torch.stack([at_next, kept * moving + gone / g * b + spread_v * z[:, 0]], dim=1)

    chain = Chain(
        drift=lambda state, i, rows: score(state[:, 0]),
        advance=advance,
        draw=lambda: torch.stack([noise(), noise()], dim=1),
    )
    state = torch.stack([x, v], dim=1)
    for _ in range(blocks):
        state = block(chain, state, choose(noise, len(x), k))
    return state[:, 0], state[:, 1]


def reverse_diffusion(noise_at: NoiseAt, x: Tensor, kept: Tensor, *, k: int, noise: Noise) -> Tensor:
    """From noise x at level T to data: ancestral sampling of DDPM (Ho et al. 2020, algorithm 2), K levels a block.

    kept `[T]`: alpha-bar of levels 1 to T, falling, the part of the data's variance that is left. The small step is
    equation 11 of that paper with the variance of the posterior (equation 7), and the noise prediction is what stays
    frozen. The last K levels, or what is left of T, are one plain step onto the data prediction, without noise: there
    the drift is so steep that K times its change would throw samples off.
    """
    _check(k)
    levels = [1.0, *kept.double().tolist()]
    if len(levels) < 2 or not all(0 < low < high for high, low in pairwise(levels)):
        raise ValueError("kept needs alpha-bar of levels 1 to T, falling from below 1 and above 0")
    top = len(levels) - 1
    while top > k:
        chain = _levels_chain(noise_at, levels, top, noise)
        x = block(chain, x, choose(noise, len(x), k))
        top -= k
    clean, noisy = math.sqrt(levels[top]), math.sqrt(1 - levels[top])
    return (x - noisy * noise_at(x, top)) / clean


def _levels_chain(noise_at: NoiseAt, levels: Sequence[float], top: int, noise: Noise) -> Chain:
    """The small steps from level `top` down."""

    def advance(i: int, state: Tensor, b: Tensor, z: Tensor) -> Tensor:
        here, there = levels[top - i], levels[top - i - 1]
        ratio = here / there
        variance = (1 - ratio) * (1 - there) / (1 - here)
        return (state - (1 - ratio) / math.sqrt(1 - here) * b) / math.sqrt(ratio) + math.sqrt(variance) * z

    return Chain(drift=lambda state, i, rows: noise_at(state, top - i), advance=advance, draw=noise)


def poisson_midpoint(
    velocity: Velocity,
    x: Tensor,
    ts: Tensor,
    *,
    noise: Noise,
    rows: Rows | None = None,
    k: int = 16,
    diffusion: Diffusion = "memoryless",
    scale: float = 1.0,
    callback: Callback | None = None,
) -> Tensor:
    """The sampler for flows on the linear path: every step of the grid is a block of K small steps of the reverse SDE.

    The SDE is that of `euler_maruyama`, dx = (v + eps s) dt + sqrt(2 eps) dW with s = (t v - x) / (1 - t) and the same
    choices of eps; memoryless is the reversal of the noising process, the chain of DDPM. With D = x + (1 - t) v frozen,
    (x - t D) / (1 - t) forgets its start at the rate eps / (1 - t)^2, so that a small step is exact:

        x' = (t' + (1 - t') r) x + (t' (1 - t) - (1 - t') r t) v + (1 - t') sqrt(1 - r^2) z

        memoryless  r = t (1 - t') / (t' (1 - t))      decreasing  r = ((1 - t') / (1 - t))^c
        middle      r = ((1 - t') / (1 - t) e^(t' - t))^c

    What stays frozen over a block is v, which changes least. A step that ends at t = 1 is one Euler step onto D: there
    small steps are stiff. rows: see `Rows`; without it `velocity` must take any samples. Expected evaluations of N
    steps: (N - 1) (2 - 1 / K) + 1. The state is float32 or wider within the sampler, for K times a small difference.
    """
    _check(k)
    if diffusion not in ("decreasing", "middle", "memoryless"):
        raise ValueError(f"unknown diffusion `{diffusion}`; known: decreasing, memoryless, middle")
    if not (math.isfinite(scale) and scale >= 0):
        raise ValueError(f"scale must be at least 0; got {scale}")
    wide = torch.promote_types(x.dtype, torch.float32)
    state = x.to(wide)
    for step, t, t_next in grid_steps(ts):
        if float(t_next) >= 1:
            state = state + float(t_next - t) * velocity(state.to(x.dtype), t).to(wide)
        else:
            times = [t + (t_next - t) * (i / k) for i in range(k)] + [t_next]
            chain = _flow_chain(velocity, rows, times, noise, x.dtype, (diffusion, scale))
            state = block(chain, state, choose(noise, len(state), k))
        report(callback, step, t_next, state.to(x.dtype))
    return state.to(x.dtype)


def _flow_chain(
    velocity: Velocity,
    rows: Rows | None,
    times: Sequence[Tensor],
    noise: Noise,
    dtype: torch.dtype,
    sde: tuple[Diffusion, float],
) -> Chain:
    """The small steps between times; the velocity sees states in dtype."""
    coefficients = list(_coefficients([float(t) for t in times], *sde))

    def drift(state: Tensor, i: int, chosen: Tensor | None) -> Tensor:
        at = velocity if chosen is None or rows is None else rows(chosen.tolist())
        return at(state.to(dtype), times[i]).to(state.dtype)

    def advance(i: int, state: Tensor, b: Tensor, z: Tensor) -> Tensor:
        keep, push, spread = coefficients[i]
        return keep * state + push * b + spread * z.to(state.dtype)

    return Chain(drift=drift, advance=advance, draw=noise)


def _coefficients(times: Sequence[float], diffusion: Diffusion, scale: float) -> Iterator[tuple[float, float, float]]:
    """Of x, v and z in each small step; see `poisson_midpoint`. All times are below 1."""
    for t, later in pairwise(times):
        left = (1 - later) / (1 - t)
        if diffusion == "memoryless":
            r = left * t / later
        else:
            r = (left if diffusion == "decreasing" else left * math.exp(later - t)) ** scale
        yield later + (1 - later) * r, later * (1 - t) - (1 - later) * r * t, (1 - later) * math.sqrt(1 - r * r)


def _check(k: int, **positive: float) -> None:
    if isinstance(k, bool) or int(k) != k or k < 1:
        raise ValueError(f"k must be a whole number of at least 1; got {k}")
    for name, value in positive.items():
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be more than 0; got {value}")
