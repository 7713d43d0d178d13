"""The choices of diffusers' `LuminaPipeline` as values, for whoever wants its pictures rather than better ones.

It differs from our defaults, and from Lumina's own code, in its time grid (which ends with an evaluation at t = 0.999),
in guiding three of four latent channels, and in scaling: positions are interpolated at every time (its watershed is 1),
by one factor for both axes that also shrinks below 1, with proportional attention at every size.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from modalities.contracts import Extrapolation, GenerateOptions, Guidance
from modalities.weights.headers import read_json


def flow_match(steps: int, *, shift: float = 1.0) -> Tensor:
    """The grid of diffusers' `FlowMatchEulerDiscreteScheduler`, turned from sigma to t = 1 - sigma.

    sigma falls evenly from 1 to the smallest trained one, then jumps to 0: `steps` evaluations. As there, a shift other
    than 1 meets the smallest sigma twice: once when the scheduler is made and once more when the grid is.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1; got {steps}")
    if shift <= 0:
        raise ValueError(f"shift must be positive; got {shift}")
    smallest = shift * 0.001 / (1 + (shift - 1) * 0.001)
    even = torch.linspace(1.0, smallest, steps, dtype=torch.float64)
    sigma = shift * even / (1 + (shift - 1) * even)
    return torch.cat([1 - sigma, sigma.new_ones(1)])


def pipeline_options(folder: Path, steps: int = 30, scale: float = 4.0) -> GenerateOptions:
    """What the pipeline in `folder` does by itself, with its scheduler's shift."""
    scheduler = read_json(folder / "scheduler" / "scheduler_config.json")
    return GenerateOptions(
        sampler="euler",
        steps=steps,
        schedule="diffusers-flow-match",
        schedule_options={"shift": float(scheduler.get("shift", 1.0))},
        guidance=Guidance(scale=scale, channels=3),
        extrapolation=Extrapolation(
            method="watershed", watershed=1.0, scale="area-always", proportional_attention=True
        ),
    )
