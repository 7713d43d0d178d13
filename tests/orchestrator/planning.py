"""A good workflow and a model folder for it: real configuration and real files, written without torch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy
from safetensors.numpy import save_file

from modalities.generators.nextdit.config import NextDiTConfig
from modalities.generators.nextdit.layouts import expected_shapes

GOOD = """\
name: hello
prompts:
  - a red apple
  - 赤いりんご
models:
  image: ./tiny
steps:
  text:   {stage: encode}
  small:  {stage: generate, from: text, size: [64, 64]}
  pixels: {stage: decode, from: small}
  files:  {stage: export, from: pixels, format: png}
"""


SHAPES = {
    "image": {"trained_tokens": (8, 8)},
    "video": {"patch": (2, 2, 2), "trained_tokens": (6, 8, 8)},
    "multi-view": {"patch": (1, 2, 2), "trained_tokens": (8, 8, 8)},
    "audio": {"patch": (2,), "trained_tokens": (63,), "in_channels": 80},
    "point-cloud": {"patch": (1,), "trained_tokens": (256,), "in_channels": 6, "unordered": True, "coordinates": 3},
}
"""What a tiny model of each modality is."""
SIZES = {
    "image": (64, 64),
    "video": (12, 64, 64),
    "multi-view": (8, 64, 64),
    "audio": (32_256,),
    "point-cloud": (256,),
}
"""The size that it was trained at: pictures are multiples of 8, frames of 2, sounds of 512 samples."""


def write_model(
    folder: Path,
    *,
    modality: str = "image",
    text_encoder=None,
    native_size=None,
    defaults=None,
    value: float = 0.0,
) -> Path:
    """A Next-DiT of a modality. Images: patch 2 under a codec of stride 4, so that sizes are multiples of 8."""
    folder.mkdir(parents=True, exist_ok=True)
    config = NextDiTConfig(
        learn_sigma=False, dim=32, layers=2, heads=2, kv_heads=1, multiple_of=16, cap_feat_dim=32, **SHAPES[modality]
    )
    tensors = {name: numpy.full(shape, value, numpy.float32) for name, shape in expected_shapes(config).items()}
    save_file(tensors, folder / "generator.safetensors")
    save_file({"x": numpy.zeros((2, 2), numpy.float32)}, folder / "codec.safetensors")
    description = {
        "format": "parhelion-model/1",
        "name": folder.name,
        "modality": modality,
        "generator": {"family": "nextdit", "config": config.to_mapping()},
        "codec": {"kind": "image-autoencoder", "config": {}},
        "text_encoder": text_encoder or {"kind": "builtin"},
        "native_size": list(native_size or SIZES[modality]),
        "defaults": defaults or {},
    }
    (folder / "model.json").write_text(json.dumps(description))
    return folder
