"""How an id is drawn from logits: top-k and top-p as fairseq 0.12 has them, and MaskGIT's rounds.

Every draw is by inversion of the distribution, in the order of the ids, so that one uniform number of a sample's own
generator decides one id, on any device and whatever the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import cos, floor, pi

import torch
from torch import Tensor
from torch.nn import functional as F

from modalities.generators.digit.config import SPECIAL

GUMBEL_WEIGHT = 4.5
"""How much noise the confidences of the first of MaskGIT's rounds get; it falls linearly to 0 in the last."""
MASKED = -1
"""What stands for a code that is not known yet."""
MaskedLogits = Callable[[Tensor, Tensor], Tensor]
"""`logits(codes, where)`: codes `[B, V]` with MASKED among them, and m places `[B, m]`, to logits `[B, m, ids]`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """How one id is drawn. temperature divides the logits; top_k keeps so many ids, 0 all; top_p keeps the likeliest.

    top_p: ids are kept while the sum of those before them is less than this; 1 or more keeps all.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"temperature is {self.temperature}; expected more than 0 (top_k: 1 takes the likeliest)")
        if self.top_k < 0 or self.top_k != int(self.top_k):
            raise ValueError(f"top_k is {self.top_k}; expected a whole number, 0 for all ids")
        if not self.top_p > 0:
            raise ValueError(f"top_p is {self.top_p}; expected more than 0, 1 for all ids")

    def kept(self, logits: Tensor) -> Tensor:
        """Logits `[B, ids]` to the probabilities `[B, ids - SPECIAL]` of the codes, 0 where one is not kept, float64.

        As in fairseq, special ids are taken out of the softmax without giving their probability to the others, so that
        a row may add up to less than 1, and top-p counts what is there.
        """
        chances = torch.softmax(logits.double() / self.temperature, dim=-1)[:, SPECIAL:]
        if self.top_k and self.top_k < chances.shape[1]:
            best = chances.topk(int(self.top_k), dim=1).indices
            chances = torch.zeros_like(chances).scatter(1, best, chances.gather(1, best))
        if self.top_p < 1:
            ordered, places = chances.sort(dim=1, descending=True, stable=True)
            before = F.pad(ordered.cumsum(dim=1)[:, :-1], (1, 0))
            chances = torch.zeros_like(chances).scatter(1, places, ordered.where(before < self.top_p, 0))
        return chances


def invert(chances: Tensor, uniform: Tensor) -> Tensor:
    """Indices `[...]` of unnormalised probabilities `[..., K]`: the first whose running sum exceeds uniform times all.

    uniform: `[...]` in 0..1, 1 excluded. An index of probability 0 is never answered.
    """
    sums = chances.cumsum(dim=-1)
    target = uniform.to(sums.device, sums.dtype)[..., None] * sums[..., -1:]
    found = torch.searchsorted(sums, target, right=True)[..., 0]
    last = (sums < sums[..., -1:]).sum(dim=-1)
    return torch.minimum(found, last)


def sources(seeds: Sequence[int]) -> list[torch.Generator]:
    """One generator of random numbers per sample, on the CPU whatever the device."""
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def uniforms(generators: Sequence[torch.Generator], number: int) -> Tensor:
    """`[B, number]` in 0..1, float64: the next numbers of each sample's generator."""
    return torch.stack([torch.rand(number, generator=source, dtype=torch.float64) for source in generators])


def masked_counts(rounds: int, codes: int) -> list[int]:
    """Codes that are still unknown before each of the rounds, and 0 after the last.

    After round s of R: max(1, min(unknown - 1, floor(V cos(pi / 2 (s + 1) / R)))), MaskGIT's cosine schedule.
    """
    if not 1 <= rounds <= codes:
        raise ValueError(f"{rounds} rounds for {codes} codes; expected at least 1 and at most one for each code")
    counts = [codes]
    for s in range(rounds - 1):
        counts.append(max(1, min(counts[-1] - 1, floor(codes * cos(pi / 2 * (s + 1) / rounds)))))
    return [*counts, 0]


def in_rounds(
    logits: MaskedLogits,
    codes: int,
    rounds: int,
    generators: Sequence[torch.Generator],
    device: torch.device,
    temperature: float = 1.0,
) -> Tensor:
    """Codes `[B, V]` drawn all at once, the least certain of them masked again and drawn anew in the next round.

    Chang et al. 2022 (MaskGIT), section 3.2, as DiGIT has it: the confidence of a drawn code is its log probability
    plus 4.5 (1 - r) Gumbel noise, r the part of the rounds that is done; codes of earlier rounds stay. `temperature`
    divides the logits. A sample whose logits are no numbers is MASKED.
    """
    counts = masked_counts(rounds, codes)
    found = torch.full((len(generators), codes), MASKED, device=device)
    where = torch.arange(codes, device=device).expand_as(found)
    sound = torch.ones((len(generators), 1), dtype=torch.bool, device=device)
    for s in range(rounds):
        uniform = uniforms(generators, codes).to(device).gather(1, where)
        noise = uniforms(generators, codes).to(device).gather(1, where)
        log_p = torch.log_softmax(logits(found, where).double()[..., SPECIAL:] / temperature, dim=-1)
        sound = sound & log_p.isfinite().flatten(1).all(dim=1, keepdim=True)
        drawn = invert(log_p.exp(), uniform)
        found = found.scatter(1, where, drawn)
        gumbel = -torch.log(-torch.log(noise.clamp_min(1e-300)))
        sure = log_p.gather(-1, drawn[..., None])[..., 0] + GUMBEL_WEIGHT * (1 - (s + 1) / rounds) * gumbel
        again = sure.argsort(dim=1, stable=True)[:, : counts[s + 1]]
        where = where.gather(1, again).sort(dim=1).values
        found = found.scatter(1, where, MASKED)
    return found.where(sound, MASKED)
