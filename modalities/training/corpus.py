"""What a generator is trained on, whatever the modality: samples of media with captions, drawn by number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from torch import Tensor


class Corpus(Protocol):
    """A numbered set of media with captions. Sample i is the same in every process and on every machine.

    A catalog target is `load(folder: Path, **data) -> Corpus`: folder holds the fetched packages, data are the keys of
    `data:` in the training file. Loading fetches what is missing.
    """

    def __len__(self) -> int:
        """Number of samples."""
        ...

    def media(self, first: int, last: int) -> Tensor:
        """Samples first..last-1 as a codec takes them: `[n, channels, *size]` float32 in -1..1."""
        ...

    def captions(self, index: int) -> Sequence[str]:
        """Captions of a sample, in any languages; the same number for every sample."""
        ...

    def concepts(self) -> Mapping[str, Mapping[str, Sequence[str]]]:
        """What the model will know: key -> language -> names; every key has `en`. Goes into `concepts.json`."""
        ...
