"""The block of the Poisson midpoint method written out, and with the faults that its tests must find."""

from __future__ import annotations

from collections.abc import Callable

import torch

from modalities.flow.poisson_midpoint import Chain

FAULTS = ("fresh noise", "no noise", "missing K", "normalised", "corrected chain", "start time")
Block = Callable[[Chain, torch.Tensor, torch.Tensor], torch.Tensor]


def written_out(fault: str | None = None) -> Block:
    """The method as its description says, every evaluation made and weighed; or with one fault in it."""

    def block(chain: Chain, state: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        k, frozen = chosen.shape[1], chain.drift(state, 0, None)
        weight = k / chosen.sum(1).clamp_min(1) if fault == "normalised" else torch.full((len(state),), float(k))
        weight = torch.ones(len(state)) if fault == "missing K" else weight
        walked = predicted = state
        for i in range(k):
            z = chain.draw()
            other = {"fresh noise": chain.draw() if fault == "fresh noise" else z, "no noise": 0 * z}.get(fault, z)
            at = walked if fault == "corrected chain" else predicted
            change = chain.drift(at, 0 if fault == "start time" else i, None) - frozen
            walked = chain.advance(i, walked, frozen + (weight * chosen[:, i])[:, None].to(z) * change, z)
            predicted = chain.advance(i, predicted, frozen, other)
        return walked

    return block
