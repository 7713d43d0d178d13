"""What a model is, found in its folder without torch: family, sizes, parts, files. Planning reads only this.

A source is one of: `builtin/<name>`; a folder in our format (`model.json`); a folder written by diffusers'
`LuminaPipeline.save_pretrained` (`model_index.json`); a folder of original Lumina weights
(`consolidated*.safetensors`); or the id `org/name` of such a repository on the Hugging Face hub.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from modalities.catalog import CODECS, GENERATORS, MODALITIES, TEXT_ENCODERS, Entry, outside_entries
from modalities.weights import lumina_folders
from modalities.weights.described import ModelDescription, checked_config, codec_lead, cost_module, nearest_length
from modalities.weights.headers import DescriptionError, file_hash, read_json, tensor_files
from modalities.weights.sources import builtin_models, find_folder, nearest

__all__ = [
    "DescriptionError",
    "ModelDescription",
    "builtin_models",
    "describe",
    "file_hash",
    "find_folder",
    "nearest_length",
]

FORMAT = "parhelion-model/1"
OVERRIDES = ("codec", "defaults", "ema", "modality", "native_size", "text_encoder")


def describe(
    source: str | Path, overrides: Mapping[str, Any] | None = None, *, fetch: bool = False
) -> ModelDescription:
    """Find out what `source` is; DescriptionError says what is wrong and what was expected.

    overrides: what the workflow says beside the source: text_encoder and codec (mappings with `kind`), defaults,
    native_size, modality (another kind of media with the same axes and channels, such as music from a model of
    sounds), and ema (take the averaged weights of an original Lumina folder).
    fetch: download a hub id that is not on this machine; otherwise its description has no folder and no files.
    """
    return _describe(str(source), dict(overrides or {}), fetch, ())


def resolved_codec(spec: Mapping[str, Any], folder: Path | None = None, seen: tuple[str, ...] = ()) -> dict[str, Any]:
    """A codec's mapping with its weights found, and `of: <model>` followed to that model's codec, under `codec`.

    folder: the model folder that the mapping stands in, where its weights lie in `codec.safetensors`.
    seen: models that are being described already, which a codec may not be of.
    """
    if "kind" not in spec:
        raise DescriptionError(f"a codec inside another should be a mapping with `kind`; got {dict(spec)}")
    kind, found = str(spec["kind"]), dict(spec)
    if folder is not None:
        found["folder"] = str(folder)
        if (CODECS[kind].facts if kind in CODECS else {}).get("weights"):
            file = folder / "codec.safetensors"
            if not file.is_file():
                raise DescriptionError(f"{folder}: has no codec.safetensors, the weights of its codec `{kind}`")
            found["file"] = str(file)
    if "of" in spec:
        other = str(spec["of"])
        source = str((folder / other).resolve()) if folder is not None and other.startswith(".") else other
        if source in seen:
            raise DescriptionError(f"codec of {source}: a model whose codec is of itself has none")
        found["codec"] = _describe(source, {}, False, seen).codec
    elif isinstance(spec.get("codec"), Mapping):
        found["codec"] = resolved_codec(spec["codec"], folder, seen)
    return found


def _describe(source: str, given: dict[str, Any], fetch: bool, seen: tuple[str, ...]) -> ModelDescription:
    for key in given:
        if key not in OVERRIDES:
            raise DescriptionError(f"unknown model setting `{key}`; {nearest(key, OVERRIDES)}")
    folder = find_folder(source, fetch=fetch)
    if folder is None:
        found = lumina_folders.absent(source, given)
    elif (folder / "model.json").is_file():
        found = _own_format(source, folder, (*seen, source, str(folder)))
    elif (folder / "model_index.json").is_file():
        found = lumina_folders.pipeline(source, folder)
    elif any(folder.glob("consolidated*")):
        found = lumina_folders.original(source, folder, given)
    else:
        raise DescriptionError(
            f"{folder}: not a model folder; it has none of model.json, model_index.json, consolidated*.safetensors"
        )
    return _overridden(found, given)


def _own_format(source: str, folder: Path, seen: tuple[str, ...]) -> ModelDescription:
    place = folder / "model.json"
    values = read_json(place)
    if values.get("format") != FORMAT:
        raise DescriptionError(f"{place}: format is {values.get('format')!r}; this version reads {FORMAT!r}")
    try:
        modality, generator = str(values["modality"]), dict(values["generator"])
        codec, text = dict(values["codec"]), dict(values.get("text_encoder", {"kind": "builtin"}))
        family, kind = str(generator["family"]), str(codec["kind"])
        native_size = tuple(int(n) for n in values["native_size"])
        settings = dict(generator["config"])
        defaults = dict(values.get("defaults", {}))
    except (KeyError, TypeError, ValueError) as error:
        raise DescriptionError(f"{place}: damaged or incomplete ({error!r})") from None
    _known_name("modality", modality, MODALITIES, place)
    _known_name("generator", family, GENERATORS, place)
    _known_name("codec", kind, CODECS, place)
    if text.get("kind") == "class-names":
        text.setdefault("file", "./classes.json")
    files = tensor_files(folder, "generator")
    config = checked_config(family, place, settings, files)
    cost = cost_module(family)
    cells = tuple(cost.trained_cells(config))
    lead = codec_lead(kind, len(native_size))
    if len(native_size) != len(cells) or any(
        n <= first or c <= first or (n - first) % (c - first)
        for n, c, first in zip(native_size, cells, lead, strict=True)
    ):
        raise DescriptionError(f"{place}: native_size {list(native_size)} is no multiple of the {list(cells)} cells")
    return ModelDescription(
        source=source,
        folder=folder,
        modality=modality,
        family=family,
        generator_config=config,
        codec=resolved_codec(codec, folder, seen),
        text_encoder={key: _in_folder(value, folder) for key, value in text.items()},
        native_size=native_size,
        defaults=modality_defaults(modality) | defaults,
        parameters=cost.parameters(config),
        files=files,
    )


def _in_folder(value: Any, folder: Path) -> Any:
    """A path that begins with `./` is one in the model's folder; anything else stays."""
    return str(folder / value.removeprefix("./")) if isinstance(value, str) and value.startswith("./") else value


def modality_defaults(modality: str) -> dict[str, Any]:
    """Fields of `GenerateOptions` in which a modality differs from the general ones, as a model's `defaults` are."""
    facts = MODALITIES[modality].facts
    found: dict[str, Any] = {key: facts[key] for key in ("steps", "schedule") if key in facts}
    if "guidance" in facts:
        found["guidance"] = {"scale": facts["guidance"]}
    extrapolation = {key: facts[key] for key in ("method", "proportional_attention") if key in facts}
    return found | ({"extrapolation": extrapolation} if extrapolation else {})


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
    if "codec" in changes:
        changes["codec"] = resolved_codec(changes["codec"])
    if "native_size" in given:
        changes["native_size"] = changes["default_size"] = tuple(int(n) for n in given["native_size"])
    if "modality" in given and given["modality"] != found.modality:
        changes |= _as_modality(found, str(given["modality"]))
    if "defaults" in given:
        changes["defaults"] = changes.get("defaults", found.defaults) | dict(given["defaults"])
    return replace(found, **changes)


def _as_modality(found: ModelDescription, modality: str) -> dict[str, Any]:
    """What changes when a model makes another kind of media: its name, the size that is made, and the defaults.

    The new modality decides how hard to guide; where the model has a default of its own for the rest, that stays.
    """
    _known_name("modality", modality, MODALITIES, Path(found.source))
    facts, own = MODALITIES[modality].facts, MODALITIES[found.modality].facts
    axes = [str(side["axes"]).split() for side in (own, facts)]
    if len(axes[0]) != len(axes[1]) or own["channels"] != facts["channels"]:
        raise DescriptionError(
            f"{found.source} makes {found.modality} ({', '.join(axes[0])}; {own['channels']} channels), which cannot "
            f"be taken for {modality} ({', '.join(axes[1])}; {facts['channels']} channels)"
        )
    asked = modality_defaults(modality)
    harder = {key: asked[key] for key in ("guidance",) if key in asked}
    changes: dict[str, Any] = {"modality": modality, "defaults": asked | found.defaults | harder}
    if found.generator_config:
        sizes = [int(n) for n in str(facts["default"]).split()]
        changes["default_size"] = tuple(map(nearest_length, sizes, found.units, found.offset))
    return changes


def _known_name(table: str, name: str, entries: Mapping[str, Entry], place: Path) -> None:
    known = {**entries, **outside_entries(table)}
    if name not in known:
        raise DescriptionError(f"{place}: unknown {table} `{name}`; {nearest(name, known)}")
