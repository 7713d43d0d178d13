"""The files of Lumina-T2Music and Lumina-T2Audio as a model folder: generator, codec, vocoder, CLAP's text encoder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modalities.codecs.vae1d import VAE1DConfig
from modalities.codecs.vae1d import expected_shapes as vae_shapes
from modalities.contracts import CheckpointError
from modalities.generators.flagdit.config import config_from_shapes, expected_shapes
from modalities.weights.convert_layouts import CLAP, Part
from modalities.weights.convert_values import PickledTensor
from modalities.weights.convert_vocoder import vocoder_config
from modalities.weights.convert_writing import Chosen, Found, write_chosen
from modalities.weights.headers import shape_faults

HOP = 256
"""Samples of one mel frame."""
FLAN = "google/flan-t5-large"
T5 = "google/t5-v1_1-large"
RELEASED: dict[str, dict[str, Any]] = {
    "lumina-music": {"modality": "music", "steps": 39, "scale": 5.0},
    "lumina-audio": {"modality": "audio", "steps": 99, "scale": 3.0},
}
"""Settings of the released demos, which count the points of the time grid: 40 and 100."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The files: the training checkpoint, and the autoencoder and the vocoder where they are files of their own."""

    main: Found
    codec: Found | None
    vocoder: Found | None


def kind_of(part: Part) -> str | None:
    """Which of the two models a training checkpoint is, told by its text encoder; None without one."""
    names = part.groups["text"]
    if any(name.startswith(CLAP) for name in names):
        return "lumina-audio"
    return "lumina-music" if names else None


def write(parts: Parts, folder: Path, kind: str, text_encoder: str) -> dict[str, Any]:
    """Write the safetensors files; answers the values of `model.json`. CheckpointError names what does not fit."""
    main = parts.main
    shapes = _shapes(main.part.tensors)
    try:
        config = config_from_shapes(shapes)
    except ValueError as error:
        raise CheckpointError(f"{main.checkpoint.path}: {error}") from None
    _fit(main, shapes, expected_shapes(config), "transformer")
    write_chosen(folder / "generator.safetensors", main.chosen(main.part.tensors))
    codec = _write_codec(parts, folder)
    if parts.vocoder is not None:
        write_chosen(folder / "vocoder.safetensors", parts.vocoder.chosen(parts.vocoder.part.tensors))
        codec["vocoder"] = {"kind": "bigvgan", "config": vocoder_config(parts.vocoder)}
    facts = RELEASED[kind]
    frames = VAE1DConfig.from_mapping(codec["config"]).frames
    return {
        "name": kind,
        "modality": facts["modality"],
        "generator": {"family": "flagdit", "config": config.to_mapping()},
        "codec": codec,
        "text_encoder": _write_text(parts.main, folder, kind, text_encoder),
        "native_size": [config.trained_tokens[0] * frames * HOP],
        "defaults": {
            "sampler": "euler",
            "steps": facts["steps"],
            "schedule": "uniform",
            "guidance": {"scale": facts["scale"]},
        },
    }


def _write_codec(parts: Parts, folder: Path) -> dict[str, Any]:
    """The autoencoder, from the training checkpoint or else from a file of its own, with the checkpoint's scale."""
    owner, tensors = parts.main, parts.main.part.groups["codec"]
    if not tensors:
        if parts.codec is None:
            raise CheckpointError(
                f"{parts.main.checkpoint.path}: holds no autoencoder (first_stage_model.*), and no file of one lies "
                "beside it; convert the folder that also holds maa2.ckpt"
            )
        owner, tensors = parts.codec, parts.codec.part.tensors
    scale = parts.main.part.groups["scale"]
    if not scale:
        raise CheckpointError(
            f"{parts.main.checkpoint.path}: holds no scale_factor, without which latents mean nothing"
        )
    chosen: Chosen = owner.chosen(tensors) | parts.main.chosen(scale)
    shapes = _shapes({name: tensor for name, (_, tensor) in chosen.items()})
    config = _vae_config(owner, shapes)
    _fit(owner, shapes, vae_shapes(config), "autoencoder")
    write_chosen(folder / "codec.safetensors", chosen)
    return {"kind": "vae1d", "config": config.to_mapping()}


def _vae_config(owner: Found, shapes: Mapping[str, tuple[int, ...]]) -> VAE1DConfig:
    """The configuration of an autoencoder from its shapes; the groups of its norms leave no trace in them."""
    try:
        width, mels, kernel = shapes["encoder.conv_in.weight"]
        channels, embed, _ = shapes["post_quant_conv.weight"]
        levels = 1 + max(int(name.split(".")[2]) for name in shapes if name.startswith("encoder.down."))
        firsts = [shapes[f"encoder.down.{i}.block.0.conv1.weight"][0] for i in range(levels)]
        halved = [i for i in range(levels) if f"encoder.down.{i}.downsample.conv.weight" in shapes]
        blocks = sum(bool(re.fullmatch(r"encoder\.down\.0\.block\.\d+\.conv1\.weight", name)) for name in shapes)
        return VAE1DConfig(
            mels=mels,
            channels=channels,
            embed=embed,
            width=width,
            multipliers=tuple(n // width for n in firsts),
            blocks=blocks,
            kernel=kernel,
            halved=tuple(halved),
        )
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"{owner.checkpoint.path}: no autoencoder of the Lumina audio line ({error})") from None


def _write_text(main: Found, folder: Path, kind: str, text_encoder: str) -> dict[str, Any]:
    """What `model.json` says of the text encoder; CLAP's weights, which no hub has in this form, come along."""
    if kind == "lumina-music":
        return {"kind": "huggingface", "source": text_encoder or FLAN, "preset": "lumina-music"}
    clap = main.part.groups["clap"]
    if not clap:
        raise CheckpointError(f"{main.checkpoint.path}: holds no text encoder of CLAP (cond_stage_model.{CLAP}*)")
    write_chosen(folder / "text.safetensors", main.chosen(clap))
    return {"kind": "lumina-audio", "file": "./text.safetensors", "source": text_encoder or T5}


def _shapes(tensors: Mapping[str, PickledTensor]) -> dict[str, tuple[int, ...]]:
    return {name: tensor.shape for name, tensor in tensors.items()}


def _fit(owner: Found, found: Mapping[str, tuple[int, ...]], wanted: Mapping[str, tuple[int, ...]], what: str) -> None:
    faults = shape_faults(found, wanted)
    if faults:
        raise CheckpointError(f"{owner.checkpoint.path}: the tensors of its {what} do not fit together; {faults}")
