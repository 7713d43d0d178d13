"""generate: conditioning to latents, with any generator family."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from modalities.contracts import Conditioning
from modalities.generators.options import generate_options
from orchestrator.errors import StageError
from orchestrator.item import Item
from orchestrator.stages.base import Outcome, Stage


class Generate(Stage):
    """Makes latents of one size with a model's generator.

    options: model (name); size (media units, one number per axis); and those of GenerateOptions, where sampler,
    schedule and guidance are a name or number, or a mapping with a name (or scale) and further options.
    writes: `latents`, `[channels, *axes]` in float32.
    """

    reads = frozenset({"conditioning", "negative"})
    writes = frozenset({"latents"})

    def setup(self) -> None:
        """Load the generator."""
        self._generator = self.models.generator(str(self.options["model"]))
        self._size = tuple(int(length) for length in self.options["size"])

    def process(self, items: Sequence[Item]) -> list[Outcome]:
        """Generate one batch. A sample whose latents are not finite gets an error of its own."""
        options = generate_options(self.options)
        latents = self._generator.generate(
            stacked(items, "conditioning").to(self.models.device),
            stacked(items, "negative").to(self.models.device),
            self._size,
            [item.sample.seed for item in items],
            options,
        )
        return with_latents(items, latents)


def stacked(items: Sequence[Item], kind: str) -> Conditioning:
    """The conditioning of all items as one batch, padded to the longest."""
    return Conditioning.stack([item.values[kind] for item in items])


def with_latents(items: Sequence[Item], latents: Tensor) -> list[Outcome]:
    """Each item with its own row of a batch of latents, or with an error when that row is not finite."""
    rows = latents.detach().to("cpu", torch.float32)
    outcomes: list[Outcome] = []
    for item, row in zip(items, rows, strict=True):
        if torch.isfinite(row).all():
            outcomes.append(item.with_values(latents=row.clone()))
        else:
            broken = int((~torch.isfinite(row)).sum())
            reason = f"{broken} of {row.numel()} latent values are not finite numbers; try more steps or less guidance"
            outcomes.append(StageError(item.sample.step, item.sample.id, reason))
    return outcomes
