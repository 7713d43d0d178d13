"""Conditioning to latents with a MAR, and its loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from modalities.contracts import Conditioning, GenerateOptions, Size
from modalities.generators.mar.config import MARConfig
from modalities.generators.mar.loss import loss
from modalities.generators.mar.model import MAR, Condition
from modalities.generators.mar.sampling import Iterations, sample, still_hidden
from modalities.generators.mar.tokens import from_tokens
from modalities.generators.requests import check_request, check_timeless

if TYPE_CHECKING:
    from modalities.weights.description import ModelDescription

SAMPLER = "masked-autoregressive"
OPTIONS = ("guidance_schedule", "head_steps", "temperature")


class MARGenerator:
    """A MAR as a `modalities.contracts.Generator`.

    stride: media units per latent cell of both axes. The model may be in any floating type; tokens are float32.
    """

    def __init__(self, model: MAR, stride: Sequence[int]) -> None:
        if len(stride) != 2:
            raise ValueError(f"stride {tuple(stride)} names {len(stride)} axes; a MAR has two")
        self.model = model
        self.stride = tuple(stride)

    @property
    def config(self) -> MARConfig:
        """The numbers of the model."""
        return self.model.config

    def latent_shape(self, size: Size) -> tuple[int, ...]:
        """`[channels, h, w]`; ValueError for any size but the one that the model was trained at."""
        only = tuple(cells * stride for cells, stride in zip(self.config.cells, self.stride, strict=True))
        if tuple(size) != only:
            raise ValueError(f"size {tuple(size)}; this MAR makes the size that it was trained at alone: {only}")
        return (self.config.in_channels, *self.config.cells)

    def generate(
        self,
        conditioning: Conditioning,
        negative: Conditioning | None,
        size: Size,
        seeds: Sequence[int],
        options: GenerateOptions,
        start: Tensor | None = None,
    ) -> Tensor:
        """Latents `[B, channels, h, w]` in float32, one per prompt and seed.

        Everything random of sample i is drawn from one CPU generator seeded with seeds[i], whatever the device.
        options: `steps` is the number of iterations; of the sampler, temperature, head_steps and guidance_schedule.
        negative: one prompt for all or one for each, such as the empty one; without it there is no guidance.
        ValueError for what a MAR has not: another sampler, a time of guidance, latents to start from.
        """
        self.latent_shape(size)
        config = self.config
        check_request(
            conditioning, negative, seeds, options, start, channels=config.in_channels, width=config.cap_feat_dim
        )
        how = iterations(options)
        still_hidden(config.tokens, how.iterations)
        if config.classes:
            _check_classes(conditioning, config.classes)
        wanted = self._condition(conditioning)
        away = self._condition(negative) if negative is not None and how.guidance != 1 else None
        sources = [torch.Generator().manual_seed(seed) for seed in seeds]
        tokens = sample(self.model, wanted, away, sources, how)
        return from_tokens(tokens, config.trained_tokens, config.patch).clone()

    def loss(self, latents: Tensor, conditioning: Conditioning, *, generator: torch.Generator) -> Tensor:
        """The loss of MAR, see `loss.py`; everything random is drawn from `generator`, on its device."""
        return loss(self.model, latents, conditioning, generator)

    @torch.inference_mode()
    def _condition(self, conditioning: Conditioning) -> Condition:
        """What the network is told by each prompt."""
        weight = self.model.z_proj.weight
        # The number of a class is whole, which a narrow type would round.
        told = conditioning.to(weight.device, None if self.config.classes else weight.dtype)
        return self.model.condition(told.tokens, told.mask)


def iterations(options: GenerateOptions) -> Iterations:
    """How a sample is drawn; ValueError for options that a MAR cannot follow."""
    check_timeless(options, SAMPLER, OPTIONS, "a MAR")
    given = options.sampler_options
    return Iterations(
        iterations=options.steps,
        guidance=options.guidance.scale,
        schedule=str(given.get("guidance_schedule", "linear")),
        temperature=float(given.get("temperature", 1.0)),
        head_steps=int(given.get("head_steps", 100)),
    )


def _check_classes(conditioning: Conditioning, classes: int) -> None:
    """ValueError unless every prompt is the number of a class, or below 0 for none."""
    if conditioning.tokens.shape[1] != 1:
        raise ValueError(f"a prompt of {conditioning.tokens.shape[1]} tokens; a model of classes is told one number")
    beyond = [int(number) for number in conditioning.tokens[:, 0, 0] if number >= classes]
    if beyond:
        raise ValueError(f"class {beyond[0]}; this model knows {classes} classes, 0 to {classes - 1}")


def load(description: ModelDescription, device: torch.device | str, dtype: torch.dtype) -> MARGenerator:
    """The generator that a description names, its weights loaded strictly; CheckpointError when they do not fit."""
    from modalities.generators.mar.weights import load_weights

    with torch.device("meta"):
        model = MAR(MARConfig.from_mapping(description.generator_config))
    load_weights(model, description.files, device=device, dtype=dtype)
    return MARGenerator(model.eval(), description.stride)
