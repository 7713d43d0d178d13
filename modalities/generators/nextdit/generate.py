"""Noise to latents with a Next-DiT: model, guidance, schedule, sampler and extrapolation put together; and its loss."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from modalities import catalog
from modalities.contracts import Conditioning, GenerateOptions, Size, Velocity
from modalities.flow.guidance import VelocityPair, guide
from modalities.flow.samplers import one_by_one
from modalities.flow.schedules import truncate
from modalities.generators.nextdit.config import NextDiTConfig
from modalities.generators.nextdit.extrapolation import PositionsAt
from modalities.generators.nextdit.inference import velocity as fast_velocity
from modalities.generators.nextdit.model import NextDiT, TextState
from modalities.generators.nextdit.tokens import token_grid

if TYPE_CHECKING:
    from modalities.weights.description import ModelDescription

Times = Callable[[int, torch.Generator], Tensor]
RESIZE = {1: "linear", 2: "bicubic", 3: "trilinear"}


def uniform_times(count: int, generator: torch.Generator) -> Tensor:
    """Training times uniform in 0..1, as Lumina-Next-T2I was trained."""
    return torch.rand(count, generator=generator, device=generator.device)


def logit_normal_times(count: int, generator: torch.Generator) -> Tensor:
    """Training times sigmoid(N(0, 1)): more of them in the middle (Esser et al. 2024, section 3.1)."""
    return torch.sigmoid(torch.randn(count, generator=generator, device=generator.device))


class NextDiTGenerator:
    """A Next-DiT as a `modalities.contracts.Generator`.

    stride: media units per latent cell of each axis. times: draws the times of a training batch.
    The model may be in any floating type; the state of the sampler is float32 throughout.
    """

    def __init__(self, model: NextDiT, stride: Sequence[int], *, times: Times = logit_normal_times) -> None:
        if len(stride) != model.config.axes:
            raise ValueError(f"stride {tuple(stride)} does not match a model with {model.config.axes} axes")
        self.model = model
        self.stride = tuple(stride)
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
        if any(n < u or n % u for n, u in zip(size, unit, strict=True)):
            nearest = tuple(max(u, round(n / u) * u) for n, u in zip(size, unit, strict=True))
            raise ValueError(f"size {tuple(size)} is not a multiple of {tuple(unit)}; the nearest that is: {nearest}")
        return (self.config.in_channels, *(n // s for n, s in zip(size, self.stride, strict=True)))

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
        re-noised to t = 1 - strength, and the grid is walked from there.
        """
        shape = self.latent_shape(size)
        self._check(conditioning, negative, seeds, options, start)
        with torch.inference_mode():
            sources = [torch.Generator().manual_seed(seed) for seed in seeds]
            device = self.model.pad_token.device

            def noise() -> Tensor:
                return torch.stack([torch.randn(shape, generator=source) for source in sources]).to(device)

            ts = self._grid(shape[1:], options)
            x = noise()
            if start is not None and options.strength < 1:
                x = ts[0] * resize(start.to(device, torch.float32), shape[1:]) + (1 - ts[0]) * x
            positions = PositionsAt(
                self.config, token_grid(shape[1:], self.config.patch), options.extrapolation, device
            )
            latents = self._sample(self._pairs(conditioning, negative, positions, options), x, ts, noise, options)
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

    def _check(
        self,
        conditioning: Conditioning,
        negative: Conditioning | None,
        seeds: Sequence[int],
        options: GenerateOptions,
        start: Tensor | None,
    ) -> None:
        count = len(seeds)
        if len(conditioning) != count:
            raise ValueError(f"{len(conditioning)} prompts but {count} seeds; expected one seed per prompt")
        if negative is not None and len(negative) not in (1, count):
            raise ValueError(f"{len(negative)} negative prompts for {count} prompts; expected one, or one for each")
        width = conditioning.tokens.shape[-1]
        if width != self.config.cap_feat_dim:
            raise ValueError(f"text features are {width} wide; this model reads {self.config.cap_feat_dim}")
        if not 0 < options.strength <= 1:
            raise ValueError(f"strength is {options.strength}; expected more than 0 and at most 1")
        if options.strength < 1 and start is None:
            raise ValueError(f"strength {options.strength} needs latents to start from")
        if start is not None and (start.shape[0] != count or start.shape[1] != self.config.in_channels):
            wanted = f"[{count}, {self.config.in_channels}, ...]"
            raise ValueError(f"start latents have the shape {list(start.shape)}; expected {wanted}")

    def _grid(self, axes: Sequence[int], options: GenerateOptions) -> Tensor:
        """The times to walk, float64 on the CPU."""
        schedule = _resolve("schedule", options.schedule)
        arguments: dict[str, Any] = dict(options.schedule_options)
        if "tokens" in inspect.signature(schedule).parameters:
            arguments.setdefault("tokens", prod(token_grid(axes, self.config.patch)))
            arguments.setdefault("trained_tokens", prod(self.config.trained_tokens))
        ts: Tensor = schedule(options.steps, **arguments)
        return truncate(ts, 1 - options.strength)

    def _pairs(
        self,
        conditioning: Conditioning,
        negative: Conditioning | None,
        positions: PositionsAt,
        options: GenerateOptions,
    ) -> Callable[[Sequence[int]], Velocity]:
        """A function from rows of the batch to their guided velocity; text is prepared here, once."""
        count = len(conditioning)
        guided = negative is not None and options.guidance.scale != 1
        parts = conditioning
        if negative is not None and guided:
            parts = Conditioning.stack([conditioning, *[negative] * (count // len(negative))])
        parts = parts.to(self.model.pad_token.device, self.model.pad_token.dtype)
        text = self.model.prepare(parts.tokens, None if bool(parts.mask.all()) else parts.mask)

        def under(state: TextState) -> Velocity:
            def velocity(x: Tensor, t: Tensor) -> Tensor:
                times = t.to(x.device, torch.float32).expand(x.shape[0])
                dtype = self.model.pad_token.dtype
                out = fast_velocity(self.model, x.to(dtype), times, state, *positions(float(t)))
                return out.to(x.dtype)

            return velocity

        def rows(chosen: Sequence[int]) -> Velocity:
            index = torch.tensor(list(chosen), device=text.pooled.device)
            positive = under(TextState.select(text, index))
            both = under(TextState.select(text, torch.cat([index, index + count]))) if guided else None
            return guide(VelocityPair(positive=positive, both=both), options.guidance)

        return rows

    def _sample(
        self,
        pairs: Callable[[Sequence[int]], Velocity],
        x: Tensor,
        ts: Tensor,
        noise: Callable[[], Tensor],
        options: GenerateOptions,
    ) -> Tensor:
        sampler = _resolve("sampler", options.sampler)
        entry = catalog.SAMPLERS.get(options.sampler)
        facts = entry.facts if entry else {}
        arguments: dict[str, Any] = dict(options.sampler_options)
        out: Tensor
        if facts.get("stochastic"):
            arguments["noise"] = noise
        if facts.get("adaptive"):
            out = one_by_one(sampler, [pairs([i]) for i in range(x.shape[0])], x, ts, **arguments)
        else:
            out = sampler(pairs(range(x.shape[0])), x, ts, **arguments)
        return out


def resize(latents: Tensor, axes: Sequence[int]) -> Tensor:
    """Latents `[B, C, *axes]` interpolated to other axes: linear, bicubic or trilinear by the number of them."""
    if tuple(latents.shape[2:]) == tuple(axes):
        return latents
    return F.interpolate(latents, size=tuple(axes), mode=RESIZE[len(axes)], align_corners=False)


def load(description: ModelDescription, device: torch.device | str, dtype: torch.dtype) -> NextDiTGenerator:
    """The generator that a description names, its weights loaded strictly; CheckpointError when they do not fit."""
    from modalities.generators.nextdit.weights import load_weights

    config = NextDiTConfig.from_mapping(description.generator_config)
    with torch.device("meta"):
        model = NextDiT(config)
    load_weights(model, description.files, device=device, dtype=dtype)
    return NextDiTGenerator(model.eval(), description.stride)


def _resolve(table: str, name: str) -> Callable[..., Any]:
    try:
        found = catalog.resolve(table, name)
    except KeyError as error:
        raise ValueError(error.args[0]) from None
    assert callable(found)
    return found
