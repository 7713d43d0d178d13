"""What a tokenizer's training file may say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from modalities.training.loop import LoopOptions
from modalities.training.patch_views import ViewOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerTraining:
    """A training of a picture tokenizer. folder: checkpoints, log, sheets. export: the finished codec goes there.

    of: the model whose codec's latents are quantised beside it. corpus, data: as for a generator; captions are not
    looked at. clusters, codes: how many centres k-means finds in the features, and in the latents. layer: the block
    whose features those are, counted from the end (the loss is on the last). whitened: how many principal components
    of them are compared, each place's mean taken away; 0 compares them as they are. model: fields of transformers'
    Dinov2WithRegistersConfig. head: width of the embeddings that the loss compares. views: how the two
    views of a picture differ.
    """

    folder: str
    export: str
    of: str
    corpus: str = "sprites"
    corpora: str = ".corpora"
    seed: int = 0
    clusters: int = 1024
    layer: int = 1
    whitened: int = 0
    codes: int = 1024
    head: int = 256
    data: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    views: ViewOptions = field(default_factory=ViewOptions)
    loop: LoopOptions

    def __post_init__(self) -> None:
        for name in ("clusters", "codes", "head", "layer"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected at least 1")
