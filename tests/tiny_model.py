"""A tiny image model, made at test time: a random Next-DiT and autoencoder in our folder format, the real text encoder.

Every parameter is random, so that gates and final layers, which training starts at zero, let something through.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch

from modalities.codecs.image_autoencoder import ImageAutoencoder, ImageAutoencoderConfig
from modalities.generators.nextdit.config import NextDiTConfig
from modalities.generators.nextdit.model import NextDiT
from modalities.generators.nextdit.weights import save_weights
from modalities.weights.checkpoint import write_model_json, write_tensors

TEXT_WIDTH = 704
"""Width of the built-in text encoder's tokens."""


def make_tiny_model(folder: Path, seed: int = 0) -> Path:
    """Write a model that makes 16 x 16 pictures from 4 tokens; answers its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    config = NextDiTConfig(
        learn_sigma=False,
        dim=32,
        layers=2,
        heads=2,
        kv_heads=1,
        multiple_of=16,
        cap_feat_dim=TEXT_WIDTH,
        trained_tokens=(2, 2),
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = NextDiT(config)
        codec_config = ImageAutoencoderConfig(width=(8, 8), encoder_blocks=(1, 1), decoder_blocks=(1, 1))
        codec = ImageAutoencoder(codec_config)
        randomise(model)
        codec.normalise_by(torch.rand(8, 3, 16, 16) * 2 - 1)
    save_weights(model, folder / "generator.safetensors")
    write_tensors(folder / "codec.safetensors", dict(codec.state_dict()))
    write_model_json(
        folder,
        {
            "format": "parhelion-model/1",
            "name": "tiny",
            "modality": "image",
            "generator": {"family": "nextdit", "config": config.to_mapping()},
            "codec": {"kind": "image-autoencoder", "config": codec_config.to_mapping()},
            "text_encoder": {"kind": "builtin"},
            "native_size": [16, 16],
        },
    )
    return folder


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
