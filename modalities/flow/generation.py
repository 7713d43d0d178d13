"""From a request to latents: what every flow generator does around its network, whatever the family.

A family gives one function, `under(rows) -> velocity`: the velocity of those rows of its prepared text. The rest is
here: the time grid, one noise source per sample, a re-noised start, guidance as one batch, and the sampler.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from modalities import catalog
from modalities.contracts import Conditioning, GenerateOptions, Guidance, Velocity
from modalities.flow.guidance import VelocityPair, guide
from modalities.flow.samplers import one_by_one
from modalities.flow.schedules import truncate

Under = Callable[[Tensor], Velocity]
"""`under(rows)`: rows `[n]` of a prepared text, as indices, to the velocity of n samples under them."""
Rows = Callable[[Sequence[int]], Velocity]
"""`rows(chosen)`: samples of a batch to their guided velocity."""
RESIZE = {1: "linear", 2: "bicubic", 3: "trilinear"}


def with_negative(conditioning: Conditioning, negative: Conditioning | None, guidance: Guidance) -> Conditioning:
    """The prompts, followed by as many negative prompts where guidance will act: the text that a batch needs."""
    if negative is None or guidance.scale == 1:
        return conditioning
    return Conditioning.stack([conditioning, *[negative] * (len(conditioning) // len(negative))])


def guided_rows(under: Under, count: int, text_rows: int, guidance: Guidance, device: torch.device) -> Rows:
    """Velocities of `count` samples whose `text_rows` rows of text are laid out as `with_negative` does.

    Guided where there are two rows of text for a sample, under the prompts alone where there is one.
    """

    def rows(chosen: Sequence[int]) -> Velocity:
        index = torch.tensor(list(chosen), device=device)
        both = under(torch.cat([index, index + count])) if text_rows > count else None
        return guide(VelocityPair(positive=under(index), both=both), guidance)

    return rows


def time_grid(options: GenerateOptions, *, tokens: int, trained_tokens: int) -> Tensor:
    """The times to walk, float64 on the CPU: the schedule, from t = 1 - strength on."""
    schedule = resolve("schedule", options.schedule)
    arguments: dict[str, Any] = dict(options.schedule_options)
    if "tokens" in inspect.signature(schedule).parameters:
        arguments.setdefault("tokens", tokens)
        arguments.setdefault("trained_tokens", trained_tokens)
    ts: Tensor = schedule(options.steps, **arguments)
    return truncate(ts, 1 - options.strength)


def draw(
    rows: Rows,
    shape: Sequence[int],
    seeds: Sequence[int],
    ts: Tensor,
    options: GenerateOptions,
    device: torch.device,
    start: Tensor | None = None,
) -> Tensor:
    """Latents `[B, *shape]` in float32, one per seed.

    The noise of sample i is the first float32 draw of a CPU generator seeded with seeds[i], whatever the device.
    start: latents that, with options.strength below 1, are resized and re-noised to the first time of the grid.
    """
    sources = [torch.Generator().manual_seed(seed) for seed in seeds]

    def noise() -> Tensor:
        return torch.stack([torch.randn(tuple(shape), generator=source) for source in sources]).to(device)

    x = noise()
    if start is not None and options.strength < 1:
        x = ts[0] * resize(start.to(device, torch.float32), shape[1:]) + (1 - ts[0]) * x
    return integrate(rows, x, ts, noise, options)


def integrate(rows: Rows, x: Tensor, ts: Tensor, noise: Callable[[], Tensor], options: GenerateOptions) -> Tensor:
    """The sampler that the options name, over the grid; an adaptive one walks each sample alone."""
    sampler = resolve("sampler", options.sampler)
    entry = catalog.SAMPLERS.get(options.sampler)
    facts = entry.facts if entry else {}
    if "families" in facts:
        raise ValueError(f"sampler `{options.sampler}` follows no velocity; it is of the family {facts['families']}")
    arguments: dict[str, Any] = dict(options.sampler_options)
    out: Tensor
    if facts.get("stochastic"):
        arguments["noise"] = noise
    if facts.get("by_rows"):
        arguments["rows"] = rows
    if facts.get("adaptive"):
        out = one_by_one(sampler, [rows([i]) for i in range(x.shape[0])], x, ts, **arguments)
    else:
        out = sampler(rows(range(x.shape[0])), x, ts, **arguments)
    return out


def resize(latents: Tensor, axes: Sequence[int]) -> Tensor:
    """Latents `[B, C, *axes]` interpolated to other axes: linear, bicubic or trilinear by the number of them."""
    if tuple(latents.shape[2:]) == tuple(axes):
        return latents
    return F.interpolate(latents, size=tuple(axes), mode=RESIZE[len(axes)], align_corners=False)


def resolve(table: str, name: str) -> Callable[..., Any]:
    """The function behind a name of the catalog; ValueError lists what is known."""
    try:
        found = catalog.resolve(table, name)
    except KeyError as error:
        raise ValueError(error.args[0]) from None
    assert callable(found)
    return found
