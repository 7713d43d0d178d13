"""DiGIT's two stages: text or a class to semantic tokens, and semantic tokens to VQ codes.

Shapes: B samples, S semantic tokens, V VQ codes, T tokens of a text. Tokens and codes are whole numbers from 0 on; the
special ids before them (`config.SPECIAL`) are added and taken away in here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modalities.contracts import Conditioning
from modalities.generators.digit.config import EOS, SPECIAL, UNKNOWN, DiGITConfig
from modalities.generators.digit.layers import TokenTransformer
from modalities.generators.digit.sampling import MASKED


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What the first stage reads before the first token.

    start: ids `[B]` of the slot before it, the id of the end of a sequence or that of a class. text: features
    `[B, T, width]` that stand before the slot, or None. real: `[B, T]` bool, which of them are no padding.
    """

    start: Tensor
    text: Tensor | None = None
    real: Tensor | None = None

    @property
    def length(self) -> int:
        """Tokens that stand before the slot."""
        return 0 if self.text is None else self.text.shape[1]

    def to(self, device: torch.device) -> Prompt:
        """The same on a device."""
        text = None if self.text is None else self.text.to(device)
        return Prompt(start=self.start.to(device), text=text, real=None if self.real is None else self.real.to(device))


def read_prompt(config: DiGITConfig, conditioning: Conditioning) -> Prompt:
    """A conditioning as the first stage reads it; ValueError when it is of a kind that the model was not trained on.

    Text beyond `config.text_tokens` is cut. Classes are tokens `[B, 1, 1]` that hold a class id, -1 for no class; a
    model of neither text nor classes takes -1 alone.
    """
    tokens = conditioning.tokens
    if config.text_width:
        if tokens.shape[-1] != config.text_width:
            raise ValueError(f"text features are {tokens.shape[-1]} wide; this model reads {config.text_width}")
        real = conditioning.mask[:, : config.text_tokens]
        text = tokens[:, : config.text_tokens]
        start = torch.full(tokens.shape[:1], EOS, device=tokens.device)
        return Prompt(start=start, text=text, real=None if bool(real.all()) else real)
    if tuple(tokens.shape[1:]) != (1, 1):
        raise ValueError(
            f"conditioning of shape {list(tokens.shape)} is no class id; this model knows "
            + (f"{config.classes} classes, not sentences" if config.classes else "neither classes nor sentences")
        )
    classes = tokens[:, 0, 0].round().long()
    if config.classes:
        wrong = classes[(classes < 0) | (classes >= config.classes)]
        if len(wrong):
            raise ValueError(
                f"class {int(wrong[0])} is not one of the {config.classes} classes of this model"
                + ("; it has no null condition, so name a class" if int(wrong[0]) == -1 else "")
            )
        return Prompt(start=classes + config.semantic_ids)
    if bool((classes != -1).any()):
        raise ValueError("this model knows no classes and reads no text; leave the prompt empty")
    return Prompt(start=torch.full_like(classes, EOS))


class DiGIT(nn.Module):
    """Both transformers. Checkpoint names are the published ones, behind `semantic.` and `decoder.`."""

    def __init__(self, config: DiGITConfig) -> None:
        super().__init__()
        self.config = config
        self.semantic = TokenTransformer(
            config.semantic,
            inputs=config.semantic_ids + config.classes,
            outputs=config.semantic_ids,
            text_width=config.text_width,
            text_tokens=config.text_tokens,
        )
        self.decoder = TokenTransformer(
            config.decoder, inputs=config.code_ids + config.semantic_ids, outputs=config.code_ids, prefixed=True
        )

    def semantic_logits(self, tokens: Tensor, prompt: Prompt) -> Tensor:
        """Logits `[B, S + 1, semantic_ids]` of the next id after the slot and after each of the tokens `[B, S]`.

        Text sees all of the text; the slot and the tokens see the text and what is not after them.
        """
        ids = torch.cat([prompt.start[:, None], tokens + SPECIAL], dim=1)
        h = self.semantic.embed(ids)
        if prompt.text is None:
            return self.semantic.logits(self.semantic.run(h, causal=True))
        length = prompt.length
        h = torch.cat([self.semantic.embed_text(prompt.text), h], dim=1)
        h = self.semantic.run(h, text_mask(length, ids.shape[1], prompt.real, h.device))
        return self.semantic.logits(h[:, length:])

    def decoder_logits(self, codes: Tensor, tokens: Tensor) -> Tensor:
        """Logits `[B, V + 1, code_ids]` of the next id, given the tokens `[B, S]` and the codes `[B, V]` before it."""
        h = self.decoder_embedding(codes, tokens)
        return self.decoder.logits(self.decoder.run(h, causal=True)[:, tokens.shape[1] :])

    def masked_logits(self, codes: Tensor, tokens: Tensor, where: Tensor | None = None) -> Tensor:
        """Logits `[B, V, code_ids]` of every code, where unknown ones are MASKED and everything sees everything.

        where: places `[B, m]` whose logits `[B, m, code_ids]` are wanted; None wants all.
        """
        h = self.decoder.run(self.decoder_embedding(codes, tokens))[:, tokens.shape[1] + 1 :]
        if where is not None:
            h = h.gather(1, where[..., None].expand(-1, -1, h.shape[-1]))
        return self.decoder.logits(h)

    def decoder_embedding(self, codes: Tensor, tokens: Tensor) -> Tensor:
        """`[B, S + 1 + V, D]`: tokens, the slot before the first code, and codes, some of which may be MASKED."""
        slot = torch.full_like(tokens[:, :1], EOS)
        ids = torch.cat([slot, torch.where(codes == MASKED, UNKNOWN, codes + SPECIAL)], dim=1)
        before = self.decoder.embed(tokens + SPECIAL + self.config.code_ids, prefix=True)
        return torch.cat([before, self.decoder.embed(ids)], dim=1)


def text_mask(length: int, sequence: int, real: Tensor | None, device: torch.device) -> Tensor:
    """`[1 or B, 1, length + sequence, length + sequence]`, True where a row may attend to a column.

    Every row sees the text (its real tokens, where `real` `[B, length]` is given); rows of the sequence also see those
    of it that are not after them.
    """
    total = length + sequence
    seen = torch.ones((total, total), dtype=torch.bool, device=device).tril()
    seen[:, :length] = True
    if real is None:
        return seen[None, None]
    return seen[None, None] & F.pad(real, (0, sequence), value=True)[:, None, None]
