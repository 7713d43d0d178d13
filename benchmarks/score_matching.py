"""What the score-matching objectives learn and what they cost: distance to a known score, and time a step, in one run.

    python benchmarks/score_matching.py [--parts mixture times dimension pictures] [--steps 3000]

mixture: a 2-D mixture at one noise level. times: the same at all levels of VE noise. dimension: mixtures in 2 to 784
dimensions. pictures: sprites of 64 x 64 and a small convolutional network. A part trains the same network from the same
weights with every objective and as many steps, and takes their times in turn, so that what else the machine does falls
on all of them. Writes a dated result and, from it, docs/score_matching.md with its plot.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import gaussian_mixture as ring
import torch
from builtin_image import CORPORA, ROOT
from dated_parts import newest, write_part
from score_matching_page import write_page
from torch import Tensor, nn

from modalities.training.corpora import packages
from modalities.training.corpora.compose import compose, draw_scene, to_media
from modalities.training.corpora.sprites import load_sprites
from modalities.training.score_matching import Noising, Process, ScoreMatching, variance_exploding

NAME = "score_matching"

Loss = Callable[..., Tensor]
LOSSES: dict[str, tuple[str, dict[str, Any]]] = {
    "denoising": ("denoising", {}),
    "sliced": ("sliced", {}),
    "finite differences": ("finite_differences", {}),
    "LCSS": ("lcss", {}),
    "LCSS, plain": ("lcss", {"ratio": 1.0, "antithetic": False}),
}
"""Name -> method of `ScoreMatching` and its options."""
MOST, LEAST = 4.0, 0.05
DIMENSIONS = (2, 16, 64, 256, 784)


def fixed(level: float) -> Process:
    """Data with noise of one deviation at every time."""

    def process(t: Tensor) -> Noising:
        whole, zero = torch.full_like(t, level), torch.zeros_like(t)
        return Noising(1 + zero, whole, zero, -whole)

    return process


def exploding(t: Tensor) -> Noising:
    """VE noise from 4 to 0.05."""
    return variance_exploding(t, LEAST, MOST)


class ScoreNetwork(nn.Module):
    """Three hidden layers over x `[B, d]` and waves of t; puts out a noise prediction, of scale 1 at all times."""

    def __init__(self, dimension: int, width: int) -> None:
        super().__init__()
        sizes = [dimension + 6, width, width, width]
        layers = [part for a, b in itertools.pairwise(sizes) for part in (nn.Linear(a, b), nn.SiLU())]
        self.layers = nn.Sequential(*layers, nn.Linear(width, dimension))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """x `[B, d]`, t `[B]`."""
        waves = t[:, None] * torch.pi * torch.tensor([0.5, 1.0, 2.0])
        out: Tensor = self.layers(torch.cat([x, torch.sin(waves), torch.cos(waves)], dim=1))
        return out


class ConvolutionalNetwork(nn.Module):
    """Five convolutions over pictures, with waves of t as more channels; puts out a noise prediction."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        sizes = [3 + 6, width, width, width, width]
        layers = [part for a, b in itertools.pairwise(sizes) for part in (nn.Conv2d(a, b, 3, padding=1), nn.SiLU())]
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, 3, 3, padding=1))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """x `[B, 3, h, w]`, t `[B]`."""
        waves = t[:, None] * torch.pi * torch.tensor([0.5, 1.0, 2.0])
        told = torch.cat([torch.sin(waves), torch.cos(waves)], dim=1)[:, :, None, None].expand(-1, -1, *x.shape[2:])
        out: Tensor = self.layers(torch.cat([x, told], dim=1))
        return out


@dataclass
class Contest:
    """Networks that start from the same weights and train in turn, each by its own objective on the same numbers.

    data(count, source): samples. judge(network): what to report of a network, less is better.
    """

    make: Callable[[], nn.Module]
    matching: ScoreMatching
    data: Callable[[int, torch.Generator], Tensor]
    batch: int
    rate: float = 1e-3
    seed: int = 0
    losses: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=lambda: dict(LOSSES))

    def run(self, steps: int, judge: Callable[[nn.Module], dict[str, float]]) -> dict[str, dict[str, float]]:
        """Train, and judge and time what comes out."""
        networks, optimizers, seconds = {}, {}, dict.fromkeys(self.losses, math.inf)
        for name in self.losses:
            torch.manual_seed(self.seed)
            networks[name] = self.make()
            optimizers[name] = torch.optim.Adam(networks[name].parameters(), lr=self.rate)
        for step, given in enumerate(self._numbers(steps)):
            for name in self.losses:
                for group in optimizers[name].param_groups:
                    group["lr"] = self.rate * 0.5 * (1 + math.cos(math.pi * step / steps))
                began = time.process_time()
                self._step(name, networks[name], optimizers[name], given)
                seconds[name] = min(seconds[name], time.process_time() - began)
        return {name: {**judge(networks[name]), "milliseconds": 1000 * seconds[name]} for name in self.losses}

    def _numbers(self, steps: int) -> Iterator[tuple[Tensor, ...]]:
        source = torch.Generator().manual_seed(self.seed + 1)
        for _ in range(steps):
            data = self.data(self.batch, source)
            noise, directions = (torch.randn(data.shape, generator=source) for _ in range(2))
            yield data, torch.rand(self.batch, generator=source), noise, directions

    def _step(self, name: str, network: nn.Module, optimizer: torch.optim.Optimizer, given: tuple[Tensor, ...]) -> None:
        method, options = self.losses[name]
        optimizer.zero_grad()
        arguments = given if method != "denoising" else given[:3]
        getattr(self.matching, method)(network, *arguments, **options).backward()
        optimizer.step()


def divergence(matching: ScoreMatching, network: nn.Module, x: Tensor, times: Tensor, true: Tensor) -> float:
    """Relative Fisher divergence, E w |S - s|^2 over E w |s|^2, at points x `[B, d]` of the noised density."""
    with torch.no_grad():
        weights = matching.weights(times, x)
        away = (weights * (matching.score(network, x, times) - true).square()).mean()
        return float(away / (weights * true.square()).mean())


def ring_data(count: int, source: torch.Generator) -> Tensor:
    """Samples of the six modes on a ring, `[count, 2]` float32."""
    return ring.draw(count, source).float()


def ring_judge(matching: ScoreMatching, times: Tensor, seed: int = 900) -> Callable[[nn.Module], dict[str, float]]:
    """Divergence to the exact score of the ring's mixture at given times, at new samples."""
    source = torch.Generator().manual_seed(seed)
    data, noise = ring_data(len(times), source), torch.randn(len(times), 2, generator=source)
    c = matching.at(times, data)
    x = c.alpha * data + c.sigma * noise
    true = ring.score(x, c.alpha, c.sigma)
    return lambda network: {"divergence": divergence(matching, network, x, times, true)}


def mixture_part(steps: int, losses: dict[str, tuple[str, dict[str, Any]]] | None = None) -> dict[str, Any]:
    """One level of noise, 0.1: the modes have a deviation of 0.25."""
    matching = ScoreMatching(fixed(0.1), "noise", "noise")
    contest = Contest(lambda: ScoreNetwork(2, 128), matching, ring_data, batch=512, losses=losses or dict(LOSSES))
    return {"steps": steps, "rows": contest.run(steps, ring_judge(matching, torch.full((20_000,), 0.5)))}


def times_part(steps: int) -> dict[str, Any]:
    """All levels of VE noise from 4 to 0.05, uniform in their logarithm."""
    matching = ScoreMatching(exploding, "noise", "noise")
    contest = Contest(lambda: ScoreNetwork(2, 128), matching, ring_data, batch=512)
    times = torch.rand(20_000, generator=torch.Generator().manual_seed(901))
    return {"steps": steps, "rows": contest.run(steps, ring_judge(matching, times))}


def four_modes(dimension: int) -> Tensor:
    """Centres `[4, dimension]` at distance 2.5 from the middle, in random directions."""
    drawn = torch.randn(4, dimension, generator=torch.Generator().manual_seed(dimension))
    return 2.5 * nn.functional.normalize(drawn, dim=1)


def dimension_part(steps: int) -> dict[str, Any]:
    """Four modes of deviation 0.5 with noise 0.5, in more and more dimensions."""
    rows: dict[str, Any] = {}
    for dimension in DIMENSIONS:
        centres, matching = four_modes(dimension), ScoreMatching(fixed(0.5), "noise", "noise")

        def data(count: int, source: torch.Generator, centres: Tensor = centres) -> Tensor:
            chosen = centres[torch.randint(4, (count,), generator=source)]
            return chosen + 0.5 * torch.randn(chosen.shape, generator=source)

        source, times = torch.Generator().manual_seed(902), torch.full((4000,), 0.5)
        x = data(4000, source) + 0.5 * torch.randn(4000, dimension, generator=source)
        share = torch.softmax(-torch.cdist(x, centres).square() / (2 * 0.5), dim=1)
        true = (share @ centres - x) / 0.5

        def judge(
            network: nn.Module, x: Tensor = x, times: Tensor = times, true: Tensor = true, m: ScoreMatching = matching
        ) -> dict[str, float]:
            return {"divergence": divergence(m, network, x, times, true)}

        width = max(128, min(512, dimension))
        contest = Contest(lambda d=dimension, w=width: ScoreNetwork(d, w), matching, data, batch=128)  # type: ignore[misc]
        rows[str(dimension)] = contest.run(steps, judge)
        print(dimension, rows[str(dimension)], flush=True)
    return {"steps": steps, "rows": rows}


def pictures_part(steps: int) -> dict[str, Any]:
    """Sprites of 64 x 64 with VE noise from 4 to 0.05; judged by the noise error on held-out pictures.

    That error is twice the denoising loss: the Fisher divergence, and something that no network can change.
    """
    packages.fetch(CORPORA)
    sprites, count = load_sprites(CORPORA), 512
    scenes = [compose(draw_scene(7, i, len(sprites)), sprites, 7, i, 1.0) for i in range(count + 64)]
    pictures = torch.stack([torch.from_numpy(to_media(scene[None]))[0] for scene in scenes])
    matching = ScoreMatching(exploding, "noise", "noise")

    def data(number: int, source: torch.Generator) -> Tensor:
        return pictures[torch.randint(count, (number,), generator=source)]

    source = torch.Generator().manual_seed(903)
    held, times = pictures[count:], torch.linspace(0.01, 0.99, 64)
    noise = torch.randn(held.shape, generator=source)

    def judge(network: nn.Module) -> dict[str, float]:
        with torch.no_grad():
            return {"noise_error": 2 * float(matching.denoising(network, held, times, noise))}

    contest = Contest(ConvolutionalNetwork, matching, data, batch=4)
    return {"steps": steps, "rows": contest.run(steps, judge), "still": 1.0}


PARTS: dict[str, tuple[Callable[[int], dict[str, Any]], float]] = {
    "mixture": (mixture_part, 1.0),
    "times": (times_part, 0.5),
    "dimension": (dimension_part, 0.1),
    "pictures": (pictures_part, 0.05),
}
"""A part, and its share of --steps."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--parts", nargs="*", choices=sorted(PARTS), default=list(PARTS))
    given = parser.parse_args()
    torch.set_num_threads(1)
    for name in given.parts:
        part, share = PARTS[name]
        began = time.process_time()
        found = part(max(1, round(given.steps * share)))
        found |= {"cpu_seconds": round(time.process_time() - began)}
        print(name, json.dumps(found["rows"], indent=1), flush=True)
        write_part(NAME, name, found)
    path = newest(NAME)
    if path is not None:
        write_page(json.loads(path.read_text(encoding="utf-8")), ROOT / "docs", path)


if __name__ == "__main__":
    main()
