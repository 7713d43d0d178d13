"""The metric `prompt-following`: how often what a model makes shows what its prompt asks for."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from modalities.contracts import Conditioning, TextEncoder
from modalities.training.corpus import Corpus, Judge, Judged
from modalities.training.family import Probe

TOGETHER = 32
"""Prompts that are sampled together."""


class PromptFollowing:
    """A judge's questions, encoded once. decode: latents `[N, C, *axes]` to media as the judge takes them."""

    def __init__(self, judge: Judge, encoder: TextEncoder, prompts: int, decode: Callable[[Tensor], Tensor]) -> None:
        questions = judge.questions(prompts)
        self._judge, self._decode = judge, decode
        self._wanted = torch.tensor([question.concept for question in questions])
        texts = [question.prompt for question in questions]
        self._parts = [encoder.encode(texts[i : i + TOGETHER]) for i in range(0, len(texts), TOGETHER)]
        self._negative: Conditioning = encoder.encode([""])

    def measure(self, sample: Callable[[Probe], Tensor]) -> float:
        """The share of questions that the latents of `sample` answer rightly, 0..1; noise is the same each time."""
        shown = []
        for number, part in enumerate(self._parts):
            latents = sample(Probe(conditioning=part, negative=self._negative, seed=number * TOGETHER))
            shown.append(self._judge.shown(self._decode(latents)).cpu())
        return float((torch.cat(shown) == self._wanted).double().mean())


def checked_judged(corpus: Corpus, name: str) -> Judged:
    """A corpus that has a judge; ValueError when it has none."""
    if not isinstance(corpus, Judged):
        raise ValueError(f"stop: corpus `{name}` has no judge to measure prompt-following with; leave out `stop`")
    return corpus
