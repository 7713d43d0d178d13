"""Samplers: `sampler(velocity, x, ts, **options) -> x`, one function per algorithm.

velocity(x, t) is dx/dt, with x `[B, ...]` and t 0-dimensional; ts is a grid of rising times (see `schedules`), usually
float64 on the CPU; the result is x at ts[-1], in the type and on the device of the x given. Every sampler takes
`callback(step, t, x)`, called after each finished step with its index from 0, the time reached and the state.

No sample depends on its batch mates. Fixed grids give that for nothing. `dopri5` chooses its steps by the error of what
it integrates, so it integrates one sample and refuses more; `one_by_one` runs any sampler on each sample of a batch.
A sampler that draws takes `noise()`, standard normal numbers in the shape of x, so that seeds stay with the samples.

Which one to take, and the derivations: docs/maths.md, sections 2 to 4.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from modalities.contracts import Velocity

Callback = Callable[[int, Tensor, Tensor], None]
Noise = Callable[[], Tensor]
Sampler = Callable[..., Tensor]
Diffusion = Literal["decreasing", "middle", "memoryless"]


def one_by_one(sampler: Sampler, velocities: Sequence[Velocity], x: Tensor, ts: Tensor, **options: Any) -> Tensor:
    """Run `sampler` on each sample of x `[B, ...]` alone, sample i with velocities[i] (which sees batches of one).

    This is how an adaptive sampler gives each sample its own steps, and the same result in every batch.
    """
    if len(velocities) != x.shape[0]:
        raise ValueError(f"{x.shape[0]} samples need as many velocities; got {len(velocities)}")
    return torch.cat([sampler(velocity, x[i : i + 1], ts, **options) for i, velocity in enumerate(velocities)])


def euler(velocity: Velocity, x: Tensor, ts: Tensor, *, callback: Callback | None = None) -> Tensor:
    """Order 1: x' = x + h v(x, t)."""
    for step, t, t_next in grid_steps(ts):
        x = x + (t_next - t) * velocity(x, t)
        report(callback, step, t_next, x)
    return x


def midpoint(velocity: Velocity, x: Tensor, ts: Tensor, *, callback: Callback | None = None) -> Tensor:
    """Order 2: the velocity at the arithmetic middle of the step, reached by half an Euler step."""
    for step, t, t_next in grid_steps(ts):
        h = t_next - t
        half = x + (h / 2) * velocity(x, t)
        x = x + h * velocity(half, t + h / 2)
        report(callback, step, t_next, x)
    return x


def heun(velocity: Velocity, x: Tensor, ts: Tensor, *, callback: Callback | None = None) -> Tensor:
    """Order 2: the mean of the velocities at both ends of the step (explicit trapezoidal rule)."""
    for step, t, t_next in grid_steps(ts):
        h = t_next - t
        k1 = velocity(x, t)
        k2 = velocity(x + h * k1, t_next)
        x = x + (h / 2) * (k1 + k2)
        report(callback, step, t_next, x)
    return x


def rk4(velocity: Velocity, x: Tensor, ts: Tensor, *, callback: Callback | None = None) -> Tensor:
    """Order 4: the classic Runge-Kutta tableau (Kutta 1901), nodes 0, 1/2, 1/2, 1 and weights 1, 2, 2, 1 over 6."""
    for step, t, t_next in grid_steps(ts):
        h = t_next - t
        k1 = velocity(x, t)
        k2 = velocity(x + (h / 2) * k1, t + h / 2)
        k3 = velocity(x + (h / 2) * k2, t + h / 2)
        k4 = velocity(x + h * k3, t_next)
        x = x + (h / 6) * (k1 + 2 * k2 + 2 * k3 + k4)
        report(callback, step, t_next, x)
    return x


def rk4_38(velocity: Velocity, x: Tensor, ts: Tensor, *, callback: Callback | None = None) -> Tensor:
    """Order 4: Kutta's 3/8 rule, nodes 0, 1/3, 2/3, 1 and weights 1, 3, 3, 1 over 8. torchdiffeq calls this `rk4`."""
    for step, t, t_next in grid_steps(ts):
        h = t_next - t
        k1 = velocity(x, t)
        k2 = velocity(x + (h / 3) * k1, t + h / 3)
        k3 = velocity(x + h * (k2 - k1 / 3), t + 2 * h / 3)
        k4 = velocity(x + h * (k1 - k2 + k3), t_next)
        x = x + (h / 8) * (k1 + 3 * k2 + 3 * k3 + k4)
        report(callback, step, t_next, x)
    return x


DOPRI5_NODES = (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
DOPRI5_TABLEAU = (
    (),
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
# Fifth-order weights (the last row above) minus the embedded fourth-order ones.
DOPRI5_ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)


def dopri5(
    velocity: Velocity,
    x: Tensor,
    ts: Tensor,
    *,
    rtol: float = 1e-4,
    atol: float = 1e-5,
    max_steps: int = 1000,
    callback: Callback | None = None,
) -> Tensor:
    """Order 5 with step-size control, for one sample at a time: Dormand and Prince (1980), table 2.

    Of ts, only the ends and the first step matter: the first step is tried at ts[1] - ts[0]. A step passes when the
    root mean square of error / (atol + rtol |x|) is at most 1. Step sizes follow the proportional-integral controller
    of Hairer and Wanner, "Solving Ordinary Differential Equations II" (1996), section IV.2, equation 2.43c. The last
    evaluation of a step is the first of the next, so an accepted step costs six.

    Raises ValueError for more than one sample (use `one_by_one`), when the velocity is not finite, and when max_steps
    trials do not reach ts[-1].
    """
    if x.shape[0] != 1:
        raise ValueError(f"dopri5 fits its steps to one sample; got a batch of {x.shape[0]} (see one_by_one)")
    if not (rtol >= 0 and atol > 0):
        raise ValueError(f"dopri5 needs rtol >= 0 and atol > 0; got {rtol} and {atol}")
    first, *_ = grid_steps(ts)
    t, end, h = float(ts[0]), float(ts[-1]), float(first[2] - first[1])
    k1, last_error, accepted = velocity(x, ts[0]), 1.0, 0
    for _trial in range(int(max_steps)):
        reaches_end = t + h >= end - 1e-12 * (end - float(ts[0]))
        t_next = end if reaches_end else t + h
        proposal, error, k7 = _dopri5_step(velocity, x, k1, ts.new_tensor(t), ts.new_tensor(t_next), rtol, atol)
        if not math.isfinite(error):
            raise ValueError(f"dopri5: the velocity is not finite near t = {t:.6g}")
        if error > 1:
            h = (t_next - t) * max(0.2, 0.9 * error**-0.2)
            continue
        x, k1, t = proposal, k7, t_next
        report(callback, accepted, ts.new_tensor(t), x)
        accepted += 1
        if reaches_end:
            return x
        error = max(error, 1e-4)
        h *= min(5.0, max(0.2, 0.9 * error**-0.17 * last_error**0.04))
        last_error = error
    raise ValueError(f"dopri5: {max_steps} trial steps reached only t = {t:.6g}; loosen rtol and atol")


def _dopri5_step(
    velocity: Velocity, x: Tensor, k1: Tensor, t: Tensor, t_next: Tensor, rtol: float, atol: float
) -> tuple[Tensor, float, Tensor]:
    """One trial step: the fifth-order proposal, its scaled error, and the velocity at its end."""
    h, slopes, state = t_next - t, [k1], x
    for node, row in zip(DOPRI5_NODES[1:], DOPRI5_TABLEAU[1:], strict=True):
        state = x + h * sum((a * k for a, k in zip(row, slopes, strict=True) if a), torch.zeros_like(x))
        slopes.append(velocity(state, t_next if node == 1.0 else t + node * h))
    error = h * sum((e * k for e, k in zip(DOPRI5_ERROR, slopes, strict=True) if e), torch.zeros_like(x))
    scale = atol + rtol * torch.maximum(x.abs(), state.abs())
    return state, float((error / scale).square().mean().sqrt()), slopes[-1]


def dpm_solver_pp_2m(velocity: Velocity, x: Tensor, ts: Tensor, *, callback: Callback | None = None) -> Tensor:
    """Order 2, one evaluation a step: DPM-Solver++(2M), Lu et al. (2022), algorithm 2, on the linear path.

    The velocity is turned into the data prediction D = x + (1 - t) v. With lambda = log(t / (1 - t)) and
    r = (lambda_i - lambda_{i-1}) / (lambda_{i+1} - lambda_i), D is carried to the middle of the step,
    D_i + (D_i - D_{i-1}) / (2 r), and the rest of the step is exact: x' = (1-t')/(1-t) x + (t'-t)/(1-t) D.
    Where lambda is infinite, next to t = 0 and t = 1, D is used as it is (the paper's lower-order start and end).
    """
    before: Tensor | None = None
    lambda_before = -math.inf
    for step, t, t_next in grid_steps(ts):
        data = x + (1 - t) * velocity(x, t)
        here, there = _log_ratio(t), _log_ratio(t_next)
        carried = data
        if before is not None and math.isfinite(lambda_before) and math.isfinite(there):
            carried = data + (there - here) / (2 * (here - lambda_before)) * (data - before)
        x = ((1 - t_next) / (1 - t)) * x + ((t_next - t) / (1 - t)) * carried
        before, lambda_before = data, here
        report(callback, step, t_next, x)
    return x


def euler_maruyama(
    velocity: Velocity,
    x: Tensor,
    ts: Tensor,
    *,
    noise: Noise,
    diffusion: Diffusion = "decreasing",
    scale: float = 1.0,
    callback: Callback | None = None,
) -> Tensor:
    """The reverse SDE with the marginals of the flow on the linear path: dx = (v + eps s) dt + sqrt(2 eps) dW.

    The score comes from the velocity, s = (t v - x) / (1 - t) (docs/maths.md, section 3), and eps(t) is

        decreasing   c (1 - t)       drift v + c (t v - x)
        middle       c t (1 - t)     drift v + c t (t v - x)
        memoryless   (1 - t) / t     drift 2 v - x / t, the exact reversal of the noising process; scale is not used

    with c = scale >= 0; c = 0 is `euler`. A step that ends at t = 1 is the Euler step, which lands on the data
    prediction and draws nothing; a memoryless step from t = 0, where eps is infinite, is the exact solution for a
    frozen velocity. Weak order 1; Maruyama (1955).
    """
    if diffusion not in ("decreasing", "middle", "memoryless"):
        raise ValueError(f"unknown diffusion `{diffusion}`; known: decreasing, memoryless, middle")
    if not (math.isfinite(scale) and scale >= 0):
        raise ValueError(f"scale must be at least 0; got {scale}")
    for step, t, t_next in grid_steps(ts):
        h, v = t_next - t, velocity(x, t)
        if float(t_next) >= 1:
            x = x + h * v
        elif diffusion == "memoryless" and float(t) == 0:
            x = t_next * (x + v) + (1 - t_next) * noise()
        else:
            rate = {"decreasing": scale + 0 * t, "middle": scale * t, "memoryless": 1 / t}[diffusion]
            x = x + h * (v + rate * (t * v - x)) + torch.sqrt(2 * rate * (1 - t) * h) * noise()
        report(callback, step, t_next, x)
    return x


def grid_steps(ts: Tensor) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Number, start and end of each step of a grid; ValueError unless it is one-dimensional and rises."""
    if ts.ndim != 1 or len(ts) < 2 or not bool((ts[1:] > ts[:-1]).all()):
        raise ValueError("a time grid needs at least two times, each later than the one before")
    return ((step, ts[step], ts[step + 1]) for step in range(len(ts) - 1))


def _log_ratio(t: Tensor) -> float:
    """lambda = log(t / (1 - t)); infinite at the ends."""
    value = float(t)
    return -math.inf if value <= 0 else math.inf if value >= 1 else math.log(value / (1 - value))


def report(callback: Callback | None, step: int, t: Tensor, x: Tensor) -> None:
    """Tell the callback of a finished step, if there is one."""
    if callback is not None:
        callback(step, t, x)
