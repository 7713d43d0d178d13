"""encode: prompts to conditioning, and the negative prompt beside it."""

from __future__ import annotations

from collections.abc import Sequence

from modalities.contracts import Conditioning
from orchestrator.item import Item
from orchestrator.stages.base import Outcome, Stage


class Encode(Stage):
    """Encodes prompts with the text encoder of a model.

    options: model (name); negative_prompt (text, empty by default), which guidance moves away from.
    writes: `conditioning` and `negative`, each the Conditioning of one prompt without padding.
    """

    reads = frozenset[str]()
    writes = frozenset({"conditioning", "negative"})

    def setup(self) -> None:
        """Load the text encoder."""
        self._encoder = self.models.text_encoder(str(self.options["model"]))

    def process(self, items: Sequence[Item]) -> list[Outcome]:
        """Encode all prompts and the negative prompt; each alone, so that batch mates leave no trace."""
        negative_prompt = str(self.options.get("negative_prompt") or "")
        with self.models.text_lock:
            encoded = self._encoder.encode([*(item.sample.prompt for item in items), negative_prompt])
        *conditionings, negative = (_on_cpu(part) for part in encoded.split())
        return [
            item.with_values(conditioning=conditioning, negative=negative)
            for item, conditioning in zip(items, conditionings, strict=True)
        ]


def _on_cpu(conditioning: Conditioning) -> Conditioning:
    return conditioning.to("cpu")
