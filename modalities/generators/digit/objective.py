"""The losses of DiGIT's two stages: cross entropies in nats, averaged over tokens.

The published training smooths labels by 0.1: 0.9 (-log p of the label) + 0.1 (mean of -log p over all ids).
"""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor
from torch.nn import functional as F

from modalities.generators.digit.config import EOS, SPECIAL
from modalities.generators.digit.model import DiGIT, Prompt
from modalities.generators.digit.sampling import MASKED

SMOOTHING = 0.1


def semantic_loss(model: DiGIT, tokens: Tensor, prompt: Prompt, smoothing: float = SMOOTHING) -> Tensor:
    """Loss of the first stage: every token `[B, S]`, and the end after them, from what stands before it."""
    return _next_id(model.semantic_logits(tokens, prompt), tokens, smoothing)


def decoder_loss(model: DiGIT, codes: Tensor, tokens: Tensor, smoothing: float = SMOOTHING) -> Tensor:
    """Loss of an autoregressive second stage: every code `[B, V]` and the end, given the tokens `[B, S]`."""
    return _next_id(model.decoder_logits(codes, tokens), codes, smoothing)


def masked_loss(
    model: DiGIT, codes: Tensor, tokens: Tensor, generator: torch.Generator, smoothing: float = SMOOTHING
) -> Tensor:
    """Loss of a non-autoregressive second stage: the masked codes, given the others and the tokens.

    floor(V cos(u pi / 2) + 1) codes of a sample are masked, u uniform in 0..1, at most all V (Chang et al. 2022,
    MaskGIT, section 3.3, as the published model is trained).
    """
    return unmasking_loss(
        model, codes, tokens, random_mask(codes.shape[0], codes.shape[1], generator).to(codes.device), smoothing
    )


def unmasking_loss(model: DiGIT, codes: Tensor, tokens: Tensor, mask: Tensor, smoothing: float = SMOOTHING) -> Tensor:
    """Mean over the codes `[B, V]` that are masked `[B, V]`, given the others and the tokens `[B, S]`."""
    logits = model.masked_logits(torch.where(mask, MASKED, codes), tokens)
    return F.cross_entropy(logits[mask], codes[mask] + SPECIAL, label_smoothing=smoothing)


def random_mask(batch: int, codes: int, generator: torch.Generator) -> Tensor:
    """`[batch, codes]` bool: which codes are masked; at least one of each row."""
    where = generator.device
    share = torch.cos(torch.rand(batch, generator=generator, device=where) * pi / 2)
    number = (codes * share + 1).floor().clamp(1, codes)
    order = torch.rand((batch, codes), generator=generator, device=where).argsort(dim=1).argsort(dim=1)
    return order < number[:, None]


def _next_id(logits: Tensor, codes: Tensor, smoothing: float) -> Tensor:
    """Cross entropy of the ids of codes `[B, N]` and of the end, from logits `[B, N + 1, ids]`."""
    wanted = F.pad(codes + SPECIAL, (0, 1), value=EOS)
    return F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), label_smoothing=smoothing)
