"""How far samples of the analytic mixture are from it, and what they cost: a row of numbers for each run."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import gaussian_mixture as mixture
import torch
from torch import Tensor

Field = Callable[..., Tensor]
"""A velocity, score or noise prediction; its first argument is the state `[B, 2]`."""
Run = Callable[[Field, Tensor, Callable[[], Tensor]], Tensor]
"""`run(field, start, noise)`: the samples."""
Rows = dict[str, dict[str, dict[str, float]]]
"""Sampler -> setting -> numbers."""


def measure(run: Run, field: Field, samples: int, seeds: int, *, noise: float = 0.0) -> dict[str, float]:
    """Mean over seeds of what comes out, and of the evaluations that a sample took.

    noise: the target is the mixture with so much noise added, and runs start from it (for chains that stay where they
    are); 0 is the mixture itself, and runs start from standard normal numbers.
    """
    rows, began = [], time.process_time()
    for seed in range(seeds):
        source, seen = torch.Generator().manual_seed(seed), [0]
        start = torch.randn(samples, 2, generator=source)
        if noise:
            start = (mixture.draw(samples, source) + noise * start).float()

        def counted(x: Tensor, *at: object, seen: list[int] = seen) -> Tensor:
            seen[0] += len(x)
            return field(x, *at)

        def draw(source: torch.Generator = source) -> Tensor:
            return torch.randn(samples, 2, generator=source)

        out = run(counted, start, draw)
        rows.append((seen[0] / samples, *judged(out, noise)))
    columns = torch.tensor(rows, dtype=torch.float64)
    found = dict(zip(("evaluations", "distance", "width", "outside"), columns.mean(0).tolist(), strict=True))
    error = float(columns[:, 1].std() / math.sqrt(seeds)) if seeds > 1 else float("nan")
    return found | {"distance_error": error, "cpu_seconds": (time.process_time() - began) / seeds}


def judged(samples: Tensor, noise: float) -> tuple[float, float, float]:
    """Distance to the target, width and share outside its modes; with noise the modes overlap, and the width is E|x|^2.

    Width: variance over the true one.
    """
    if not noise:
        return mixture.sliced_distance(samples), *mixture.within_modes(samples)
    spread = math.hypot(mixture.SPREAD, noise)
    width = float(samples.double().square().sum(1).mean()) / (mixture.RADIUS**2 + 2 * spread**2)
    return mixture.sliced_distance(samples, spread=spread), width, 0.0


def measure_all(
    found: dict[str, dict[str, Run]], field: Field, samples: int, seeds: int, *, noise: float = 0.0
) -> Rows:
    """What `measure` says of every setting, printed as it comes."""
    rows: Rows = {}
    for name, runs in found.items():
        rows[name] = {}
        for setting, run in runs.items():
            rows[name][setting] = measure(run, field, samples, seeds, noise=noise)
            print(name, setting, {key: round(value, 5) for key, value in rows[name][setting].items()}, flush=True)
    return rows


def floor(samples: int, seeds: int, *, noise: float = 0.0) -> float:
    """The distance that true samples have."""
    found = []
    for seed in range(seeds):
        source = torch.Generator().manual_seed(100 + seed)
        true = mixture.draw(samples, source) + noise * torch.randn(samples, 2, dtype=torch.float64, generator=source)
        found.append(judged(true, noise)[0])
    return sum(found) / seeds
