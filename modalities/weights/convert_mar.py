"""The files of MAR as a model folder: the network, its KL-16 autoencoder and the names of its classes.

Published as pickles (`checkpoint-last.pth` with `model` and `model_ema`, `kl16.ckpt`) and, by others, as safetensors
under the same names of tensors.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modalities.contracts import CheckpointError
from modalities.generators.mar.config import SIZES, MARConfig, config_from_shapes, expected_shapes
from modalities.weights.convert_writing import Found, write_chosen
from modalities.weights.headers import DescriptionError, read_header, shape_faults
from modalities.weights.sources import BUILTIN

CLASSES = BUILTIN / "imagenet" / "classes.json"
SCALE = 0.2325
"""1 / standard deviation of the latents of KL-16 over ImageNet, which MAR was trained with."""
GUIDANCE = {"base": 2.9, "large": 3.0, "huge": 3.2}
"""Of the published figures (linear schedule)."""
LAST_WEIGHTS = "mar-base.safetensors"
"""A file of the hub that holds what `model`, not `model_ema`, holds in the published checkpoint."""

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The files, pickled: the network and the autoencoder."""

    network: Found
    codec: Found | None


def write(parts: Parts, folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Write the safetensors files and the classes; answers the values of `model.json` and lines on what was chosen."""
    network, codec = parts.network, parts.codec
    if codec is None:
        raise CheckpointError(
            f"{network.checkpoint.path}: a MAR needs its autoencoder; convert a folder that also holds kl16.ckpt"
        )
    config = _config({name: each.shape for name, each in network.part.tensors.items()}, network.checkpoint.path)
    vae = vae_config({name: each.shape for name, each in codec.part.tensors.items()}, codec.checkpoint.path)
    write_chosen(folder / "generator.safetensors", network.chosen(network.part.tensors))
    write_chosen(folder / "codec.safetensors", codec.chosen(codec.part.tensors))
    averaged = any("took `model_ema`" in note for note in network.part.notes)
    lines = [] if averaged else [f"{network.checkpoint.path.name}: the last weights; published figures are of averages"]
    return _values(config, vae, folder), lines


def released(source: Path) -> tuple[Path, Path] | None:
    """The network and the autoencoder where a source is the safetensors of the hub; None where it is not."""
    files = [source] if source.is_file() else sorted(source.glob("*.safetensors")) if source.is_dir() else []
    networks = [path for path in files if path.suffix == ".safetensors" and path.name.startswith("mar-")]
    if not networks:
        return None
    codec = networks[0].with_name("kl16.safetensors")
    if len(networks) > 1 or not codec.is_file():
        names = ", ".join(path.name for path in networks)
        raise CheckpointError(
            f"{source}: found {names}; expected one mar-*.safetensors with kl16.safetensors beside it"
        )
    return networks[0], codec


def write_released(network: Path, codec: Path, folder: Path, *, ema: bool) -> tuple[dict[str, Any], list[str]]:
    """As `write`, from safetensors. ema: refuse the file that is known to hold no averages."""
    if ema and network.name == LAST_WEIGHTS:
        raise CheckpointError(
            f"{network}: holds the last weights, not the averaged ones that the published figures are of (FID 5.56 in "
            "place of 2.31); convert checkpoint-last.pth, which has both, or take these with --no-ema"
        )
    try:
        config = _config(read_header(network), network)
        vae = vae_config(read_header(codec), codec)
    except DescriptionError as error:
        raise CheckpointError(str(error)) from None
    shutil.copyfile(network, folder / "generator.safetensors")
    shutil.copyfile(codec, folder / "codec.safetensors")
    return _values(config, vae, folder), [f"{network.name}: copied; whether its weights are averages, it does not say"]


def _config(shapes: Shapes, place: Path) -> MARConfig:
    try:
        config = config_from_shapes(shapes)
    except ValueError as error:
        raise CheckpointError(f"{place}: {error}") from None
    faults = shape_faults(dict(shapes), expected_shapes(config))
    if faults:
        raise CheckpointError(f"{place}: the tensors do not fit a MAR of its size; {faults}")
    return config


def vae_config(shapes: Shapes, place: Path) -> dict[str, Any]:
    """Settings of diffusers' AutoencoderKL for an autoencoder under latent-diffusion names."""
    try:
        levels = 1 + max(int(name.split(".")[2]) for name in shapes if name.startswith("encoder.down."))
        widths = [shapes[f"encoder.down.{i}.block.0.conv1.weight"][0] for i in range(levels)]
        blocks = len({name.split(".")[4] for name in shapes if name.startswith("encoder.down.0.block.")})
        attends = [f"encoder.down.{i}.attn.0.q.weight" in shapes for i in range(levels)]
        lifts = [f"decoder.up.{i}.attn.0.q.weight" in shapes for i in reversed(range(levels))]
        channels = shapes["post_quant_conv.weight"][0]
    except (KeyError, ValueError, IndexError) as error:
        raise CheckpointError(f"{place}: no autoencoder of latent diffusion ({error})") from None
    return {
        "in_channels": 3,
        "out_channels": 3,
        "down_block_types": ["AttnDownEncoderBlock2D" if has else "DownEncoderBlock2D" for has in attends],
        "up_block_types": ["AttnUpDecoderBlock2D" if has else "UpDecoderBlock2D" for has in lifts],
        "block_out_channels": widths,
        "layers_per_block": blocks,
        "latent_channels": channels,
        "norm_num_groups": 32,
        "mid_block_add_attention": True,
        "scaling_factor": SCALE,
    }


def _values(config: MARConfig, vae: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Everything of `model.json` but its format; writes the names of the classes."""
    if config.in_channels != vae["latent_channels"]:
        raise CheckpointError(
            f"the network makes latents of {config.in_channels} channels, the autoencoder {vae['latent_channels']}; "
            "these files belong to different models"
        )
    shutil.copyfile(CLASSES, folder / "classes.json")
    size = next((name for name, known in SIZES.items() if known == config), "base")
    stride = 2 ** (len(vae["block_out_channels"]) - 1)
    return {
        "name": f"mar-{size}",
        "modality": "image",
        "generator": {"family": "mar", "config": config.to_mapping()},
        "codec": {"kind": "diffusers-vae", "config": dict(vae)},
        "text_encoder": {"kind": "class-names", "file": "./classes.json"},
        "native_size": [cells * stride for cells in config.cells],
        "defaults": {
            "sampler": "masked-autoregressive",
            "sampler_options": {"head_steps": 100},
            "steps": min(64, config.tokens),
            "guidance": {"scale": GUIDANCE[size]},
        },
    }
