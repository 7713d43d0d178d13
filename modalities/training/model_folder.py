"""Writes a trained model as a folder in the format `parhelion-model/1`, with the list of what the model knows."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from modalities.contracts import CheckpointError
from modalities.training.corpora.concepts import BACKGROUNDS, STYLES
from modalities.training.corpora.names import Names
from modalities.weights.checkpoint import write_tensors
from modalities.weights.headers import read_json

FORMAT = "parhelion-model/1"
CONCEPTS_FORMAT = "parhelion-concepts/1"


def write_model(folder: Path, module: nn.Module, codec_folder: Path, description: Mapping[str, Any]) -> None:
    """Write `generator.safetensors` (float16), `codec.safetensors` and, last of all, `model.json`.

    description: everything of `model.json` but format and codec. codec_folder: where the codec's training exported to.
    CheckpointError when a weight does not fit into float16.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.detach().to("cpu", torch.float16) for name, value in module.state_dict().items()}
    wide = [name for name, value in tensors.items() if not bool(value.isfinite().all())]
    if wide:
        raise CheckpointError(f"{', '.join(wide)}: values that float16 cannot hold; the training has diverged")
    write_tensors(folder / "generator.safetensors", tensors)
    shutil.copyfile(codec_folder / "codec.safetensors", folder / "codec.safetensors")
    codec = read_json(codec_folder / "codec.json")
    values = {"format": FORMAT, **description, "codec": {"kind": codec["kind"], "config": codec["config"]}}
    values["training"] = {**dict(description.get("training", {})), "codec": codec["training"]}
    _write_json(folder / "model.json", values)


def write_concepts(folder: Path, concepts: Sequence[str], names: Names, threshold: float) -> None:
    """Write `concepts.json`: what the model knows, in every language, and when a prompt counts as unknown.

    threshold: a prompt whose sentence embedding has a smaller cosine than this with every name is outside.
    """
    rows = []
    for i, emoji in enumerate(concepts):
        words = {language: list(table[i]) for language, table in names.names.items()}
        rows.append({"emoji": emoji, "name": words["en"][0], "names": words})
    backgrounds = {name: list(colour) for name, colour in BACKGROUNDS.items()}
    values = {"format": CONCEPTS_FORMAT, "threshold": threshold, "backgrounds": backgrounds}
    _write_json(folder / "concepts.json", {**values, "styles": list(STYLES), "concepts": rows})


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    aside = path.with_name(path.name + ".part")
    aside.write_text(json.dumps(values, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    aside.replace(path)
