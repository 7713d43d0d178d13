"""The loop of MAR: iteration by iteration, the network looks at what is known and the head draws some more tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, pi

import torch
from torch import Tensor

from modalities.generators.mar import diffusion
from modalities.generators.mar.model import MAR, Condition

GUIDANCE_SCHEDULES = ("linear", "constant")


@dataclass(frozen=True, slots=True, kw_only=True)
class Iterations:
    """How a sample is drawn. iterations: looks of the network, at most the number of tokens. guidance: 1 for none.

    schedule: `linear` lets guidance grow with the tokens that are known, `constant` does not. temperature: multiplies
    the noise of the head's steps, but not the noise that they start from. head_steps: steps of the head's diffusion.
    """

    iterations: int = 64
    guidance: float = 1.0
    schedule: str = "linear"
    temperature: float = 1.0
    head_steps: int = 100

    def __post_init__(self) -> None:
        if self.schedule not in GUIDANCE_SCHEDULES:
            raise ValueError(
                f"unknown guidance_schedule `{self.schedule}`; known: {', '.join(sorted(GUIDANCE_SCHEDULES))}"
            )
        if self.temperature < 0:
            raise ValueError(f"temperature is {self.temperature}; expected at least 0")

    def scale(self, tokens: int, hidden: int) -> float:
        """Guidance of the iteration after which so many of the tokens are still hidden."""
        return 1 + (self.guidance - 1) * (tokens - hidden) / tokens if self.schedule == "linear" else self.guidance


def still_hidden(tokens: int, iterations: int) -> list[int]:
    """Tokens that are hidden after each iteration: the cosine schedule of MaskGIT, at least one fewer each time.

    The last number, which is 1, decides the guidance of the last iteration, which draws whatever is left. ValueError
    for more iterations than tokens.
    """
    if not 1 <= iterations <= tokens:
        raise ValueError(
            f"{iterations} iterations for {tokens} tokens; each iteration draws at least one, so expected 1 to {tokens}"
        )
    found, hidden = [], tokens
    for step in range(iterations):
        hidden = max(1, min(hidden - 1, int(tokens * cos(pi / 2 * (step + 1) / iterations))))
        found.append(hidden)
    return found


@torch.inference_mode()
def sample(
    model: MAR, wanted: Condition, negative: Condition | None, sources: Sequence[torch.Generator], how: Iterations
) -> Tensor:
    """Tokens `[B, L, F]` in float32 for conditions. negative: those to guide away from, one for all or one for each.

    The i-th of `sources` gives the i-th sample's order, then, for each iteration, the noise `[S, n, F]` of its n
    tokens: what the head starts from, then what its steps add.
    """
    config, device = model.config, wanted.rows.device
    after = still_hidden(config.tokens, how.iterations)
    orders = torch.stack([torch.randperm(config.tokens, generator=source) for source in sources]).to(device)
    guided = negative is not None and how.guidance != 1
    told = wanted.followed_by(negative) if guided and negative is not None else wanted
    chain = diffusion.tables(how.head_steps).to(device, torch.float32)
    times = model.head.time_embed(chain.times)
    tokens = torch.zeros((len(sources), config.tokens, config.token_features), device=device)
    hidden = config.tokens
    for step, left in enumerate(after):
        first = 0 if step == len(after) - 1 else left
        drawn, where = orders[:, first:hidden], orders[:, hidden:].sort(1).values
        twice = 2 if guided else 1
        z = model(told, tokens.repeat(twice, 1, 1), where.repeat(twice, 1), drawn.repeat(twice, 1))
        shape = (len(chain), hidden - first, config.token_features)
        noise = torch.stack([torch.randn(shape, generator=source) for source in sources], dim=1).to(device)
        head = Head(model, z.flatten(0, 1), times, how.scale(config.tokens, left) if guided else None)
        new = diffusion.reverse(head, noise.flatten(1, 2), chain, how.temperature, config.bound)
        index = drawn[..., None].expand(-1, -1, tokens.shape[-1])
        tokens = tokens.scatter(1, index, torch.unflatten(new, 0, drawn.shape))
        hidden = first
    return tokens


class Head:
    """The head under one z for each token: all that does not change between its steps is computed here, once."""

    def __init__(self, model: MAR, z: Tensor, times: Tensor, scale: float | None) -> None:
        """z: `[N, decoder_dim]`, or, guided, `[2 N, ...]`, the second half without the prompt. times: `[S, width]`."""
        self.network, self.times, self.scale = model.head, times, scale
        self.told = model.head.cond_embed(z)

    def __call__(self, x: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Noise, guided, and share of the variance, which is never guided, of tokens x `[N, F]` at the k-th step."""
        given = x.to(self.told.dtype)
        if self.scale is None:
            noise, share = self.network(given, self.told + self.times[k])
            return noise.float(), share.float()
        noise, share = self.network(given.repeat(2, 1), self.told + self.times[k])
        with_prompt, without = noise.float().chunk(2)
        return without + self.scale * (with_prompt - without), share[: len(x)].float()
