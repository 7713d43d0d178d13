"""Noise to latents with a Flag-DiT, and its loss."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from modalities.contracts import Conditioning, Extrapolation, GenerateOptions, Guidance, Size, Velocity
from modalities.flow.generation import Rows, draw, guided_rows, time_grid, with_negative
from modalities.generators.flagdit.config import TIME_STEPS, FlagDiTConfig
from modalities.generators.flagdit.model import FlagDiT
from modalities.generators.nextdit.extrapolation import PositionsAt
from modalities.generators.nextdit.model import TextState
from modalities.generators.requests import check_request

if TYPE_CHECKING:
    from modalities.weights.description import ModelDescription


class FlagDiTGenerator:
    """A Flag-DiT as a `modalities.contracts.Generator`.

    stride: media units per latent frame. The model may be in any floating type; the sampler's state is float32.
    """

    def __init__(self, model: FlagDiT, stride: Sequence[int]) -> None:
        if len(stride) != 1:
            raise ValueError(f"stride {tuple(stride)} names {len(stride)} axes; a Flag-DiT has one")
        self.model = model
        self.stride = tuple(stride)

    @property
    def config(self) -> FlagDiTConfig:
        """The numbers of the model."""
        return self.model.config

    def latent_shape(self, size: Size) -> tuple[int, ...]:
        """`[channels, frames]` for a size in media units; ValueError when the stride does not divide it."""
        unit = self.stride[0]
        if len(size) != 1:
            raise ValueError(f"size {tuple(size)} has {len(size)} numbers; this model has one axis")
        if size[0] < unit or size[0] % unit:
            nearest = max(unit, round(size[0] / unit) * unit)
            raise ValueError(f"size {tuple(size)} is not a multiple of {unit}; the nearest that is: ({nearest},)")
        return (self.config.in_channels, size[0] // unit)

    def generate(
        self,
        conditioning: Conditioning,
        negative: Conditioning | None,
        size: Size,
        seeds: Sequence[int],
        options: GenerateOptions,
        start: Tensor | None = None,
    ) -> Tensor:
        """Latents `[B, channels, frames]` in float32, one per prompt and seed; arguments as for Next-DiT.

        More frames than the released table of positions holds need an extrapolation method, which brings positions
        back into the trained range.
        """
        shape = self.latent_shape(size)
        config = self.config
        check_request(
            conditioning, negative, seeds, options, start, channels=config.in_channels, width=config.cap_feat_dim
        )
        self._check_length(shape[1], options.extrapolation)
        ts = time_grid(options, tokens=shape[1], trained_tokens=prod(config.trained_tokens))
        with torch.inference_mode():
            device = self.model.proj_in.weight.device
            positions = PositionsAt(config.parts, shape[1:], options.extrapolation, device)
            rows = self._rows(conditioning, negative, positions, options.guidance)
            latents = draw(rows, shape, seeds, ts, options, device, start)
        return latents.clone()

    def loss(self, latents: Tensor, conditioning: Conditioning, *, generator: torch.Generator) -> Tensor:
        """Flow-matching loss with a little noise left at the data end, as the released models were trained.

        Lipman et al. 2023, equations 22 and 23, with s = sigma_min: mean |v(x_t, t) - (x_1 - (1 - s) x_0)|^2 on
        x_t = t x_1 + (1 - (1 - s) t) x_0; t is a whole number of thousandths, drawn evenly from `generator`.
        """
        where, keep = generator.device, 1 - self.config.sigma_min
        step = torch.randint(0, TIME_STEPS, latents.shape[:1], generator=generator, device=where).to(latents.device)
        noise = torch.randn(latents.shape, generator=generator, device=where).to(latents.device)
        t = (step / TIME_STEPS)[:, None, None]
        text = self.model.prepare(conditioning.tokens, conditioning.mask)
        positions = self.model.positions(latents.shape[2], latents.device)
        velocity = self.model.at_step(t * latents + (1 - keep * t) * noise, step, text, positions)
        return F.mse_loss(velocity.float(), latents - keep * noise)

    def _check_length(self, frames: int, extrapolation: Extrapolation) -> None:
        most = self.config.max_tokens
        if frames > most and extrapolation.method == "none":
            raise ValueError(
                f"{frames} latent frames are more than the {most} positions of this model; the longest size is "
                f"({most * self.stride[0]},), or choose an extrapolation method such as position-interpolation"
            )

    def _rows(
        self, conditioning: Conditioning, negative: Conditioning | None, positions: PositionsAt, guidance: Guidance
    ) -> Rows:
        """A function from rows of the batch to their guided velocity; text is prepared here, once."""
        weight = self.model.proj_in.weight
        parts = with_negative(conditioning, negative, guidance).to(weight.device, weight.dtype)
        text = self.model.prepare(parts.tokens, None if bool(parts.mask.all()) else parts.mask)

        def under(rows: Tensor) -> Velocity:
            state = TextState.select(text, rows)

            def velocity(x: Tensor, t: Tensor) -> Tensor:
                times = t.to(x.device, torch.float32).expand(x.shape[0])
                out: Tensor = self.model(x.to(weight.dtype), times, state, positions(float(t))[0])
                return out.to(x.dtype)

            return velocity

        return guided_rows(under, len(conditioning), len(parts), guidance, weight.device)


def load(description: ModelDescription, device: torch.device | str, dtype: torch.dtype) -> FlagDiTGenerator:
    """The generator that a description names, its weights loaded strictly; CheckpointError when they do not fit."""
    from modalities.generators.flagdit.weights import load_weights

    with torch.device("meta"):
        model = FlagDiT(FlagDiTConfig.from_mapping(description.generator_config))
    load_weights(model, description.files, device=device, dtype=dtype)
    return FlagDiTGenerator(model.eval(), description.stride)
