"""extrapolate: latents larger than the trained size, from noise or from an earlier step's latents."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from modalities.contracts import Codec, Size
from modalities.flow.generation import resize
from modalities.generators.options import generate_options
from orchestrator.item import Item
from orchestrator.stages.base import Outcome, Stage
from orchestrator.stages.generate import stacked, with_latents


class Extrapolate(Stage):
    """Makes latents of a size that the generator was not trained on.

    options: those of `generate`, and method, watershed, proportional_attention, context_drop, strength. With strength 1
    it starts from noise. With less it starts from the latents it reads, brought to the new size and re-noised to
    t = 1 - strength; how, the modality says (`Modality.enlargement`): through the media here, or by the generator.
    writes: `latents`, `[channels, *axes]` in float32.
    """

    reads = frozenset({"conditioning", "negative"})
    optional_reads = frozenset({"latents"})
    writes = frozenset({"latents"})

    def setup(self) -> None:
        """Load the generator, and the codec when latents are to be enlarged through their media."""
        model = str(self.options["model"])
        self._generator = self.models.generator(model)
        self._size = tuple(int(length) for length in self.options["size"])
        self._generate_options = generate_options(self.options)
        self._continues = self._generate_options.strength < 1
        through_media = self._continues and self.models.modality(model).enlargement == "media"
        self._codec = self.models.codec(model) if through_media else None

    def process(self, items: Sequence[Item]) -> list[Outcome]:
        """Generate one batch. A sample whose latents are not finite gets an error of its own."""
        start = None
        if self._continues:
            start = torch.stack([item.values["latents"] for item in items]).to(self.models.device)
        if start is not None and self._codec is not None:
            start = enlarged(start, self._axes(), self._size, self._codec)
        latents = self._generator.generate(
            stacked(items, "conditioning").to(self.models.device),
            stacked(items, "negative").to(self.models.device),
            self._size,
            [item.sample.seed for item in items],
            self._generate_options,
            start,
        )
        return with_latents(items, latents)

    def _axes(self) -> tuple[int, ...]:
        return self._generator.latent_shape(self._size)[1:]


def enlarged(latents: Tensor, axes: tuple[int, ...], size: Size, codec: Codec) -> Tensor:
    """Latents `[B, C, *axes of before]` brought to `[B, C, *axes]`: decoded, resized to `size`, encoded.

    Latents of pictures are not pictures: resizing them directly blurs edges and shifts colours. Equal axes stay.
    """
    if latents.shape[2:] == axes:
        return latents
    return codec.encode(resize(codec.decode(latents), size).clamp(-1, 1))
