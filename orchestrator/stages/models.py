"""ModelStore: the models of one worker, each loaded once, when first asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import torch

from modalities import catalog
from modalities.contracts import Codec, Generator, Modality, TextEncoder
from modalities.text.cache import CachedTextEncoder
from modalities.weights.description import ModelDescription, describe
from modalities.weights.loading import load_codec, load_generator, load_text_encoder
from orchestrator.errors import ModelError

Loaded = TypeVar("Loaded")


class ModelStore:
    """Generators, codecs and text encoders by the model names of a workflow.

    models: as in `Plan.models`. device: where they are loaded. Safe to share among the threads of a process; parts that
    two models have in common (a text encoder) are loaded once.
    """

    def __init__(self, models: Mapping[str, Mapping[str, Any]], device: str) -> None:
        self.device = device
        self._models = models
        self._loaded: dict[tuple[str, str], Any] = {}
        self._descriptions: dict[str, ModelDescription] = {}
        self._lock = threading.RLock()
        self.text_lock = threading.Lock()
        """Held around every use of a text encoder: its cache is shared by the threads of a process."""

    def generator(self, name: str) -> Generator:
        """The model's generator. Raises ModelError."""
        return self._load("generator", name, lambda: load_generator(self.describe(name), self.device, self.dtype(name)))

    def codec(self, name: str) -> Codec:
        """The model's codec, always in float32: it is cheap, and several known ones overflow in less.

        Raises ModelError.
        """
        return self._load("codec", name, lambda: load_codec(self.describe(name), self.device, torch.float32))

    def text_encoder(self, name: str) -> CachedTextEncoder:
        """The model's text encoder behind a cache; models with equal ones share it. Raises ModelError."""
        spec = self.describe(name).text_encoder
        dtype = torch.float32 if spec["kind"] == "builtin" else self.dtype(name)
        key = repr((dtype, sorted((str(key), str(value)) for key, value in spec.items())))

        def load() -> CachedTextEncoder:
            encoder: TextEncoder = load_text_encoder(spec, self.device, dtype)
            return CachedTextEncoder(encoder)

        return self._load("text encoder", key, load, shown=name)

    def modality(self, name: str) -> Modality:
        """What the model makes. Raises ModelError."""
        return cast(Modality, catalog.resolve("modality", self.describe(name).modality))

    def dtype(self, name: str) -> torch.dtype:
        """The precision of a model's generator: as the plan says; `auto` is bfloat16 on CUDA and float32 elsewhere."""
        precision = str(self._models.get(name, {}).get("precision", "auto"))
        if precision == "auto":
            return torch.bfloat16 if self.device.startswith("cuda") else torch.float32
        dtype: torch.dtype = getattr(torch, precision)
        return dtype

    def describe(self, name: str) -> ModelDescription:
        """What a model is, read from its folder on this machine. Raises ModelError when it is not what the plan saw."""
        with self._lock:
            if name not in self._descriptions:
                self._descriptions[name] = self._read(name)
            return self._descriptions[name]

    def _read(self, name: str) -> ModelDescription:
        if name not in self._models:
            raise ModelError(f"unknown model `{name}`; the plan has: {', '.join(sorted(self._models))}")
        planned = self._models[name]
        try:
            description = describe(planned["source"], planned.get("overrides"), fetch=True)
        except ValueError as error:
            raise ModelError(f"model `{name}`: {error}") from error
        expected = planned.get("weights_hash")
        if expected is not None and description.weights_hash() != expected:
            raise ModelError(
                f"model `{name}`: the weights of {planned['source']} differ from those that the plan was made with; "
                "every machine of a run needs the same files, and they must not change during it"
            )
        return description

    def _load(self, kind: str, name: str, load: Callable[[], Loaded], shown: str | None = None) -> Loaded:
        with self._lock:
            key = (kind, name)
            if key not in self._loaded:
                try:
                    self._loaded[key] = load()
                except (ValueError, OSError) as error:
                    raise ModelError(f"model `{shown or name}`, {kind}: {error}") from error
            loaded: Loaded = self._loaded[key]
            return loaded
