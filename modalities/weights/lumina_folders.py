"""Folders of Lumina-Next weights that others wrote: diffusers' `LuminaPipeline`, and the original files. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modalities.generators.nextdit import cost
from modalities.generators.nextdit.config import SIZES, NextDiTConfig
from modalities.generators.nextdit.layouts import config_from_shapes, hints_from_diffusers, hints_from_original
from modalities.weights.described import ModelDescription, check_shapes, files_named, original_shapes
from modalities.weights.headers import DescriptionError, read_json, tensor_files
from modalities.weights.sources import KNOWN_HUB_MODELS

PIPELINES = ("LuminaPipeline", "LuminaText2ImgPipeline")
FAMILY = "nextdit"


def absent(source: str, given: Mapping[str, Any]) -> ModelDescription:
    """A hub id that is not here: the facts of a known one, nothing but its name otherwise."""
    text = {"kind": "huggingface", "source": source, "preset": "lumina-next"}
    codec = {"kind": "diffusers-vae", "source": source}
    config = SIZES["2B-GQA"].to_mapping() if source in KNOWN_HUB_MODELS else {}
    count = cost.parameters(config) if config else 0
    return ModelDescription(
        source=source,
        folder=None,
        modality="image",
        family=FAMILY,
        generator_config=config,
        codec=dict(given.get("codec", codec)),
        text_encoder=dict(given.get("text_encoder", text)),
        native_size=(1024, 1024) if config else (),
        parameters=count,
    )


def pipeline(source: str, folder: Path) -> ModelDescription:
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
        family=FAMILY,
        generator_config=config.to_mapping(),
        codec={"kind": "diffusers-vae", "folder": str(folder / "vae"), "config": vae},
        text_encoder=text,
        native_size=tuple(n * p * stride for n, p in zip(config.trained_tokens, config.patch, strict=True)),
        parameters=cost.parameters(config.to_mapping()),
        files=files,
    )


def original(source: str, folder: Path, given: Mapping[str, Any]) -> ModelDescription:
    """A folder of original Lumina weights, which hold no text encoder and no codec."""
    stem = "consolidated_ema" if given.get("ema") else "consolidated"
    parts = sorted(folder.glob(f"{stem}.*-of-*.safetensors")) or sorted(folder.glob(f"{stem}.safetensors"))
    if not parts:
        pickles = sorted(folder.glob(f"{stem}*.pth"))
        if pickles:
            raise DescriptionError(
                f"{pickles[0]}: a pickled checkpoint can run any code when it is read, so it is refused; convert it to "
                f"safetensors: parhelion convert {folder} FOLDER (the configuration is read from the tensors: "
                "model_args.pth is not needed)"
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
        family=FAMILY,
        generator_config=config.to_mapping(),
        codec=dict(given["codec"]),
        text_encoder=dict(given["text_encoder"]),
        native_size=tuple(n * p * 8 for n, p in zip(config.trained_tokens, config.patch, strict=True)),
        parameters=cost.parameters(config.to_mapping()),
        files=files,
    )


def _foreign_config(place: Path, files: tuple[Path, ...], *, diffusers: bool) -> NextDiTConfig:
    """The configuration from the tensors' shapes, with a config.json for what they cannot tell, if it can be read.

    A released config.json is not valid JSON, so one that cannot be read is passed over: shapes say nearly everything.
    """
    shapes = original_shapes(FAMILY, files)
    try:
        values = read_json(place)
    except DescriptionError:
        values = {}
    try:
        hints = hints_from_diffusers(values) if diffusers else hints_from_original(values)
        config = config_from_shapes(shapes, hints)
    except (ValueError, TypeError, ZeroDivisionError) as error:
        raise DescriptionError(f"{files_named(files)}: {error}") from None
    told = config.to_mapping()
    for key in ("dim", "layers", "heads", "kv_heads", "cap_feat_dim", "qk_norm", "learn_sigma"):
        if key in hints and hints[key] != told[key]:
            raise DescriptionError(f"{place}: says {key} {hints[key]}, but the tensors have {told[key]}")
    check_shapes(FAMILY, told, files)
    return config
