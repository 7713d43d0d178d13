"""Which prompts lie outside what a model knows, and what the nearest thing is that it does know.

A model that was trained on a closed set of things says so in its folder (`concepts.json`: their names in many
languages). A prompt is inside when one of its words is such a name, endings aside, or when one of its words means
nearly the same as one: the cosine of their sentence embeddings reaches the threshold that stands in the file. Measured
on 216 prompts about known things in nine languages and 59 about others, a threshold of 0.68 calls 97 % of the former
inside and 90 % of the latter outside (docs/workflow.md). A model without the file is taken to know everything.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from modalities.contracts import TextEncoder
from modalities.weights.description import ModelDescription
from modalities.weights.loading import load_text_encoder
from orchestrator.errors import ModelError
from orchestrator.plan import Prompt
from orchestrator.spec import WorkflowSpec

CONCEPTS = "concepts.json"
HUB_MODEL = "Alpha-VLLM/Lumina-Next-SFT-diffusers"
"""A checkpoint that knows the rest."""

_HAN = re.compile(r"[぀-ヿ㐀-鿿]")
_HIRAGANA = re.compile(r"[぀-ゟ]+")
_WORD = re.compile(r"\w+")
_LEAST_LETTERS = 4
"""Shorter words of alphabetic scripts are mostly articles and prepositions, so their meaning is not compared."""
_LONGEST_HAN = 4


@runtime_checkable
class SentenceEncoder(Protocol):
    """What the check needs of a text encoder."""

    def sentence_embeddings(self, prompts: Sequence[str]) -> Tensor:
        """`[B, D]` of unit length."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptReport:
    """A prompt outside what a model knows. nearest: the English name of the nearest thing it knows.

    advice: what knows more, where something published does.
    """

    prompt_id: str
    prompt: str
    model: str
    nearest: str
    similarity: float
    advice: str = ""

    def __str__(self) -> str:
        return (
            f"{self.prompt_id} `{self.prompt}`: model `{self.model}` knows nothing like it; nearest: {self.nearest} "
            f"(similarity {self.similarity:.2f}){self.advice}"
        )


class Concepts:
    """What a model knows, from its `concepts.json`."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.threshold = float(values["threshold"])
        self.english = [name for concept in values["concepts"] for name in concept["names"]["en"]]
        self._parts: list[str] = []
        self._phrases: dict[str, list[list[str]]] = {}
        for concept in values["concepts"]:
            everything = {concept["emoji"], *(name for names in concept["names"].values() for name in names)}
            for name in sorted(map(_plain, everything)):
                words = _words(name)
                if not words or _HAN.search(name):
                    self._parts.append(name)
                elif max(map(len, words)) >= 3:
                    self._phrases.setdefault(words[0][:3], []).append(words)

    def names_one(self, prompt: str) -> bool:
        """Whether a prompt holds a known name, in any language, endings aside."""
        text = _plain(prompt)
        words = _words(text)
        if any(part in text for part in self._parts):
            return True
        return any(
            all(_same(word, known) for word, known in zip(words[start:], phrase, strict=False))
            for start in range(len(words))
            for phrase in self._phrases.get(words[start][:3], ())
            if start + len(phrase) <= len(words)
        )


def read_concepts(folder: Path | None) -> Concepts | None:
    """The concepts of a model folder; None when it has no such file. ModelError when it is damaged."""
    path = folder / CONCEPTS if folder is not None else None
    if path is None or not path.is_file():
        return None
    try:
        return Concepts(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path}: damaged ({error!r})") from error


def check_prompts(
    prompts: Iterable[Prompt], description: ModelDescription, encoder: SentenceEncoder, model: str = ""
) -> list[PromptReport]:
    """The prompts that the described model does not know, in their order. model: its name for messages."""
    concepts = read_concepts(description.folder)
    if concepts is None:
        return []
    outside = [prompt for prompt in prompts if not concepts.names_one(prompt.text)]
    if not outside:
        return []
    known = encoder.sentence_embeddings(concepts.english)
    pieces = [list(dict.fromkeys([*_pieces(prompt.text), prompt.text])) for prompt in outside]
    every = list(dict.fromkeys(piece for own in pieces for piece in own))
    similarities = dict(zip(every, encoder.sentence_embeddings(every) @ known.T, strict=True))
    found = []
    for prompt, own in zip(outside, pieces, strict=True):
        best = torch.stack([similarities[piece] for piece in own]).amax(dim=0)
        similarity, place = best.max(), best.argmax()
        if float(similarity) < concepts.threshold:
            nearest = concepts.english[int(place)]
            report = PromptReport(
                prompt_id=prompt.id,
                prompt=prompt.text,
                model=model or description.source,
                nearest=nearest,
                similarity=round(float(similarity), 3),
                advice=f". A model such as {HUB_MODEL} knows more" if description.modality == "image" else "",
            )
            found.append(report)
    return found


def check_workflow_prompts(spec: WorkflowSpec) -> list[PromptReport]:
    """The prompts of a workflow that some model it generates with does not know. Loads text encoders, on the CPU."""
    reports: list[PromptReport] = []
    encoders: dict[str, TextEncoder] = {}
    making = [step for step in spec.graph.order if "conditioning" in spec.graph.reads[step]]
    for name in dict.fromkeys(spec.chosen[step] for step in making):
        model = spec.models[name]
        if read_concepts(model.description.folder) is None:
            continue
        if model.encoder_name not in encoders:
            try:
                encoders[model.encoder_name] = load_text_encoder(model.description, "cpu", torch.float32)
            except (ValueError, OSError) as error:
                raise ModelError(f"model `{name}`, text encoder: {error}") from error
        encoder = encoders[model.encoder_name]
        if isinstance(encoder, SentenceEncoder):
            reports += check_prompts(spec.prompts, model.description, encoder, name)
    return reports


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold().replace("\ufe0f", "")


def _words(text: str) -> list[str]:
    """Words without the Arabic article, which is written together with what follows."""
    return [word[2:] if word.startswith("ال") and len(word) > 4 else word for word in _WORD.findall(text)]


def _same(word: str, known: str) -> bool:
    """Whether two words differ by an ending only: both begin alike for at least three letters and most of each."""
    if word == known:
        return True
    longer, shorter = max(len(word), len(known)), min(len(word), len(known))
    alike = next((n for n in range(shorter) if word[n] != known[n]), shorter)
    if alike >= 4 and alike >= 0.75 * longer:
        return True
    return alike >= 3 and ((alike == shorter and longer - shorter <= 2) or longer == shorter == alike + 1)


def _pieces(prompt: str) -> Iterator[str]:
    """Words of a prompt; of scripts without spaces, every run of up to four characters that is not all hiragana."""
    for word in _words(_plain(prompt)):
        if not _HAN.search(word):
            if len(word) >= _LEAST_LETTERS:
                yield word
            continue
        for length in range(1, _LONGEST_HAN + 1):
            runs = (word[start : start + length] for start in range(len(word) - length + 1))
            yield from (run for run in runs if not _HIRAGANA.fullmatch(run))
