"""Writes a trained model as a folder in the format `parhelion-model/1`, with the list of what the model knows."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from modalities.contracts import CheckpointError
from modalities.training.codec_source import CodecSource
from modalities.training.corpus import ConceptFacts, Corpus
from modalities.training.ranks import weights
from modalities.weights.checkpoint import read_tensors, write_tensors
from modalities.weights.description import describe

FORMAT = "parhelion-model/1"
CONCEPTS_FORMAT = "parhelion-concepts/1"


def write_model(
    folder: Path, module: nn.Module, codec: CodecSource, description: Mapping[str, Any], storage: str = "float16"
) -> None:
    """Write `generator.safetensors`, `codec.safetensors` where the codec has one, and, last of all, `model.json`.

    description: everything of `model.json` but format and codec. storage: see `modalities.weights.storage`.
    CheckpointError when it cannot hold a weight.
    """
    write_tensors(folder / "generator.safetensors", weights(module), storage=storage)
    if codec.file is not None:
        shutil.copyfile(codec.file, folder / "codec.safetensors")
    values = {"format": FORMAT, **description, "codec": dict(codec.spec)}
    if codec.training:
        values["training"] = {**dict(description.get("training", {})), "codec": dict(codec.training)}
    _write_json(folder / "model.json", values)


def write_concepts(folder: Path, corpus: Corpus, threshold: float) -> None:
    """Write `concepts.json`: what the model knows, in every language, and when a prompt counts as unknown.

    threshold: a prompt whose sentence embedding has a smaller cosine than this with every name is outside.
    """
    rows = []
    for key, names in corpus.concepts().items():
        words = {language: list(own) for language, own in names.items()}
        rows.append({"emoji": key, "name": words["en"][0], "names": words})
    facts = corpus.concept_facts() if isinstance(corpus, ConceptFacts) else {}
    values = {"format": CONCEPTS_FORMAT, "threshold": threshold, **facts, "concepts": rows}
    _write_json(folder / "concepts.json", values)


@torch.no_grad()
def take_over(module: nn.Module, source: str) -> int:
    """Copy every tensor of a model's generator whose name and shape agree into `module`; returns how many.

    CheckpointError when none agrees: then the two have nothing in common.
    """
    found = read_tensors(describe(source).files)
    own = module.state_dict()
    alike = [name for name, value in own.items() if name in found and found[name].shape == value.shape]
    if not alike:
        raise CheckpointError(f"start_from: no tensor of {source} has the name and shape of one of this model")
    for name in alike:
        own[name].copy_(found[name])
    return len(alike)


def training_of(source: str) -> dict[str, Any]:
    """What the `model.json` of a model says of its training; empty when it says nothing or there is none."""
    folder = describe(source).folder
    path = None if folder is None else Path(folder) / "model.json"
    if path is None or not path.is_file():
        return {}
    found = json.loads(path.read_text(encoding="utf-8")).get("training", {})
    return dict(found)


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    aside = path.with_name(path.name + ".part")
    aside.write_text(json.dumps(values, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    aside.replace(path)
