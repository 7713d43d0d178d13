"""The image model as the quality benchmarks use it: load, generate in batches, decode, and write dated results."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from modalities.contracts import Codec, Conditioning, GenerateOptions, Generator, Size, TextEncoder
from modalities.generators.options import generate_options
from modalities.weights.description import ModelDescription, describe
from modalities.weights.loading import load_codec, load_generator, load_text_encoder

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
CORPORA = ROOT / ".corpora"


@dataclass(frozen=True, slots=True)
class ImageModel:
    """One loaded image model. defaults: the options that its own description asks for."""

    description: ModelDescription
    generator: Generator
    codec: Codec
    text: TextEncoder
    defaults: GenerateOptions

    def encode(self, prompts: Sequence[str]) -> list[Conditioning]:
        """One conditioning per prompt."""
        return [self.text.encode([prompt]) for prompt in prompts]

    def generate(
        self,
        conditionings: Sequence[Conditioning],
        seeds: Sequence[int],
        size: Size,
        options: GenerateOptions,
        start: Tensor | None = None,
        batch: int = 8,
    ) -> Tensor:
        """Latents of all prompts, made in batches of `batch`."""
        negative = self.text.encode([""])
        parts = []
        for first in range(0, len(seeds), batch):
            rows = slice(first, first + batch)
            positive = Conditioning.stack(conditionings[rows])
            begun = None if start is None else start[rows]
            parts.append(self.generator.generate(positive, negative, size, seeds[rows], options, begun))
        return torch.cat(parts)

    def decode(self, latents: Tensor) -> Tensor:
        """Pictures `[N, 3, H, W]` in 0..1."""
        with torch.inference_mode():
            pictures = torch.cat([self.codec.decode(part) for part in latents.float().split(16)])
        return ((pictures + 1) / 2).clamp(0, 1)


def load_model(source: str, dtype: torch.dtype) -> ImageModel:
    """The image model of a source (`builtin/image` or a folder), on the CPU."""
    description = describe(source)
    return ImageModel(
        description=description,
        generator=load_generator(description, "cpu", dtype),
        codec=load_codec(description, "cpu", torch.float32),
        text=load_text_encoder(description, "cpu", torch.float32),
        defaults=generate_options(description.defaults),
    )


def seed_of(name: str) -> int:
    """A seed that follows from a prompt's id alone."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")


def with_steps(options: GenerateOptions, steps: int | None, guidance: float | None) -> GenerateOptions:
    """Options with another number of steps or another guidance scale, where one is given."""
    if steps is not None:
        options = replace(options, steps=steps)
    if guidance is not None:
        options = replace(options, guidance=replace(options.guidance, scale=guidance))
    return options


def machine() -> dict[str, Any]:
    """What a reader needs to compare times."""
    names = [line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def write_results(name: str, results: dict[str, Any]) -> Path:
    """Write one dated JSON file of results and return its path."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    date = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    path = RESULTS / f"{name}-{date}.json"
    body = {"benchmark": name, "date": date, "machine": machine(), **results}
    path.write_text(json.dumps(body, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []
