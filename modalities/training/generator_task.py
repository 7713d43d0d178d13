"""Training of a Next-DiT on a pool of latents and caption conditionings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from modalities.contracts import Conditioning
from modalities.generators.nextdit.config import NextDiTConfig
from modalities.generators.nextdit.layers import Positions
from modalities.generators.nextdit.model import NextDiT
from modalities.training.loop import LoopState
from modalities.training.objectives import COUPLINGS, TIMES
from modalities.training.order import batch_indices, step_generator
from modalities.training.pool import Pool
from modalities.training.sheets import save_sheet

Objective = Callable[..., Tensor]
"""See `modalities.training.objectives`; one with `directions` takes more standard normal numbers by that name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Prompts that are drawn into sample sheets: their conditionings, that of the empty prompt, and how to sample."""

    conditioning: Conditioning
    negative: Conditioning
    steps: int = 16
    guidance: float = 4.0
    seed: int = 5


@dataclass(kw_only=True)
class GeneratorTask:
    """One objective over (latents, captions) pairs, for latents with any axes.

    preview: latents to pictures `[N, 3, H, W]`. columns: pictures side by side on a sheet. times: distribution of
    training times. drop: part of the captions replaced by the empty prompt, which gives guidance its unconditional
    half. text_tokens: length that conditionings are padded or cut to, so that shapes never change. coupling: how noise
    is paired with latents. directions: whether the objective takes them. points: of a cloud, so many points are drawn
    for each step; 0 for all. compile: compile each block (the blocks share one compilation). export_with: writes the
    finished model folder.
    """

    config: NextDiTConfig
    pool: Pool
    preview: Callable[[Tensor], Tensor]
    probe: Probe
    objective: Objective
    export_with: Callable[[Path, NextDiT, LoopState], None]
    seed: int = 0
    batch: int = 64
    times: str = "logit-normal"
    drop: float = 0.1
    text_tokens: int = 24
    coupling: str = "none"
    directions: bool = False
    points: int = 0
    columns: int = 12
    compile: bool = False
    device: torch.device | str = "cpu"
    module: NextDiT = field(init=False)
    positions: Positions = field(init=False)
    _on_cpu: bool = field(init=False)

    def __post_init__(self) -> None:
        torch.manual_seed(self.seed)
        self.module = NextDiT(self.config).to(self.device)
        self.positions = self.module.positions(self.axes, self.device)
        self._on_cpu = torch.device(self.device).type == "cpu"
        if self.compile:
            for block in self.module.blocks:
                block.compile()

    @property
    def axes(self) -> tuple[int, ...]:
        """Cells of each axis of the latents that a step sees."""
        return (self.points,) if self.points else tuple(self.pool.latents.shape[2:])

    def loss(self, step: int) -> Tensor:
        """The objective on a step's batch; its samples, captions, times and noise all follow from (seed, step)."""
        source = step_generator(self.seed, step)
        rows = batch_indices(self.seed, step, self.batch, len(self.pool))
        latents = self._drawn(self.pool.latents[rows].float(), source)
        column = torch.randint(self.pool.captions.shape[1], (self.batch,), generator=source)
        captions = self.pool.captions[rows, column]
        captions = torch.where(torch.rand(self.batch, generator=source) < self.drop, 0, captions)
        conditioning = self.pool.conditioning(captions, self.text_tokens).to(self.device)
        times = TIMES[self.times](self.batch, source).to(self.device)
        noise = torch.randn(latents.shape, generator=source)
        noise = COUPLINGS[self.coupling](noise, latents, self.config.coordinates).to(self.device)
        more = {}
        if self.directions:
            more["directions"] = torch.randn(latents.shape, generator=source).to(self.device)

        def predict(x: Tensor, t: Tensor) -> Tensor:
            text = self.module.prepare(conditioning.tokens, conditioning.mask)
            velocity: Tensor = self.module(x, t, text, self.positions)
            return velocity

        if not self._on_cpu:
            return self.objective(predict, latents.to(self.device), times, noise, **more)
        # The CPU's fused attention is no faster at 63 to 96 tokens and slower beyond (docs/training.md).
        with sdpa_kernel(SDPBackend.MATH):
            return self.objective(predict, latents, times, noise, **more)

    def _drawn(self, latents: Tensor, source: torch.Generator) -> Tensor:
        """The latents `[B, C, N]` with `points` of their N points, or as they are."""
        if not self.points:
            return latents
        chosen = torch.rand((len(latents), latents.shape[2]), generator=source).argsort(1)[:, : self.points]
        return latents.gather(2, chosen[:, None].expand(-1, latents.shape[1], -1))

    def sheet(self, path: Path) -> None:
        """Sample the probe's prompts and write them as one picture."""
        save_sheet(path, self.preview(self.sample()), self.columns)

    def sample(self) -> Tensor:
        """Latents of the probe's prompts: midpoint steps on a uniform grid with classifier-free guidance."""
        # Sampling has other shapes than training, and compiling for them would take longer than the sampling.
        with torch.no_grad(), torch.compiler.set_stance("force_eager"):
            return self._sample()

    def _sample(self) -> Tensor:
        probe = self.probe
        count = len(probe.conditioning)
        source = torch.Generator().manual_seed(probe.seed)
        x = torch.randn((count, self.config.in_channels, *self.axes), generator=source).to(self.device)
        both = Conditioning.stack([probe.conditioning, *[probe.negative] * count]).to(self.device)
        text = self.module.prepare(both.tokens, both.mask)

        def velocity(x: Tensor, t: float) -> Tensor:
            times = torch.full((2 * count,), t, device=x.device)
            found: Tensor = self.module(torch.cat([x, x]), times, text, self.positions)
            wanted, without = found.chunk(2)
            return without + probe.guidance * (wanted - without)

        for i in range(probe.steps):
            t, dt = i / probe.steps, 1 / probe.steps
            x = x + dt * velocity(x + dt / 2 * velocity(x, t), t + dt / 2)
        return x

    def export(self, folder: Path, state: LoopState) -> None:
        """Write the model folder with the weights as they are in the module now."""
        self.export_with(folder, self.module, state)


def describe_training(task: GeneratorTask, state: LoopState) -> dict[str, Any]:
    """What `model.json` says of how the weights came about."""
    return {
        "samples": state.samples,
        "steps": state.step,
        "seconds": round(state.seconds),
        "loss": round(state.loss, 5),
        "seed": task.seed,
        "batch": task.batch,
        "times": task.times,
        "coupling": task.coupling,
        "caption_drop": task.drop,
        "pool": len(task.pool),
    }
