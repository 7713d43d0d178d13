"""Tiny models of every modality, made at test time: random Next-DiTs and codecs in our folder format, the real text
encoder.

Every parameter is random, so that gates and final layers, which training starts at zero, let something through.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from modalities.codecs.image_autoencoder import ImageAutoencoder, ImageAutoencoderConfig
from modalities.generators.nextdit.config import NextDiTConfig
from modalities.generators.nextdit.model import NextDiT
from modalities.generators.nextdit.weights import save_weights
from modalities.weights.checkpoint import write_model_json, write_tensors

TEXT_WIDTH = 704
"""Width of the built-in text encoder's tokens."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a tiny model of a modality is. size: the trained one, in media units."""

    model: Mapping[str, Any]
    codec: Mapping[str, Any]
    size: tuple[int, ...]
    frames_of_pictures: bool = field(default=False)


PICTURES = {"kind": "per-frame", "of": "./picture"}
SHAPES: dict[str, Shape] = {
    "image": Shape({"trained_tokens": (2, 2)}, {"kind": "image-autoencoder"}, (16, 16)),
    "video": Shape({"patch": (2, 2, 2), "trained_tokens": (2, 2, 2)}, PICTURES, (4, 16, 16), True),
    "multi-view": Shape({"patch": (1, 2, 2), "trained_tokens": (4, 2, 2)}, PICTURES, (4, 16, 16), True),
    "audio": Shape(
        {"patch": (2,), "trained_tokens": (8,), "in_channels": 80},
        {"kind": "mel-griffin-lim", "config": {"steps": 2, "inversion_steps": 2}},
        (4096,),
    ),
    "point-cloud": Shape(
        {"patch": (1,), "trained_tokens": (32,), "in_channels": 6, "unordered": True, "coordinates": 3},
        {"kind": "points"},
        (32,),
    ),
}


def make_tiny_model(folder: Path, seed: int = 0, modality: str = "image") -> Path:
    """Write a model of a modality; answers its folder. Images are 16 x 16 pixels and 4 tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    shape = SHAPES[modality]
    config = NextDiTConfig(
        learn_sigma=False,
        dim=32,
        layers=2,
        heads=2,
        kv_heads=1,
        multiple_of=16,
        cap_feat_dim=TEXT_WIDTH,
        **shape.model,
    )
    if shape.frames_of_pictures:
        make_tiny_model(folder / "picture", seed)
    codec = dict(shape.codec)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = NextDiT(config)
        if modality == "image":
            codec["config"] = _write_picture_codec(folder, model)
        else:
            randomise(model)
    save_weights(model, folder / "generator.safetensors")
    write_model_json(
        folder,
        {
            "format": "parhelion-model/1",
            "name": "tiny",
            "modality": modality,
            "generator": {"family": "nextdit", "config": config.to_mapping()},
            "codec": codec,
            "text_encoder": {"kind": "builtin"},
            "native_size": list(shape.size),
        },
    )
    return folder


def _write_picture_codec(folder: Path, model: NextDiT) -> dict[str, Any]:
    config = ImageAutoencoderConfig(width=(8, 8), encoder_blocks=(1, 1), decoder_blocks=(1, 1))
    codec = ImageAutoencoder(config)
    randomise(model)
    codec.normalise_by(torch.rand(8, 3, 16, 16) * 2 - 1)
    write_tensors(folder / "codec.safetensors", dict(codec.state_dict()))
    return config.to_mapping()


def randomise(module: torch.nn.Module) -> None:
    """Give every parameter random values of a size that keeps activations near one."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=1 / math.sqrt(parameter[0].numel()))
            elif name.endswith("weight"):
                parameter.uniform_(0.8, 1.2)
            else:
                parameter.normal_(std=0.1)
