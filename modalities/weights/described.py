"""What planning knows of a model, whatever its family; and the checks that every kind of folder shares. No torch.

What a family alone can say (tensors of a configuration, tokens, operations, memory) is in its cost module, which the
catalog names. A cost module is made of functions of a configuration as a mapping: `checked` (all fields, ValueError),
`expected_shapes`, `parameters`, `trained_cells` (latent cells of each media axis at the trained size), `patch`,
`tokens` (of latent axes), `flops`, `text_flops`, `activation_bytes`; and, where stored names differ from those of
`expected_shapes`, `original_names` (shapes under stored names to shapes under those; ValueError for what is no such
checkpoint).

A family that samples in a way of its own may say more: `option_faults(config, options)` (a step's options resolved, to
messages by key, such as `sampler.head_steps`), `evaluations(config, options)` and `sample_flops(config, text_tokens,
options)` (of one sample, guidance counted twice), and `has_null_condition(config)` (whether there is guidance at all).
"""

from __future__ import annotations

import hashlib
import importlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from modalities.catalog import CODECS, GENERATORS, outside_entries
from modalities.weights.headers import DescriptionError, file_hash, read_headers, shape_faults
from modalities.weights.sources import BUILTIN

HASHED_ENDINGS = (".safetensors", ".json", ".gz", ".model", ".txt")
PLACES = ("file", "folder", "source", "tokenizer")
"""Keys of a codec or text encoder that may name a file or folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDescription:
    """A model as planning sees it.

    source: as it was given. folder: where it lies; None for a hub id that is not on this machine yet.
    modality, family: names in `modalities.catalog`. generator_config: fields of the family's configuration.
    codec, text_encoder: what the catalog's `load` functions take; always with `kind`.
    native_size: the trained size in media units. default_size: what is made when no size is asked for.
    defaults: fields of `GenerateOptions` that the model prefers.
    parameters: those of the generator. files: the generator's weights.
    """

    source: str
    folder: Path | None
    modality: str
    family: str
    generator_config: dict[str, Any]
    codec: dict[str, Any]
    text_encoder: dict[str, Any]
    native_size: tuple[int, ...]
    default_size: tuple[int, ...] = ()
    defaults: dict[str, Any] = field(default_factory=dict)
    parameters: int = 0
    files: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        if not self.default_size:
            object.__setattr__(self, "default_size", self.native_size)

    @property
    def stride(self) -> tuple[int, ...]:
        """Media units per latent cell of each axis, from the trained size in media units and in cells."""
        cells = cost_module(self.family).trained_cells(self.generator_config)
        return tuple(
            (size - first) // (n - first) for size, n, first in zip(self.native_size, cells, self.lead, strict=True)
        )

    @property
    def lead(self) -> tuple[int, ...]:
        """Units at the start of each axis that are cells of their own: the first frame, where a codec is causal."""
        return codec_lead(str(self.codec["kind"]), len(self.native_size))

    @property
    def patch(self) -> tuple[int, ...]:
        """Latent cells per token of each axis."""
        return tuple(cost_module(self.family).patch(self.generator_config))

    @property
    def units(self) -> tuple[int, ...]:
        """Media units per token of each axis: what sizes are multiples of, once `offset` is taken away."""
        return tuple(cells * stride for cells, stride in zip(self.patch, self.stride, strict=True))

    @property
    def offset(self) -> tuple[int, ...]:
        """What sizes have beyond a multiple of the units: lead * (1 - stride), so nothing without a causal codec."""
        return tuple(first * (1 - stride) for first, stride in zip(self.lead, self.stride, strict=True))

    def num_tokens(self, size: Sequence[int]) -> int:
        """Tokens of one sample of a size in media units; ValueError when the model cannot make that size."""
        units, offset = self.units, self.offset
        whole = [n - o for n, o in zip(size, offset, strict=True)] if len(size) == len(units) else []
        if not whole or any(n < u or n % u for n, u in zip(whole, units, strict=True)):
            beyond = f" plus {offset}" if any(offset) else ""
            raise ValueError(f"size {tuple(size)} is not a multiple of {units}{beyond}")
        cells = [n // stride for n, stride in zip(whole, self.stride, strict=True)]
        return int(cost_module(self.family).tokens(self.generator_config, cells))

    def weight_files(self) -> tuple[Path, ...]:
        """Every file that decides an output: generator, codec, text encoder and tokenizer, sorted."""
        places = [*self.files]
        for part in self._parts():
            places += [Path(part[key]) for key in PLACES if key in part]
        if self.text_encoder.get("kind") == "builtin":
            places.append(BUILTIN / "text")
        found: set[Path] = set()
        for place in places:
            inside = place.rglob("*") if place.is_dir() else [place]
            found |= {path for path in inside if path.is_file() and path.suffix in HASHED_ENDINGS}
        return tuple(sorted(found))

    def weights_hash(self) -> str:
        """SHA-256 over names, configuration and contents of all weight files; for an absent hub id, over the id."""
        digest = hashlib.sha256(f"{self.family} {sorted(self.generator_config.items())}".encode())
        if self.folder is None:
            digest.update(self.source.encode())
        for part in self._parts():
            plain = {key: value for key, value in part.items() if key != "codec" and not _is_place(key, value)}
            digest.update(f"{sorted(plain.items())}".encode())
        for path in self.weight_files():
            digest.update(f"{path.name} {file_hash(path)}\n".encode())
        return digest.hexdigest()

    def _parts(self) -> Iterator[Mapping[str, Any]]:
        """The codec, the codecs inside it, and the text encoder."""
        part: Any = self.codec
        while isinstance(part, Mapping):
            yield part
            part = part.get("codec")
        yield self.text_encoder


def _is_place(key: str, value: Any) -> bool:
    return key in PLACES and isinstance(value, str) and Path(value).exists()


def codec_lead(kind: str, axes: int) -> tuple[int, ...]:
    """Units at the start of each axis that a kind of codec codes by themselves."""
    entry = (CODECS | outside_entries("codec")).get(kind)
    lead = tuple(int(n) for n in str(entry.facts.get("lead", "")).split()) if entry else ()
    if lead and len(lead) != axes:
        raise DescriptionError(f"codec `{kind}` codes media of {len(lead)} axes, this model has {axes}")
    return lead or (0,) * axes


def nearest_length(length: float, unit: int, offset: int = 0) -> int:
    """The number nearest to a length that is a multiple (at least one) of `unit`, plus `offset`; halves go up."""
    return max(1, math.floor((length - offset) / unit + 0.5)) * unit + offset


def cost_module(family: str) -> ModuleType:
    """The module that knows what a generator family costs; DescriptionError when the catalog names none."""
    entry = (GENERATORS | outside_entries("generator")).get(family)
    name = entry.facts.get("cost") if entry else None
    if not name:
        raise DescriptionError(f"generator `{family}` has no cost module in the catalog, so it cannot be planned")
    return importlib.import_module(str(name))


def original_shapes(family: str, files: tuple[Path, ...]) -> dict[str, tuple[int, ...]]:
    """Shapes of a checkpoint under the names of the family's `expected_shapes`."""
    shapes = read_headers(files)
    renamed = getattr(cost_module(family), "original_names", dict)
    try:
        return dict(renamed(shapes))
    except ValueError as error:
        raise DescriptionError(f"{files_named(files)}: {error}") from None


def checked_config(family: str, place: Path, settings: Mapping[str, Any], files: tuple[Path, ...]) -> dict[str, Any]:
    """All fields of the configuration in `settings`, after the weights have been seen to fit it."""
    try:
        config = dict(cost_module(family).checked(settings))
    except (ValueError, TypeError) as error:
        raise DescriptionError(f"{place}: {error}") from None
    check_shapes(family, config, files)
    return config


def check_shapes(family: str, config: Mapping[str, Any], files: tuple[Path, ...]) -> None:
    """DescriptionError unless the tensors in `files` are exactly those of the configuration."""
    faults = shape_faults(original_shapes(family, files), cost_module(family).expected_shapes(config))
    if faults:
        raise DescriptionError(f"{files_named(files)}: the tensors do not fit the configuration; {faults}")


def files_named(files: tuple[Path, ...]) -> str:
    """The files, for an error."""
    return ", ".join(str(file) for file in files)
