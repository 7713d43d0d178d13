"""decode: latents to media."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from orchestrator.errors import StageError
from orchestrator.item import Item
from orchestrator.stages.base import Outcome, Stage


class Decode(Stage):
    """Turns latents into media with a model's codec.

    options: model (name). writes: `media`, `[channels, *axes]`: pictures in uint8, 0 to 255; sounds and points in
    float32, -1 to 1.
    """

    reads = frozenset({"latents"})
    writes = frozenset({"media"})

    def setup(self) -> None:
        """Load the codec."""
        model = str(self.options["model"])
        self._codec = self.models.codec(model)
        self._as_media = as_bytes if self.models.modality(model).is_bytes else as_floats

    def process(self, items: Sequence[Item]) -> list[Outcome]:
        """Decode one batch. A sample whose media are not finite gets an error of its own."""
        latents = torch.stack([item.values["latents"] for item in items]).to(self.models.device)
        media = self._codec.decode(latents).float()
        outcomes: list[Outcome] = []
        for item, medium in zip(items, media, strict=True):
            if torch.isfinite(medium).all():
                outcomes.append(item.with_values(media=self._as_media(medium)))
            else:
                broken = int((~torch.isfinite(medium)).sum())
                reason = f"{broken} of {medium.numel()} values of the decoded media are not finite numbers"
                outcomes.append(StageError(item.sample.step, item.sample.id, reason))
        return outcomes


def as_floats(media: Tensor) -> Tensor:
    """Media in -1..1 as float32 on the CPU, clamped; a copy of its own, so that no batch mate travels with it."""
    return media.clamp(-1, 1).to("cpu", torch.float32).clone()


def as_bytes(media: Tensor) -> Tensor:
    """Media in -1..1 as uint8 on the CPU: round((x + 1) 127.5), clamped to 0..255."""
    return ((media + 1) * 127.5).round().clamp(0, 255).to("cpu", torch.uint8)
