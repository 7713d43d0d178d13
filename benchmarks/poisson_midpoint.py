"""Error against evaluations of the Poisson midpoint method and its rivals, where the answer is known and on pictures.

    python benchmarks/poisson_midpoint.py [--samples 200000] [--seeds 2] [--parts flow langevin levels learned image]

flow: a mixture whose velocity is known. learned: the same mixture, its velocity learned by a small network. langevin:
overdamped and underdamped dynamics. levels: the reverse diffusion of DDPM over 1,000 levels. image: the built-in image
model (`image_samplers.py`). Every sampler of a part starts from the same numbers, and evaluations are counted, not
assumed. Each part is written into the dated result as it ends, and docs/samplers.md with its plot is made from that
file; `--parts` without names only writes the page again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import gaussian_mixture as mixture
import torch
from builtin_image import ROOT
from dated_parts import newest, write_part
from image_samplers import image_quality
from langevin_mixture import langevin, levels
from learned_mixture import learned
from samplers_page import BASE, OURS, write_page
from sampling_error import Rows, Run, floor, measure_all
from torch import Tensor

from modalities.flow import samplers, schedules
from modalities.flow.poisson_midpoint import poisson_midpoint

NAME = "poisson_midpoint"
Keep = Callable[[dict[str, Any]], None]
"""Takes what a part has found so far."""


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
        for n in (8, 16, 31, 64, 128)
    }
    found[BASE] = {
        f"{n} steps": lambda v, x, noise, n=n: poisson_midpoint(v, x, schedules.uniform(n), noise=noise, k=1)
        for n in (8, 16, 31, 61, 256)
    }
    found[OURS] = {
        f"{n} steps, K = {k}": lambda v, x, noise, n=n, k=k: poisson_midpoint(
            v, x, schedules.uniform(n), noise=noise, k=k
        )
        for n, k in ((4, 64), (8, 32), (16, 32), (32, 16))
    }
    return found


def accepted(found: Rows) -> dict[str, bool]:
    """The acceptance numbers of the project for this mixture, at 16 steps and K = 32."""
    ours = found[OURS]["16 steps, K = 32"]
    base = found[BASE]["31 steps"]
    return {
        "distance at most 0.009": ours["distance"] <= 0.009,
        "at most 0.45 of its base at as many evaluations": ours["distance"] <= 0.45 * base["distance"],
        "width of modes 0.93 to 0.97": 0.93 <= ours["width"] <= 0.97,
        "at most 0.002 outside the modes": ours["outside"] <= 0.002,
    }


def flow_part(given: argparse.Namespace, keep: Keep) -> None:
    """The samplers of flows with the exact velocity."""
    found = measure_all(settings(), exact_velocity, given.samples, given.seeds)
    keep({"settings": found, "floor": floor(given.samples, given.seeds), "accepted": accepted(found)})


def exact_velocity(x: Tensor, t: Tensor) -> Tensor:
    """That of the mixture, in the type of x."""
    return mixture.velocity(x, t.to(x.dtype))


def langevin_part(given: argparse.Namespace, keep: Keep) -> None:
    """Overdamped and underdamped dynamics, with half of the samples."""
    found, least = langevin(given.samples // 2, given.seeds)
    keep({"settings": found, "floor": least})


def levels_part(given: argparse.Namespace, keep: Keep) -> None:
    """The reverse diffusion over discrete levels, with a quarter of the samples."""
    found, least = levels(given.samples // 4, given.seeds)
    keep({"settings": found, "floor": least})


def learned_part(given: argparse.Namespace, keep: Keep) -> None:
    """The samplers of flows with a learned velocity, with a quarter of the samples."""
    found, least, error = learned(given.samples // 4, given.seeds)
    keep({"settings": found, "floor": least, "velocity_error": error})


def image_part(given: argparse.Namespace, keep: Keep) -> None:
    """The built-in image model; kept after each setting."""

    def rows(found: list[dict[str, Any]]) -> None:
        keep({"rows": found})

    image_quality(given.prompts, given.sets, rows)


PARTS: dict[str, Callable[[argparse.Namespace, Keep], None]] = {
    "flow": flow_part,
    "langevin": langevin_part,
    "levels": levels_part,
    "learned": learned_part,
    "image": image_part,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=200_000, help="of the mixture")
    parser.add_argument("--seeds", type=int, default=2, help="of the mixture")
    parser.add_argument("--prompts", type=int, default=27, help="of the image model")
    parser.add_argument("--sets", type=int, default=2, help="pictures of a prompt")
    parser.add_argument("--parts", nargs="*", choices=sorted(PARTS), default=list(PARTS))
    given = parser.parse_args()
    torch.set_num_threads(1)
    arguments = {key: getattr(given, key) for key in ("samples", "seeds", "prompts", "sets")}
    for name in given.parts:
        began = time.process_time()

        def keep(found: dict[str, Any], name: str = name, began: float = began) -> None:
            spent = {"cpu_seconds": round(time.process_time() - began)}
            write_part(NAME, name, {"arguments": arguments, **found, **spent})

        PARTS[name](given, keep)
    path = newest(NAME)
    if path is not None:
        write_page(json.loads(path.read_text(encoding="utf-8")), ROOT / "docs", path)


if __name__ == "__main__":
    main()
