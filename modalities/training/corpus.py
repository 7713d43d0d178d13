"""What a generator is trained on, whatever the modality: samples of media with captions, drawn by number."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

from torch import Tensor

from modalities import catalog


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


@runtime_checkable
class ConceptFacts(Protocol):
    """A corpus that has more to say in `concepts.json` than the names of its concepts."""

    def concept_facts(self) -> Mapping[str, object]:
        """Further keys of `concepts.json`, such as the colours of backgrounds."""
        ...


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt that no sample has, and the number of the concept that it asks for."""

    prompt: str
    concept: int


class Judge(Protocol):
    """Says what generated media show, so that a training can measure how often its model follows prompts."""

    def questions(self, count: int) -> Sequence[Question]:
        """Prompts to ask, always the same ones; their concepts differ as far as there are so many."""
        ...

    def shown(self, media: Tensor) -> Tensor:
        """The number of the concept that each of the media `[N, channels, *size]` (in -1..1) shows, `[N]`."""
        ...


@runtime_checkable
class Judged(Protocol):
    """A corpus that can tell what media show."""

    def judge(self) -> Judge:
        """Its judge."""
        ...


def load_corpus(name: str, folder: Path, data: Mapping[str, Any]) -> Corpus:
    """The corpus with a name in the catalog; ValueError for an unknown name, or a key of `data` that it lacks."""
    try:
        load = cast(Callable[..., Corpus], catalog.resolve("corpus", name))
    except KeyError as error:
        raise ValueError(error.args[0]) from None
    taken = [key for key, value in inspect.signature(load).parameters.items() if value.kind is value.KEYWORD_ONLY]
    for key in data:
        if key not in taken:
            near = difflib.get_close_matches(str(key), taken, 1)
            hint = f"did you mean `{near[0]}`? " if near else ""
            raise ValueError(f"data: corpus `{name}` takes no `{key}`; {hint}known: {', '.join(taken)}, workers")
    return load(folder, **data)
