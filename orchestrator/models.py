"""The models that a workflow names, described without loading them: where they are, and what planning must know."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from modalities.catalog import GENERATORS, MODALITIES, TEXT_ENCODERS
from modalities.weights.description import ModelDescription, describe
from orchestrator.paths import slug
from orchestrator.places import Document
from orchestrator.settings import ModelSettings

LONGEST_PROMPT = 8000


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedModel:
    """A model as planning sees it. source and overrides: what `describe` was given, with paths made absolute."""

    name: str
    source: str
    overrides: Mapping[str, Any]
    precision: str
    description: ModelDescription

    @property
    def modality(self) -> str:
        """The kind of media that it makes."""
        return str(self.description.modality)

    @property
    def is_known(self) -> bool:
        """Whether sizes and costs can be told; not so for a hub model that is neither here nor known."""
        return bool(self.description.generator_config) and bool(self.description.native_size)

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the axes of its media."""
        return tuple(str(MODALITIES[self.modality].facts["axes"]).split())

    @property
    def stride(self) -> tuple[int, ...]:
        """Media units per latent cell of each axis."""
        return self.description.stride

    @property
    def patch(self) -> tuple[int, ...]:
        """Latent cells per token of each axis."""
        return self.description.patch

    @property
    def largest(self) -> tuple[int, ...]:
        """Limit of each axis."""
        limits = [int(limit) for limit in str(MODALITIES[self.modality].facts["largest"]).split()]
        return tuple(limits * len(self.axes)) if len(limits) == 1 else tuple(limits)

    @property
    def rate(self) -> float:
        """Media units a second along the first axis; 0 where that is not time."""
        return float(MODALITIES[self.modality].facts.get("rate", 0))

    @property
    def units(self) -> tuple[int, ...]:
        """Media units of one token on each axis: what sizes are multiples of. Ones where nothing is known yet."""
        if not self.is_known:
            return (1,) * len(self.axes)
        return self.description.units

    @property
    def offset(self) -> tuple[int, ...]:
        """What sizes have beyond a multiple of the units; only models with a causal video codec have any."""
        return self.description.offset if self.is_known else (0,) * len(self.axes)

    @property
    def longest_prompt(self) -> int:
        """Most characters of a prompt that its text encoder takes."""
        entry = TEXT_ENCODERS.get(str(self.description.text_encoder.get("kind")))
        return int(entry.facts.get("longest_prompt", LONGEST_PROMPT)) if entry else LONGEST_PROMPT

    @property
    def encoder_name(self) -> str:
        """A name that models share when their text encoders are equal, and only then."""
        spec = self.description.text_encoder
        rest = {key: str(value) for key, value in sorted(spec.items()) if key != "kind"}
        if not rest:
            return str(spec["kind"])
        origin = str(rest.get("source") or rest.get("folder") or "custom")
        tail = "-".join(Path(origin).parts[-2:])
        return f"{spec['kind']}:{slug(tail)}-{hashlib.sha256(json.dumps(rest).encode()).hexdigest()[:6]}"

    def cost(self) -> ModuleType | None:
        """The module that counts parameters, FLOPs and bytes of the generator; None when the family has none."""
        entry = GENERATORS.get(self.description.family)
        name = entry.facts.get("cost") if entry else None
        return importlib.import_module(str(name)) if name else None

    def num_tokens(self, size: Sequence[int]) -> int:
        """Tokens of one sample of a size that the model can make."""
        return self.description.num_tokens(size)


def describe_models(
    document: Document, models: Mapping[str, ModelSettings], folder: Path, fetch: bool = False
) -> dict[str, PlannedModel]:
    """Describe every model; those that cannot be used are reported to the document and left out.

    folder: what paths in the workflow are relative to. fetch: download hub models that are not on this machine.
    """
    found = {}
    for name, settings in models.items():
        source = located(settings.source, folder)
        overrides = _overrides(settings, folder)
        try:
            description = describe(source, overrides, fetch=fetch)
        except (ValueError, OSError) as error:
            document.report(("models", name, "source"), str(error))
            continue
        if description.modality not in MODALITIES:
            document.report(("models", name, "source"), f"makes `{description.modality}`, which nothing here can plan")
            continue
        found[name] = PlannedModel(
            name=name, source=source, overrides=overrides, precision=settings.precision, description=description
        )
    return found


def located(source: str, folder: Path) -> str:
    """A source with a path made absolute. Paths start with `.`, `/` or `~`; others are built-in names or hub ids."""
    if source.startswith(("./", "../", "/", "~")) or source in {".", ".."}:
        return str((folder / Path(source).expanduser()).resolve())
    return source


def _overrides(settings: ModelSettings, folder: Path) -> dict[str, Any]:
    overrides: dict[str, Any] = {}
    for key, part in (("text_encoder", settings.text_encoder), ("codec", settings.codec)):
        if part is not None:
            values = part.model_dump(exclude_none=True)
            for place in ("source", "tokenizer"):
                if place in values:
                    values[place] = located(str(values[place]), folder)
            overrides[key] = values
    for key in ("ema", "modality"):
        if getattr(settings, key) is not None:
            overrides[key] = getattr(settings, key)
    if settings.native_size is not None:
        overrides["native_size"] = list(settings.native_size)
    return overrides
