"""generate: conditioning to latents, with any generator family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from modalities.contracts import Conditioning, Extrapolation, GenerateOptions, Guidance
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


def generate_options(options: Mapping[str, Any]) -> GenerateOptions:
    """GenerateOptions from the plain values of a workflow, or from a model's defaults, which have its field names.

    What is left out takes the default of GenerateOptions.
    """
    default = GenerateOptions()
    options = {name: value for name, value in options.items() if value is not None}
    sampler, sampler_options = _named(options.get("sampler", default.sampler), "name")
    schedule, schedule_options = _named(options.get("schedule", default.schedule), "name")
    scale, guidance_options = _named(options.get("guidance", default.guidance.scale), "scale")
    if "interval" in guidance_options:
        first, last = guidance_options["interval"]
        guidance_options["interval"] = (float(first), float(last))
    return GenerateOptions(
        sampler=str(sampler),
        sampler_options={**options.get("sampler_options", {}), **sampler_options},
        steps=int(options.get("steps", default.steps)),
        schedule=str(schedule),
        schedule_options={**options.get("schedule_options", {}), **schedule_options},
        guidance=Guidance(scale=float(scale), **guidance_options),
        extrapolation=_extrapolation(options),
        strength=float(options.get("strength", default.strength)),
    )


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


def _named(value: Any, key: str) -> tuple[Any, dict[str, Any]]:
    """A value that is plain, or a mapping that holds it under `key`; and the mapping's other entries that are set."""
    if isinstance(value, Mapping):
        rest = {name: entry for name, entry in value.items() if name != key and entry is not None}
        return value[key], rest
    return value, {}


def _extrapolation(options: Mapping[str, Any]) -> Extrapolation:
    default = Extrapolation()
    return Extrapolation(
        method=str(options.get("method", default.method)),
        watershed=float(options.get("watershed", default.watershed)),
        proportional_attention=bool(options.get("proportional_attention", default.proportional_attention)),
        context_drop=float(options.get("context_drop", default.context_drop)),
        scale=str(options.get("scale", default.scale)),
    )
