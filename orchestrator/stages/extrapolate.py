"""extrapolate: latents larger than the trained size, from noise or from an earlier step's latents."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from modalities.contracts import Codec, Modality, Size
from orchestrator.item import Item
from orchestrator.stages.base import Outcome, Stage
from orchestrator.stages.generate import generate_options, stacked, with_latents

_INTERPOLATION = {1: "linear", 2: "bicubic", 3: "trilinear"}


class Extrapolate(Stage):
    """Makes latents of a size that the generator was not trained on.

    options: those of `generate`, and method, watershed, proportional_attention, context_drop, strength. With strength 1
    it starts from noise. With less it starts from the latents it reads, enlarged and re-noised to t = 1 - strength.
    writes: `latents`, `[channels, *axes]` in float32.
    """

    reads = frozenset({"conditioning", "negative"})
    optional_reads = frozenset({"latents"})
    writes = frozenset({"latents"})

    def setup(self) -> None:
        """Load the generator, and the codec when latents are to be enlarged."""
        model = str(self.options["model"])
        self._generator = self.models.generator(model)
        self._size = tuple(int(length) for length in self.options["size"])
        self._generate_options = generate_options(self.options)
        self._modality = self.models.modality(model)
        self._codec = self.models.codec(model) if self._generate_options.strength < 1 else None

    def process(self, items: Sequence[Item]) -> list[Outcome]:
        """Generate one batch. A sample whose latents are not finite gets an error of its own."""
        start = None
        if self._codec is not None:
            smaller = torch.stack([item.values["latents"] for item in items])
            start = enlarged(smaller.to(self.models.device), self._axes(), self._size, self._codec, self._modality)
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


def enlarged(latents: Tensor, axes: tuple[int, ...], size: Size, codec: Codec, modality: Modality) -> Tensor:
    """Latents `[B, C, *axes of before]` brought to `[B, C, *axes]` in the way of their modality; equal axes stay.

    media: decode, resize to `size`, encode. Latents of pictures are not pictures: resizing them directly blurs edges
    and shifts colours. latents: a linear stretch of the spectrogram, which keeps the pitch. repetition: entry i is
    entry floor(i n / m) of the n before, so that m > n repeats each about m / n times and m < n keeps every (n / m)-th.
    """
    if latents.shape[2:] == axes:
        return latents
    mode = _INTERPOLATION[len(axes)]
    if modality.enlargement == "latents":
        return interpolate(latents, size=axes, mode=mode, align_corners=False)
    if modality.enlargement == "repetition":
        before, after = latents.shape[2], axes[0]
        return latents[:, :, torch.arange(after, device=latents.device) * before // after]
    media = codec.decode(latents)
    resized = interpolate(media, size=size, mode=mode, align_corners=False).clamp(-1, 1)
    return codec.encode(resized)
