"""encode: prompts to conditioning, the negative prompt beside it, and a note for each prompt that is not understood."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from torch import Tensor

from modalities.contracts import Conditioning
from orchestrator.item import Item
from orchestrator.plan import Prompt
from orchestrator.stages.base import Outcome, Stage
from orchestrator.stages.prompt_check import SentenceEncoder, check_prompts


class Encode(Stage):
    """Encodes prompts with the text encoder of a model.

    options: model (name); negative_prompt (text, empty by default), which guidance moves away from; readers (the models
    that generate from the conditioning, whose knowledge the prompts are compared with; default the model itself).
    writes: `conditioning` and `negative`, each the Conditioning of one prompt without padding.
    """

    reads = frozenset[str]()
    writes = frozenset({"conditioning", "negative"})

    def setup(self) -> None:
        """Load the text encoder."""
        self._model = str(self.options["model"])
        self._encoder = self.models.text_encoder(self._model)
        inner = self._encoder.encoder
        self._sentences = _Remembered(inner) if isinstance(inner, SentenceEncoder) else None

    def process(self, items: Sequence[Item]) -> list[Outcome]:
        """Encode all prompts and the negative prompt; each alone, so that batch mates leave no trace."""
        negative_prompt = str(self.options.get("negative_prompt") or "")
        with self.models.text_lock:
            encoded = self._encoder.encode([*(item.sample.prompt for item in items), negative_prompt])
            self._look_at({item.sample.prompt_id: item.sample.prompt for item in items})
        *conditionings, negative = (_on_cpu(part) for part in encoded.split())
        return [
            item.with_values(conditioning=conditioning, negative=negative)
            for item, conditioning in zip(items, conditionings, strict=True)
        ]

    def _look_at(self, prompts: dict[str, str]) -> None:
        """Note the prompts that hold words without a meaning, or that lie outside what the model knows."""
        for name, text in prompts.items():
            words = self._encoder.unknown_words(text)
            if words:
                self.notes.append(f"{name} `{text}`: the text encoder knows no meaning of {', '.join(words)}")
        if self._sentences is not None:
            listed = [Prompt(name, text) for name, text in prompts.items()]
            for model in self.options.get("readers") or [self._model]:
                description = self.models.describe(str(model))
                self.notes += map(str, check_prompts(listed, description, self._sentences, str(model)))


class _Remembered:
    """A sentence encoder that keeps the embeddings of the last lists: those of the models' concepts come often."""

    def __init__(self, encoder: SentenceEncoder) -> None:
        self._embeddings = functools.lru_cache(maxsize=16)(encoder.sentence_embeddings)

    def sentence_embeddings(self, prompts: Sequence[str]) -> Tensor:
        """`[B, D]` of unit length."""
        return self._embeddings(tuple(prompts))


def _on_cpu(conditioning: Conditioning) -> Conditioning:
    return conditioning.to("cpu")
