"""The mixture with a velocity that a small network has learned: what samplers make of its mistakes."""

from __future__ import annotations

import math

import gaussian_mixture as mixture
import torch
from samplers_page import BASE, OURS
from sampling_error import Rows, Run, floor, measure_all
from torch import Tensor, nn

from modalities.flow import samplers, schedules
from modalities.flow.poisson_midpoint import poisson_midpoint
from modalities.training.objectives import rectified_flow

WIDTH, STEPS, BATCH, RATE = 96, 1500, 1024, 4e-3


class VelocityNetwork(nn.Module):
    """Three hidden layers over x `[B, 2]` and waves of t."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Linear(2 + 9, WIDTH), nn.SiLU()]
        layers += [nn.Linear(WIDTH, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH), nn.SiLU(), nn.Linear(WIDTH, 2)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Velocity at x `[B, 2]` and times `[B]` or one time."""
        waves = torch.pi * t.to(x.dtype).expand(len(x))[:, None] * torch.tensor([0.5, 1.0, 2.0, 4.0])
        line = t.to(x.dtype).expand(len(x))[:, None]
        out: Tensor = self.layers(torch.cat([x, line, torch.sin(waves), torch.cos(waves)], dim=1))
        return out


def train(seed: int = 0) -> VelocityNetwork:
    """A network trained by rectified flow with uniform times."""
    torch.manual_seed(seed)
    source, network = torch.Generator().manual_seed(seed), VelocityNetwork()
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * step / STEPS))
        data = mixture.draw(BATCH, source).float()
        noise, times = torch.randn(BATCH, 2, generator=source), torch.rand(BATCH, generator=source)
        optimizer.zero_grad()
        rectified_flow(network, data, times, noise).backward()
        optimizer.step()
    return network


def velocity_error(network: VelocityNetwork, count: int = 20_000) -> float:
    """Mean square error of the velocity over its mean square, over uniform times."""
    source = torch.Generator().manual_seed(77)
    t = torch.rand(count, 1, generator=source)
    x = t * mixture.draw(count, source).float() + (1 - t) * torch.randn(count, 2, generator=source)
    with torch.inference_mode():
        true = mixture.velocity(x, t)
        return float((network(x, t[:, 0]) - true).square().mean() / true.square().mean())


def learned(samples: int, seeds: int) -> tuple[Rows, float, float]:
    """Rows of samplers with the learned velocity, the distance of true samples, and the network's relative error."""
    network = train()

    def flow(sampler: object, n: int) -> Run:
        return lambda v, x, noise: sampler(v, x, schedules.uniform(n))  # type: ignore[operator]

    def chain(n: int, k: int) -> Run:
        return lambda v, x, noise: poisson_midpoint(v, x, schedules.uniform(n), noise=noise, k=k)

    runs = {
        "midpoint, probability flow": {f"{n} steps": flow(samplers.midpoint, n) for n in (8, 15, 31)},
        "DPM-Solver++(2M)": {f"{n} steps": flow(samplers.dpm_solver_pp_2m, n) for n in (31, 62)},
        BASE: {f"{n} steps": chain(n, 1) for n in (31, 62, 256)},
        OURS: {f"{n} steps, K = {k}": chain(n, k) for n, k in ((8, 32), (16, 32), (32, 16))},
    }
    with torch.inference_mode():
        return measure_all(runs, network, samples, seeds), floor(samples, seeds), velocity_error(network)
