"""Error against evaluations of the Poisson midpoint method and its rivals, on a mixture whose velocity is known.

    python benchmarks/poisson_midpoint.py [--samples 200000] [--seeds 2] [--image 64]

Every sampler starts from the same noise. Evaluations are counted, not assumed. Writes a dated result, a plot and
docs/samplers.md. --image N also draws N prompts of benchmarks/prompt_following.py with the built-in image
model, at about 40 and 80 evaluations and at 1,000 small steps, and grades the pictures as that benchmark does; with 216
prompts it takes hours.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gaussian_mixture as mixture
import torch
from samplers_page import write_page
from torch import Tensor

from modalities.flow import samplers, schedules
from modalities.flow.poisson_midpoint import poisson_midpoint

ROOT = Path(__file__).resolve().parent.parent
Run = Callable[[Callable[[Tensor, Tensor], Tensor], Tensor, Callable[[], Tensor]], Tensor]


def settings() -> dict[str, dict[str, Run]]:
    """Sampler -> setting -> a run of it."""
    found: dict[str, dict[str, Run]] = {}
    ode = {
        "Euler, probability flow": (samplers.euler, (8, 16, 32, 64)),
        "midpoint, probability flow": (samplers.midpoint, (4, 8, 16, 32)),
        "DPM-Solver++(2M)": (samplers.dpm_solver_pp_2m, (8, 16, 32, 64)),
    }
    for name, (sampler, counts) in ode.items():
        found[name] = {f"{n} steps": lambda v, x, noise, s=sampler, n=n: s(v, x, schedules.uniform(n)) for n in counts}
    found["Euler-Maruyama"] = {
        f"{n} steps": lambda v, x, noise, n=n: samplers.euler_maruyama(
            v, x, schedules.uniform(n), noise=noise, diffusion="memoryless"
        )
        for n in (8, 16, 31, 64, 128, 512)
    }
    found["its exact small step (DDPM)"] = {
        f"{n} steps": lambda v, x, noise, n=n: poisson_midpoint(v, x, schedules.uniform(n), noise=noise, k=1)
        for n in (8, 16, 31, 61)
    }
    found["Poisson midpoint"] = {
        f"{n} steps, K = {k}": lambda v, x, noise, n=n, k=k: poisson_midpoint(
            v, x, schedules.uniform(n), noise=noise, k=k
        )
        for n, k in ((4, 64), (8, 32), (16, 32), (32, 16))
    }
    return found


def measure(run: Run, samples: int, seeds: int) -> dict[str, float]:
    """Mean over seeds of what comes out, and of the evaluations that a sample took."""
    rows, started = [], time.process_time()
    for seed in range(seeds):
        source, seen = torch.Generator().manual_seed(seed), [0]
        x = torch.randn(samples, 2, dtype=torch.float64, generator=source)

        def counted(x: Tensor, t: Tensor, seen: list[int] = seen) -> Tensor:
            seen[0] += len(x)
            return mixture.velocity(x, t)

        def noise(source: torch.Generator = source) -> Tensor:
            return torch.randn(samples, 2, dtype=torch.float64, generator=source)

        out = run(counted, x, noise)
        rows.append((seen[0] / samples, mixture.sliced_distance(out), *mixture.within_modes(out)))
    columns = torch.tensor(rows, dtype=torch.float64)
    mean = columns.mean(0).tolist()
    spread = float(columns[:, 1].std() / math.sqrt(seeds)) if seeds > 1 else float("nan")
    names = ("evaluations", "distance", "width", "outside")
    return dict(zip(names, mean, strict=True)) | {
        "distance_error": spread,
        "seconds": (time.process_time() - started) / seeds,
    }


def floor(samples: int, seeds: int) -> float:
    """The distance that true samples have."""
    sources = [torch.Generator().manual_seed(100 + seed) for seed in range(seeds)]
    return sum(mixture.sliced_distance(mixture.draw(samples, source)) for source in sources) / seeds


def accepted(found: dict[str, dict[str, dict[str, float]]]) -> dict[str, bool]:
    """The acceptance numbers of the project for this mixture, at 16 steps and K = 32."""
    ours = found["Poisson midpoint"]["16 steps, K = 32"]
    base = found["its exact small step (DDPM)"]["31 steps"]
    return {
        "distance at most 0.009": ours["distance"] <= 0.009,
        "at most 0.45 of its base at as many evaluations": ours["distance"] <= 0.45 * base["distance"],
        "width of modes 0.93 to 0.97": 0.93 <= ours["width"] <= 0.97,
        "at most 0.002 outside the modes": ours["outside"] <= 0.002,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=200_000)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--image", type=int, default=0)
    given = parser.parse_args()
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name, runs in settings().items():
        found[name] = {}
        for setting, run in runs.items():
            found[name][setting] = measure(run, given.samples, given.seeds)
            print(name, setting, {key: round(value, 5) for key, value in found[name][setting].items()}, flush=True)
    result: dict[str, Any] = {
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, float64",
        "load_average": os.getloadavg()[0],
        "samples": given.samples,
        "seeds": given.seeds,
        "floor": floor(given.samples, given.seeds),
        "mixture": found,
        "accepted": accepted(found),
    }
    if given.image:
        from image_samplers import image_quality

        result["image"] = image_quality(given.image)
    path = ROOT / "benchmarks" / "results" / f"poisson_midpoint-{result['date']}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    write_page(result, ROOT / "docs", path)
    print(json.dumps(result["accepted"], indent=1))


if __name__ == "__main__":
    main()
