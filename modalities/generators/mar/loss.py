"""The training loss of MAR: hide most tokens, and let the head denoise those that are hidden."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from modalities.contracts import Conditioning
from modalities.generators.mar import diffusion
from modalities.generators.mar.layers import pick
from modalities.generators.mar.model import MAR
from modalities.generators.mar.tokens import to_tokens

SPREAD = 0.25
"""Standard deviation of the part that is hidden, before it is cut to its range (Li et al. 2024, section 4.2)."""


def hidden_tokens(tokens: int, least: float, source: torch.Generator) -> int:
    """How many tokens a step hides: a part with mode 1 and deviation 0.25, cut to least..1, rounded up; one draw."""
    low = torch.special.ndtr(torch.tensor((least - 1) / SPREAD, dtype=torch.float64))
    u = torch.rand((), generator=source, dtype=torch.float64, device=source.device).cpu()
    part = 1 + SPREAD * torch.special.ndtri(low + u * (0.5 - low))
    return min(tokens, max(1, int(torch.ceil(tokens * part))))


def loss(
    model: MAR, latents: Tensor, conditioning: Conditioning, source: torch.Generator, rows: slice | None = None
) -> Tensor:
    """Mean of the diffusion loss over the hidden tokens of latents `[B, C, h, w]` (Li et al. 2024, equations 2 and 4).

    `source` gives, in this order and on its device: how many tokens are hidden (one number for the batch), orders,
    times, noise, and, where there is dropout, a seed for that. rows: those whose loss is wanted, None for all; what is
    drawn for them is what they have in the whole batch (but dropout).
    """
    config, device = model.config, latents.device
    batch, cut = len(latents), rows or slice(None)
    tokens = to_tokens(latents[cut], config.patch)
    count = hidden_tokens(config.tokens, config.masked, source)
    order = torch.rand((batch, config.tokens), generator=source, device=source.device).argsort(1)[cut].to(device)
    where = order[:, count:].sort(1).values
    looked_at = min(count, config.head_tokens or count)
    wanted = order[:, :looked_at]
    number = (config.head_repeats, batch, looked_at)
    times = torch.randint(diffusion.STEPS, number, generator=source, device=source.device)[:, cut].flatten().to(device)
    noise = torch.randn((*number, config.token_features), generator=source, device=source.device)
    noise = noise[:, cut].flatten(0, 2).to(device)
    with _seeded(config.dropout if model.training else 0.0, source):
        told = conditioning.rows(cut)
        z = model(model.condition(told.tokens, told.mask), tokens, where, wanted)
    target = pick(tokens, wanted).flatten(0, 1).float().repeat(config.head_repeats, 1)
    chain = diffusion.tables().to(device, torch.float32)
    at = diffusion.noised(target, noise, chain.kept[times][:, None])
    head = model.head
    said = head.cond_embed(z.flatten(0, 1)).repeat(config.head_repeats, 1)
    guess, share = head(at, head.time_embed(times) + said)
    found = diffusion.loss(target, noise, guess.float(), share.float(), times, chain, config.noisy_weight).mean()
    if config.foresight:
        clean = pick(tokens, wanted).float()
        found = found + config.foresight * (z[..., : clean.shape[-1]].float() - clean).square().mean()
    return found


def sketch_loss(model: MAR, latents: Tensor, conditioning: Conditioning) -> Tensor:
    """Mean square by which the first numbers of the sketch miss the tokens; nothing is drawn."""
    sketch = model.condition(conditioning.tokens, conditioning.mask).sketch
    if sketch is None:
        raise ValueError("a MAR of classes has no sketch to train")
    tokens = to_tokens(latents, model.config.patch)
    return (sketch[..., : tokens.shape[-1]].float() - tokens.float()).square().mean()


@contextmanager
def _seeded(dropout: float, source: torch.Generator) -> Iterator[None]:
    """Where dropout draws, its draws follow from `source` and leave no trace in the global generator."""
    if not dropout:
        yield
        return
    seed = int(torch.randint(2**62, (), generator=source, device=source.device))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
