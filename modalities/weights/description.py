"""What a model is, found in its folder without torch: family, sizes, parts, files. Planning reads only this.

A source is one of: `builtin/<name>`; a folder in our format (`model.json`); a folder written by diffusers'
`LuminaPipeline.save_pretrained` (`model_index.json`); a folder of original Lumina weights
(`consolidated*.safetensors`); or the id `org/name` of such a repository on the Hugging Face hub.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any

from modalities.catalog import CODECS, GENERATORS, MODALITIES, TEXT_ENCODERS, Entry, outside_entries
from modalities.generators.nextdit.config import SIZES, NextDiTConfig
from modalities.generators.nextdit.layouts import (
    config_from_shapes,
    expected_shapes,
    hints_from_diffusers,
    hints_from_original,
    to_original_shapes,
)
from modalities.weights.headers import (
    DescriptionError,
    file_hash,
    read_headers,
    read_json,
    refuse_pickle,
    shape_faults,
    tensor_files,
)

__all__ = ["DescriptionError", "ModelDescription", "builtin_models", "describe", "file_hash", "find_folder"]

FORMAT = "parhelion-model/1"
BUILTIN = Path(__file__).parent
OVERRIDES = ("codec", "defaults", "ema", "native_size", "text_encoder")
PIPELINES = ("LuminaPipeline", "LuminaText2ImgPipeline")
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
KNOWN_HUB_MODELS = ("Alpha-VLLM/Lumina-Next-SFT-diffusers", "Alpha-VLLM/Lumina-Next-SFT", "Alpha-VLLM/Lumina-Next-T2I")
HASHED_ENDINGS = (".safetensors", ".json", ".gz", ".model", ".txt")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDescription:
    """A model as planning sees it.

    source: as it was given. folder: where it lies; None for a hub id that is not on this machine yet.
    modality, family: names in `modalities.catalog`. generator_config: fields of the family's configuration.
    codec, text_encoder: what the catalog's `load` functions take; always with `kind`.
    native_size: the trained size in media units. defaults: fields of `GenerateOptions` that the model prefers.
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
    defaults: dict[str, Any] = field(default_factory=dict)
    parameters: int = 0
    files: tuple[Path, ...] = ()

    @property
    def stride(self) -> tuple[int, ...]:
        """Media units per latent cell of each axis, from the trained size in media units and in tokens."""
        config = NextDiTConfig.from_mapping(self.generator_config)
        cells = [n * p for n, p in zip(config.trained_tokens, config.patch, strict=True)]
        return tuple(size // n for size, n in zip(self.native_size, cells, strict=True))

    def weight_files(self) -> tuple[Path, ...]:
        """Every file that decides an output: generator, codec, text encoder and tokenizer, sorted."""
        places = [*self.files]
        for part in (self.codec, self.text_encoder):
            places += [Path(part[key]) for key in ("file", "folder", "source", "tokenizer") if key in part]
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
        for part in (self.codec, self.text_encoder):
            plain = {k: v for k, v in part.items() if not isinstance(v, str) or not Path(v).exists()}
            digest.update(f"{sorted(plain.items())}".encode())
        for path in self.weight_files():
            digest.update(f"{path.name} {file_hash(path)}\n".encode())
        return digest.hexdigest()


def describe(
    source: str | Path, overrides: Mapping[str, Any] | None = None, *, fetch: bool = False
) -> ModelDescription:
    """Find out what `source` is; DescriptionError says what is wrong and what was expected.

    overrides: what the workflow says beside the source: text_encoder and codec (mappings with `kind`), defaults,
    native_size, and ema (take the averaged weights of an original Lumina folder).
    fetch: download a hub id that is not on this machine; otherwise its description has no folder and no files.
    """
    given = dict(overrides or {})
    for key in given:
        if key not in OVERRIDES:
            raise DescriptionError(f"unknown model setting `{key}`; {_nearest(key, OVERRIDES)}")
    folder = find_folder(str(source), fetch=fetch)
    if folder is None:
        found = _absent(str(source), given)
    elif (folder / "model.json").is_file():
        found = _own_format(str(source), folder)
    elif (folder / "model_index.json").is_file():
        found = _pipeline(str(source), folder)
    elif any(folder.glob("consolidated*")):
        found = _original(str(source), folder, given)
    else:
        raise DescriptionError(
            f"{folder}: not a model folder; it has none of model.json, model_index.json, consolidated*.safetensors"
        )
    return _overridden(found, given)


def builtin_models() -> list[str]:
    """Sources of the models in the package."""
    return sorted(f"builtin/{path.parent.name}" for path in BUILTIN.glob("*/model.json"))


def find_folder(source: str, *, fetch: bool) -> Path | None:
    """The folder of a source; None for a hub id that is not on this machine and may not be fetched."""
    if source.startswith("builtin/"):
        folder = BUILTIN / source.removeprefix("builtin/")
        if not (folder / "model.json").is_file():
            raise DescriptionError(f"no built-in model `{source}`; {_nearest(source, builtin_models())}")
        return folder
    path = Path(source).expanduser()
    if path.is_dir():
        return path.resolve()
    if path.is_file():
        refuse_pickle(path)
        raise DescriptionError(f"{path}: a file; name the folder that holds the model")
    if not HUB_ID.fullmatch(source):
        raise DescriptionError(f"{source}: no such folder, and not a hub id (org/name); {_nearest(source, _known())}")
    cached = _cached(source)
    if cached is None and fetch:
        from huggingface_hub import snapshot_download

        patterns = ["*.json", "*.safetensors", "*.model", "*.txt"]
        cached = Path(snapshot_download(source, allow_patterns=patterns))
    return cached


def _cached(hub_id: str) -> Path | None:
    """The newest snapshot of a hub repository in the local cache, found without the hub's library."""
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    cache = Path(os.environ.get("HF_HUB_CACHE", home / "hub")).expanduser()
    repository = cache / f"models--{hub_id.replace('/', '--')}"
    reference = repository / "refs" / "main"
    if not reference.is_file():
        return None
    snapshot = repository / "snapshots" / reference.read_text().strip()
    return snapshot if snapshot.is_dir() else None


def _absent(source: str, given: Mapping[str, Any]) -> ModelDescription:
    """A hub id that is not here: the facts of a known one, nothing but its name otherwise."""
    text = {"kind": "huggingface", "source": source, "preset": "lumina-next"}
    codec = {"kind": "diffusers-vae", "source": source}
    config = SIZES["2B-GQA"].to_mapping() if source in KNOWN_HUB_MODELS else {}
    count = _count(SIZES["2B-GQA"]) if config else 0
    return ModelDescription(
        source=source,
        folder=None,
        modality="image",
        family="nextdit",
        generator_config=config,
        codec=dict(given.get("codec", codec)),
        text_encoder=dict(given.get("text_encoder", text)),
        native_size=(1024, 1024) if config else (),
        parameters=count,
    )


def _own_format(source: str, folder: Path) -> ModelDescription:
    place = folder / "model.json"
    values = read_json(place)
    if values.get("format") != FORMAT:
        raise DescriptionError(f"{place}: format is {values.get('format')!r}; this version reads {FORMAT!r}")
    try:
        modality, generator = str(values["modality"]), dict(values["generator"])
        codec, text = dict(values["codec"]), dict(values.get("text_encoder", {"kind": "builtin"}))
        family = str(generator["family"])
        native_size = tuple(int(n) for n in values["native_size"])
        settings = dict(generator["config"])
    except (KeyError, TypeError, ValueError) as error:
        raise DescriptionError(f"{place}: damaged or incomplete ({error!r})") from None
    _known_name("modality", modality, MODALITIES, place)
    _known_name("generator", family, GENERATORS, place)
    files = tensor_files(folder, "generator")
    config = _checked(place, settings, files)
    codec |= {"folder": str(folder), "file": str(folder / "codec.safetensors")}
    return ModelDescription(
        source=source,
        folder=folder,
        modality=modality,
        family=family,
        generator_config=config.to_mapping(),
        codec=codec,
        text_encoder=text,
        native_size=native_size,
        defaults=dict(values.get("defaults", {})),
        parameters=_count(config),
        files=files,
    )


def _checked(place: Path, settings: Mapping[str, Any], files: tuple[Path, ...]) -> NextDiTConfig:
    """The configuration in `settings`, after the weights have been seen to fit it."""
    try:
        config = NextDiTConfig.from_mapping(settings)
    except (ValueError, TypeError) as error:
        raise DescriptionError(f"{place}: {error}") from None
    _fit(config, files)
    return config


def _fit(config: NextDiTConfig, files: tuple[Path, ...]) -> None:
    faults = shape_faults(_original_shapes(files), expected_shapes(config))
    if faults:
        raise DescriptionError(f"{_names(files)}: the tensors do not fit the configuration; {faults}")


def _original_shapes(files: tuple[Path, ...]) -> dict[str, tuple[int, ...]]:
    try:
        return to_original_shapes(read_headers(files))
    except DescriptionError:
        raise
    except ValueError as error:
        raise DescriptionError(f"{_names(files)}: {error}") from None


def _pipeline(source: str, folder: Path) -> ModelDescription:
    """A folder written by `LuminaPipeline.save_pretrained`."""
    index = read_json(folder / "model_index.json")
    name = str(index.get("_class_name"))
    if name not in PIPELINES:
        raise DescriptionError(
            f"{folder}: holds a {name}; of diffusers' pipelines, {' and '.join(PIPELINES)} can be used"
        )
    for part in ("transformer", "vae", "text_encoder", "tokenizer"):
        if not (folder / part).is_dir():
            raise DescriptionError(f"{folder}: has no folder `{part}`")
    files = tensor_files(folder / "transformer", "diffusion_pytorch_model")
    config = _foreign_config(folder / "transformer" / "config.json", files, diffusers=True)
    vae = read_json(folder / "vae" / "config.json")
    stride = 2 ** (len(vae.get("block_out_channels", (0,) * 4)) - 1)
    if vae.get("latent_channels", config.in_channels) != config.in_channels:
        raise DescriptionError(
            f"{folder}: the vae has {vae['latent_channels']} latent channels, the transformer {config.in_channels}"
        )
    text = {
        "kind": "huggingface",
        "source": str(folder / "text_encoder"),
        "tokenizer": str(folder / "tokenizer"),
        "preset": "lumina-next",
    }
    return ModelDescription(
        source=source,
        folder=folder,
        modality="image",
        family="nextdit",
        generator_config=config.to_mapping(),
        codec={"kind": "diffusers-vae", "folder": str(folder / "vae"), "config": vae},
        text_encoder=text,
        native_size=tuple(n * p * stride for n, p in zip(config.trained_tokens, config.patch, strict=True)),
        parameters=_count(config),
        files=files,
    )


def _original(source: str, folder: Path, given: Mapping[str, Any]) -> ModelDescription:
    """A folder of original Lumina weights, which hold no text encoder and no codec."""
    stem = "consolidated_ema" if given.get("ema") else "consolidated"
    parts = sorted(folder.glob(f"{stem}.*-of-*.safetensors")) or sorted(folder.glob(f"{stem}.safetensors"))
    if not parts:
        pickles = sorted(folder.glob(f"{stem}*.pth"))
        if pickles:
            raise DescriptionError(
                f"{pickles[0]}: a pickled checkpoint can run any code when it is read, so it is refused; convert it to "
                "safetensors (the configuration is read from the tensors: model_args.pth is not needed)"
            )
        raise DescriptionError(f"{folder}: no {stem}*.safetensors")
    if len(parts) > 1:
        raise DescriptionError(f"{folder}: weights split for {len(parts)} GPUs; merge them into one file first")
    for key, example in (
        ("text_encoder", "{kind: huggingface, source: google/gemma-2b, preset: lumina-next}"),
        ("codec", "{kind: diffusers-vae, source: stabilityai/sdxl-vae}"),
    ):
        if key not in given:
            raise DescriptionError(f"{folder}: original weights hold no {key.replace('_', ' ')}; add {key}: {example}")
    files = tuple(parts)
    config = _foreign_config(folder / "config.json", files, diffusers=False)
    return ModelDescription(
        source=source,
        folder=folder,
        modality="image",
        family="nextdit",
        generator_config=config.to_mapping(),
        codec=dict(given["codec"]),
        text_encoder=dict(given["text_encoder"]),
        native_size=tuple(n * p * 8 for n, p in zip(config.trained_tokens, config.patch, strict=True)),
        parameters=_count(config),
        files=files,
    )


def _foreign_config(place: Path, files: tuple[Path, ...], *, diffusers: bool) -> NextDiTConfig:
    """The configuration from the tensors' shapes, with a config.json for what they cannot tell, if it can be read.

    A released config.json is not valid JSON, so one that cannot be read is passed over: shapes say nearly everything.
    """
    shapes = _original_shapes(files)
    try:
        values = read_json(place)
    except DescriptionError:
        values = {}
    try:
        hints = hints_from_diffusers(values) if diffusers else hints_from_original(values)
        config = config_from_shapes(shapes, hints)
    except (ValueError, TypeError, ZeroDivisionError) as error:
        raise DescriptionError(f"{_names(files)}: {error}") from None
    told = config.to_mapping()
    for key in ("dim", "layers", "heads", "kv_heads", "cap_feat_dim", "qk_norm", "learn_sigma"):
        if key in hints and hints[key] != told[key]:
            raise DescriptionError(f"{place}: says {key} {hints[key]}, but the tensors have {told[key]}")
    _fit(config, files)
    return config


def _overridden(found: ModelDescription, given: Mapping[str, Any]) -> ModelDescription:
    changes: dict[str, Any] = {}
    tables = {"text_encoder": ("text encoder", TEXT_ENCODERS), "codec": ("codec", CODECS)}
    for key, (table, entries) in tables.items():
        if key in given:
            if not isinstance(given[key], Mapping) or "kind" not in given[key]:
                raise DescriptionError(
                    f"{key} should be a mapping with `kind`; known kinds: {', '.join(sorted(entries))}"
                )
            _known_name(table, str(given[key]["kind"]), entries, Path(found.source))
            changes[key] = dict(given[key])
    if "native_size" in given:
        changes["native_size"] = tuple(int(n) for n in given["native_size"])
    if "defaults" in given:
        changes["defaults"] = found.defaults | dict(given["defaults"])
    return replace(found, **changes)


def _known_name(table: str, name: str, entries: Mapping[str, Entry], place: Path) -> None:
    known = {**entries, **outside_entries(table)}
    if name not in known:
        raise DescriptionError(f"{place}: unknown {table} `{name}`; {_nearest(name, known)}")


def _nearest(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    return (f"did you mean `{close[0]}`? " if close else "") + f"known: {', '.join(names) or 'none'}"


def _known() -> list[str]:
    return [*builtin_models(), *KNOWN_HUB_MODELS]


def _count(config: NextDiTConfig) -> int:
    return sum(prod(shape) for shape in expected_shapes(config).values())


def _names(files: tuple[Path, ...]) -> str:
    return ", ".join(str(file) for file in files)
