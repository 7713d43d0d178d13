"""A tiny MAR with random weights, told by the real text encoder, as a model folder."""

from __future__ import annotations

from pathlib import Path

import torch

from modalities.generators.mar.config import MARConfig
from modalities.generators.mar.model import MAR
from modalities.weights.checkpoint import write_model_json, write_tensors
from modalities.weights.headers import read_json
from tests.tiny_model import TEXT_WIDTH, make_tiny_model, randomise


def make_tiny_mar(folder: Path, seed: int = 0) -> Path:
    """Write a model of 16 x 16 pixels and 4 tokens; answers its folder."""
    make_tiny_model(folder, seed)
    config = MARConfig(
        patch=(2, 2),
        in_channels=4,
        trained_tokens=(2, 2),
        dim=16,
        layers=1,
        heads=2,
        decoder_dim=16,
        decoder_layers=1,
        decoder_heads=2,
        buffer=3,
        classes=0,
        cap_feat_dim=TEXT_WIDTH,
        head_dim=16,
        head_layers=1,
        bound=3.0,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = MAR(config)
        randomise(model)
    write_tensors(folder / "generator.safetensors", model.state_dict())
    values = {key: value for key, value in read_json(folder / "model.json").items() if key != "format"}
    generator = {"family": "mar", "config": config.to_mapping()}
    defaults = {"sampler": "masked-autoregressive", "sampler_options": {"head_steps": 3}, "steps": 2}
    write_model_json(folder, {**values, "generator": generator, "defaults": defaults})
    return folder
