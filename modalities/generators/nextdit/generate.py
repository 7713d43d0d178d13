"""Noise to latents with a Next-DiT: model, guidance, schedule, sampler and extrapolation put together; and its loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from modalities.contracts import Conditioning, GenerateOptions, Guidance, Size, Velocity
from modalities.flow.generation import Rows, draw, guided_rows, time_grid, with_negative
from modalities.generators.nextdit.config import NextDiTConfig
from modalities.generators.nextdit.extrapolation import PositionsAt
from modalities.generators.nextdit.inference import velocity as fast_velocity
from modalities.generators.nextdit.model import NextDiT, TextState
from modalities.generators.requests import check_request
from modalities.weights.described import nearest_length

if TYPE_CHECKING:
    from modalities.weights.description import ModelDescription

Times = Callable[[int, torch.Generator], Tensor]


def uniform_times(count: int, generator: torch.Generator) -> Tensor:
    """Training times uniform in 0..1, as Lumina-Next-T2I was trained."""
    return torch.rand(count, generator=generator, device=generator.device)


def logit_normal_times(count: int, generator: torch.Generator) -> Tensor:
    """Training times sigmoid(N(0, 1)): more of them in the middle (Esser et al. 2024, section 3.1)."""
    return torch.sigmoid(torch.randn(count, generator=generator, device=generator.device))


class NextDiTGenerator:
    """A Next-DiT as a `modalities.contracts.Generator`.

    stride: media units per latent cell of each axis. offset: what sizes have beyond a multiple of it (causal codecs).
    times: draws the times of a training batch.
    The model may be in any floating type; the state of the sampler is float32 throughout.
    """

    def __init__(
        self,
        model: NextDiT,
        stride: Sequence[int],
        *,
        offset: Sequence[int] = (),
        times: Times = logit_normal_times,
    ) -> None:
        if len(stride) != model.config.axes:
            raise ValueError(f"stride {tuple(stride)} does not match a model with {model.config.axes} axes")
        self.model = model
        self.stride = tuple(stride)
        self.offset = tuple(offset) or (0,) * len(self.stride)
        self._times = times

    @property
    def config(self) -> NextDiTConfig:
        """The numbers of the model."""
        return self.model.config

    def latent_shape(self, size: Size) -> tuple[int, ...]:
        """`[channels, *axes]` for a size in media units; ValueError when stride and patch do not divide it."""
        unit = [s * p for s, p in zip(self.stride, self.config.patch, strict=True)]
        if len(size) != len(unit):
            raise ValueError(f"size {tuple(size)} has {len(size)} numbers; this model has {len(unit)} axes")
        whole = [n - o for n, o in zip(size, self.offset, strict=True)]
        if any(n < u or n % u for n, u in zip(whole, unit, strict=True)):
            nearest = tuple(map(nearest_length, size, unit, self.offset))
            beyond = f" plus {self.offset}" if any(self.offset) else ""
            raise ValueError(
                f"size {tuple(size)} is not a multiple of {tuple(unit)}{beyond}; the nearest that is: {nearest}"
            )
        return (self.config.in_channels, *(n // s for n, s in zip(whole, self.stride, strict=True)))

    def generate(
        self,
        conditioning: Conditioning,
        negative: Conditioning | None,
        size: Size,
        seeds: Sequence[int],
        options: GenerateOptions,
        start: Tensor | None = None,
    ) -> Tensor:
        """Latents `[B, channels, *axes]` in float32, one per prompt and seed.

        The noise of sample i is the first float32 draw of a CPU generator seeded with seeds[i], whatever the device.
        negative: one prompt for all or one for each; without it there is no guidance.
        start: latents of any size `[B, channels, *axes]`; with options.strength below 1 they are resized to `size` and
        re-noised to t = 1 - strength, and the grid is walked from there. Points are repeated instead of resized.
        """
        shape = self.latent_shape(size)
        config = self.config
        check_request(
            conditioning, negative, seeds, options, start, channels=config.in_channels, width=config.cap_feat_dim
        )
        grid = config.grid(shape[1:])
        ts = time_grid(options, tokens=prod(grid), trained_tokens=prod(config.trained_grid))
        if start is not None and config.unordered:
            start = repeat_points(start, shape[1])
        with torch.inference_mode():
            device = self.model.pad_token.device
            positions = PositionsAt(config, grid, options.extrapolation, device)
            rows = self._rows(conditioning, negative, positions, options.guidance)
            latents = draw(rows, shape, seeds, ts, options, device, start)
        return latents.clone()

    def loss(self, latents: Tensor, conditioning: Conditioning, *, generator: torch.Generator) -> Tensor:
        """Rectified-flow loss: mean |v(x_t, t) - (x_1 - x_0)|^2 on x_t = t x_1 + (1 - t) x_0, x_0 noise.

        Liu et al. 2022, equation 1. Times and noise are drawn from `generator`, on its device.
        """
        t = self._times(latents.shape[0], generator).to(latents.device)
        noise = torch.randn(latents.shape, generator=generator, device=generator.device).to(latents.device)
        wide = t.view(-1, *[1] * (latents.ndim - 1))
        text = self.model.prepare(conditioning.tokens, conditioning.mask)
        positions = self.model.positions(latents.shape[2:], latents.device)
        velocity = self.model(wide * latents + (1 - wide) * noise, t, text, positions)
        return F.mse_loss(velocity.float(), latents - noise)

    def _rows(
        self, conditioning: Conditioning, negative: Conditioning | None, positions: PositionsAt, guidance: Guidance
    ) -> Rows:
        """A function from rows of the batch to their guided velocity; text is prepared here, once."""
        device, dtype = self.model.pad_token.device, self.model.pad_token.dtype
        parts = with_negative(conditioning, negative, guidance).to(device, dtype)
        text = self.model.prepare(parts.tokens, None if bool(parts.mask.all()) else parts.mask)

        def under(rows: Tensor) -> Velocity:
            state = TextState.select(text, rows)

            def velocity(x: Tensor, t: Tensor) -> Tensor:
                times = t.to(x.device, torch.float32).expand(x.shape[0])
                out = fast_velocity(self.model, x, times, state, *positions(float(t)))
                return out.to(x.dtype)

            return velocity

        return guided_rows(under, len(conditioning), len(parts), guidance, device)


def repeat_points(latents: Tensor, count: int) -> Tensor:
    """A set of points `[B, C, N]` as one of `count`: every point repeated equally often, as nearly as that goes.

    Points cannot be interpolated; the noise that is added to the copies afterwards tells them apart.
    """
    rows = torch.arange(count, device=latents.device) * latents.shape[2] // count
    return latents[:, :, rows]


def load(description: ModelDescription, device: torch.device | str, dtype: torch.dtype) -> NextDiTGenerator:
    """The generator that a description names, its weights loaded strictly; CheckpointError when they do not fit."""
    from modalities.generators.nextdit.weights import load_weights

    config = NextDiTConfig.from_mapping(description.generator_config)
    with torch.device("meta"):
        model = NextDiT(config)
    load_weights(model, description.files, device=device, dtype=dtype)
    return NextDiTGenerator(model.eval(), description.stride, offset=description.offset)
