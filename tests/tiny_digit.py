"""A tiny DiGIT with random weights, told by the real text encoder, as a model folder."""

from __future__ import annotations

from pathlib import Path

import torch

from modalities.generators.digit.config import DiGITConfig, StageConfig
from modalities.generators.digit.model import DiGIT
from modalities.weights.checkpoint import write_model_json, write_tensors
from modalities.weights.headers import read_json
from tests.tiny_model import TEXT_WIDTH, make_tiny_model, randomise

CODES = 9


def make_tiny_digit(folder: Path, seed: int = 0) -> Path:
    """Write a model of 16 x 16 pixels, 4 tokens and 16 codes; answers its folder."""
    make_tiny_model(folder, seed)
    make_tiny_model(folder / "picture", seed)
    config = DiGITConfig(
        clusters=7,
        grid=(2, 2),
        codes=CODES,
        code_grid=(4, 4),
        text_width=TEXT_WIDTH,
        text_tokens=8,
        semantic=StageConfig(dim=16, layers=1, heads=2, ffn=16, positions=5),
        decoder=StageConfig(dim=16, layers=1, heads=2, ffn=16, positions=17),
        decoder_order="masked",
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = DiGIT(config)
        randomise(model)
        codebook = torch.randn(CODES, 4)
    write_tensors(folder / "generator.safetensors", model.state_dict())
    write_tensors(folder / "codec.safetensors", {"codebook": codebook})
    values = {key: value for key, value in read_json(folder / "model.json").items() if key != "format"}
    values["generator"] = {"family": "digit", "config": config.to_mapping()}
    values["codec"] = {"kind": "quantized-latents", "of": "./picture", "config": {"codes": CODES}}
    values["defaults"] = {"sampler": {"name": "autoregressive", "decoder_steps": 2}, "guidance": {"scale": 2.0}}
    write_model_json(folder, values)
    return folder
