"""Training of a generator, of any family, on a pool of latents and caption conditionings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from modalities.contracts import GenerateOptions, Size
from modalities.training.family import Probe, TrainedFamily
from modalities.training.following import PromptFollowing
from modalities.training.loop import LoopState
from modalities.training.order import batch_indices, step_generator
from modalities.training.pool import Pool
from modalities.training.sheets import save_sheet


@dataclass(kw_only=True)
class GeneratorTask:
    """A family's loss over (latents, captions) pairs, for latents with any axes.

    size: of a sample, in latent cells. options: how workflows sample the model unless they say otherwise; sheets and
    measures are made so too. preview: latents to pictures `[N, 3, H, W]`. columns: pictures side by side on a sheet.
    drop: part of the captions replaced by the empty prompt, which gives guidance its unconditional half. text_tokens:
    length that conditionings are padded or cut to, so that shapes never change. points: of a cloud, so many points are
    drawn for each step; 0 for all. export_with: writes the finished model folder. following: how prompt-following is
    measured.
    """

    family: TrainedFamily
    pool: Pool
    size: Size
    options: GenerateOptions
    preview: Callable[[Tensor], Tensor]
    probe: Probe
    export_with: Callable[[Path, nn.Module, LoopState], None]
    seed: int = 0
    batch: int = 64
    drop: float = 0.1
    text_tokens: int = 24
    points: int = 0
    columns: int = 12
    following: PromptFollowing | None = None

    @property
    def module(self) -> nn.Module:
        """The network."""
        return self.family.module

    def loss(self, step: int) -> Tensor:
        """The family's loss of a step's batch; its samples, captions and all noise follow from (seed, step)."""
        return self.part_loss(step, slice(0, self.batch))

    def part_loss(self, step: int, rows: slice) -> Tensor:
        """The loss of some rows of a step's batch, which are what they would be in the whole batch."""
        source = step_generator(self.seed, step)
        samples = batch_indices(self.seed, step, self.batch, len(self.pool))
        latents = self._drawn(self.pool.latents[samples].float(), source)
        column = torch.randint(self.pool.captions.shape[1], (self.batch,), generator=source)
        captions = self.pool.captions[samples, column]
        captions = torch.where(torch.rand(self.batch, generator=source) < self.drop, 0, captions)
        conditioning = self.pool.conditioning(captions, self.text_tokens)
        return self.family.loss(latents, conditioning, source, rows)

    def _drawn(self, latents: Tensor, source: torch.Generator) -> Tensor:
        """The latents `[B, C, N]` with `points` of their N points, or as they are."""
        if not self.points:
            return latents
        chosen = torch.rand((len(latents), latents.shape[2]), generator=source).argsort(1)[:, : self.points]
        return latents.gather(2, chosen[:, None].expand(-1, latents.shape[1], -1))

    def sheet(self, path: Path) -> None:
        """Sample the probe's prompts and write them as one picture."""
        save_sheet(path, self.preview(self.sample()), self.columns)

    def sample(self, probe: Probe | None = None) -> Tensor:
        """Latents of the probe's prompts, or of another's."""
        probe = probe or self.probe
        seeds = range(probe.seed, probe.seed + len(probe.conditioning))
        self.module.eval()
        try:
            # Sampling has other shapes than training, and compiling for them would take longer than the sampling.
            with torch.no_grad(), torch.compiler.set_stance("force_eager"):
                generator = self.family.generator
                return generator.generate(probe.conditioning, probe.negative, self.size, seeds, self.options)
        finally:
            self.module.train()

    def measure(self) -> float:
        """The share of the judge's prompts that the network follows now."""
        assert self.following is not None
        return self.following.measure(self.sample)

    def export(self, folder: Path, state: LoopState) -> None:
        """Write the model folder with the weights as they are in the module now."""
        self.export_with(folder, self.module, state)


def describe_training(task: GeneratorTask, state: LoopState) -> dict[str, Any]:
    """What `model.json` says of how the weights came about. best: the measure, if any, and the step they are of."""
    best = {"best": {"followed": round(state.best, 4), "step": state.best_step}} if state.best >= 0 else {}
    return {
        "samples": state.samples,
        "steps": state.step,
        "seconds": round(state.seconds),
        "loss": round(state.loss, 5),
        "seed": task.seed,
        "batch": task.batch,
        **task.family.facts,
        "caption_drop": task.drop,
        "pool": len(task.pool),
        **best,
    }
