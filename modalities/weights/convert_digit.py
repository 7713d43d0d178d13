"""The files of DiGIT as a model folder: both stages, the VQGAN, and the tokenizer's features and clusters.

The stages are fairseq checkpoints (`model`: flat tensors, `cfg`: settings); the second also holds the VQGAN, the first
the DINOv2 and, transposed, its clusters. `km_*.npy` beside them holds the clusters in full precision.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from modalities.codecs import dinov2_tokens, vqgan
from modalities.codecs.vqgan import VQGANConfig
from modalities.contracts import CheckpointError
from modalities.generators.digit.config import (
    DECODER_ROUNDS,
    POSITION_OFFSET,
    SPECIAL,
    DiGITConfig,
    StageConfig,
    expected_shapes,
)
from modalities.weights.checkpoint import write_tensors
from modalities.weights.class_list import FORMAT, read_classes
from modalities.weights.convert_layouts import Part, Tensors
from modalities.weights.convert_writing import Chosen, Found, write_chosen
from modalities.weights.headers import shape_faults
from modalities.weights.sources import BUILTIN

CLASSES = BUILTIN / "imagenet" / "classes.json"
TOP_K, TOP_K_CLASSES, TOP_K_LARGE, LARGE = 200, 300, 400, 1536
"""Ids that the published scripts keep: without classes, with classes, and from a width of LARGE on."""
DECODER_TOP_P = 0.8
HEAD = 64
"""Width of a head where a file does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The files: both stages, and the VQGAN and the clusters where they are files of their own."""

    semantic: Found
    decoder: Found
    codec: Found | None
    clusters: tuple[Path, ...]


def is_stage(part: Part) -> bool:
    """Whether a part is one of the two stages."""
    return part.kind in ("digit-semantic", "digit-decoder")


def cluster_files(source: Path) -> tuple[Path, ...]:
    """Files of k-means centres in a folder: `km_*.npy`."""
    return tuple(sorted(source.rglob("km_*.npy"))) if source.is_dir() else ()


def write(parts: Parts, folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Write the safetensors files; answers the values of `model.json` and lines that say what was chosen.

    CheckpointError names what does not fit together.
    """
    config, lines = _config(parts)
    tensors = {
        f"{name}.{each}": pickled
        for name, found in (("semantic", parts.semantic), ("decoder", parts.decoder))
        for each, pickled in found.part.tensors.items()
    }
    faults = shape_faults({name: tensor.shape for name, tensor in tensors.items()}, expected_shapes(config))
    if faults:
        raise CheckpointError(f"{parts.semantic.checkpoint.path}: the tensors of the stages do not fit; {faults}")
    chosen: Chosen = {}
    for name, found in (("semantic", parts.semantic), ("decoder", parts.decoder)):
        chosen |= found.chosen({f"{name}.{each}": pickled for each, pickled in found.part.tensors.items()})
    write_chosen(folder / "generator.safetensors", chosen)
    codec = _write_codec(parts, folder, config)
    lines += _write_tokenizer(parts, folder, config, codec)
    stride = VQGANConfig.from_mapping(codec["config"]).stride
    lines += _write_classes(config, folder)
    values = {
        "name": "digit",
        "modality": "image",
        "generator": {"family": "digit", "config": config.to_mapping()},
        "codec": codec,
        "text_encoder": {"kind": "class-names", "file": "./classes.json"},
        "native_size": [cells * stride for cells in config.code_grid],
        "defaults": {
            "sampler": "autoregressive",
            "sampler_options": _sampling(config),
            "guidance": {"scale": 1.0},
        },
    }
    return values, lines


def _config(parts: Parts) -> tuple[DiGITConfig, list[str]]:
    """The configuration of both stages, from shapes and from the settings that leave no trace in them."""
    first, second = (_ids(found) for found in (parts.semantic, parts.decoder))
    place = parts.decoder.checkpoint.path
    if second[0] != second[1] + first[1]:
        raise CheckpointError(
            f"{place}: reads {second[0] - second[1] - SPECIAL} clusters, but the first stage "
            f"{parts.semantic.checkpoint.path} writes {first[1] - SPECIAL}; these stages belong to different models"
        )
    name = str(_settings(parts.decoder).get("_name", ""))
    lines = [] if name else [f"{place.name}: does not say how it was trained; taken for one code after the other"]
    try:
        config = DiGITConfig(
            clusters=first[1] - SPECIAL,
            codes=second[1] - SPECIAL,
            classes=first[0] - first[1],
            semantic=_stage(parts.semantic),
            decoder=_stage(parts.decoder),
            decoder_order="masked" if "nar" in name else "autoregressive",
        )
    except ValueError as error:
        raise CheckpointError(f"{place.parent}: {error}") from None
    return config, lines


def _write_classes(config: DiGITConfig, folder: Path) -> list[str]:
    """The names of ImageNet's classes; none for a model that is told nothing; numbers where other classes are meant."""
    names = [[str(number)] for number in range(config.classes)]
    lines = []
    if config.classes:
        known = read_classes(CLASSES).names
        if len(known) == config.classes:
            names = [list(entry) for entry in known]
        else:
            lines = [f"{config.classes} classes are not ImageNet's {len(known)}: classes.json has their numbers alone"]
    text = json.dumps({"format": FORMAT, "names": names}, ensure_ascii=False, indent=1)
    (folder / "classes.json").write_text(text + "\n", encoding="utf-8")
    return lines


def _ids(found: Found) -> tuple[int, int]:
    """Rows of the table of ids, and ids that are predicted."""
    tensors = found.part.tensors
    try:
        return tensors["embed_tokens.weight"].shape[0], tensors["output_projection.weight"].shape[0]
    except (KeyError, IndexError):
        raise CheckpointError(f"{found.checkpoint.path}: lacks its table of ids or its output") from None


def _stage(found: Found) -> StageConfig:
    """One transformer. Norms come first exactly when there is one after the last layer, whatever the settings say."""
    tensors, settings, place = found.part.tensors, _settings(found), found.checkpoint.path
    pre_norm = "layer_norm.weight" in tensors
    said = settings.get("decoder_normalize_before")
    if isinstance(said, bool) and said != pre_norm:
        raise CheckpointError(
            f"{place}: its settings say decoder_normalize_before {said}, but a norm after the last layer is "
            + ("there" if pre_norm else "not there")
        )
    try:
        rows, dim = tensors["embed_positions.weight"].shape
        ffn = tensors["layers.0.fc1.weight"].shape[0]
    except (KeyError, ValueError, IndexError):
        raise CheckpointError(f"{place}: no stage of a DiGIT; its positions or its first layer are not there") from None
    heads = settings.get("decoder_attention_heads")
    return StageConfig(
        dim=dim,
        layers=len({name.split(".")[1] for name in tensors if name.startswith("layers.")}),
        heads=heads if isinstance(heads, int) else max(1, dim // HEAD),
        ffn=ffn,
        pre_norm=pre_norm,
        positions=rows - POSITION_OFFSET,
    )


def _settings(found: Found) -> Mapping[str, Any]:
    """The settings of the model in a fairseq checkpoint; none where it holds none."""
    config = found.checkpoint.value.get("cfg") if isinstance(found.checkpoint.value, dict) else None
    model = config.get("model") if isinstance(config, dict) else None
    return model if isinstance(model, dict) else {}


def _sampling(config: DiGITConfig) -> dict[str, Any]:
    """How the published scripts sample such a model."""
    kept = TOP_K_LARGE if config.semantic.dim >= LARGE else TOP_K_CLASSES if config.classes else TOP_K
    if config.decoder_order == "masked":
        return {"top_k": kept, "decoder_steps": DECODER_ROUNDS}
    return {"top_k": kept, "decoder_top_p": DECODER_TOP_P}


def _write_codec(parts: Parts, folder: Path, config: DiGITConfig) -> dict[str, Any]:
    """The VQGAN, from a file of its own or else from the second stage."""
    if parts.codec is not None:
        owner, tensors = parts.codec, parts.codec.part.tensors
    else:
        owner, tensors = parts.decoder, parts.decoder.part.groups["codec"]
    if not tensors:
        raise CheckpointError(
            f"{owner.checkpoint.path}: holds no VQGAN (vqgan.*), and no file of one lies beside it; convert the folder "
            "that also holds vqgan_jax_strongaug.ckpt"
        )
    found = vqgan_config(owner, tensors)
    if found.codes != config.codes:
        raise CheckpointError(
            f"{owner.checkpoint.path}: a VQGAN of {found.codes} codes, but the second stage writes {config.codes}"
        )
    write_chosen(folder / "codec.safetensors", owner.chosen(tensors))
    return {"kind": "vqgan", "config": found.to_mapping()}


def vqgan_config(owner: Found, tensors: Tensors) -> VQGANConfig:
    """The configuration of a VQGAN, after its tensors have been seen to fit; the groups leave no trace in them."""
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    try:
        codes, channels = shapes["quantize.embedding.weight"]
        width = shapes["encoder.conv_in.weight"][0]
        levels = 1 + max(int(name.split(".")[2]) for name in shapes if name.startswith("encoder.down."))
        wide = [shapes[f"encoder.down.{i}.block.0.conv1.weight"][0] for i in range(levels)]
        blocks = len({name.split(".")[4] for name in shapes if name.startswith("encoder.down.0.block.")})
        config = VQGANConfig(
            codes=codes, channels=channels, width=width, multipliers=tuple(n // width for n in wide), blocks=blocks
        )
    except (KeyError, ValueError, IndexError) as error:
        raise CheckpointError(f"{owner.checkpoint.path}: no VQGAN of MaskGIT's kind ({error})") from None
    faults = shape_faults(shapes, vqgan.expected_shapes(config))
    if faults:
        raise CheckpointError(f"{owner.checkpoint.path}: the tensors of its VQGAN do not fit together; {faults}")
    return config


def _write_tokenizer(parts: Parts, folder: Path, config: DiGITConfig, codec: dict[str, Any]) -> list[str]:
    """DINOv2 without the blocks that are not looked at, and its clusters; adds its configuration to the codec's."""
    owner = next((each for each in (parts.semantic, parts.decoder) if each.part.groups["encoder"]), None)
    if owner is None:
        return ["no pretrained_encoder.*: pictures can be made, but not turned into tokens"]
    pickled = owner.part.groups["encoder"]
    depth = len({name.split(".")[1] for name in pickled if name.startswith("blocks.")})
    unused = tuple(f"blocks.{i}." for i in range(depth - dinov2_tokens.UNUSED, depth))
    try:
        tensors = {
            name: owner.checkpoint.tensor(each).float()
            for name, each in pickled.items()
            if name != "mask_token" and not name.startswith(unused)
        }
        tensors["centroids"], line = _clusters(parts, owner, config)
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        found = dinov2_tokens.config_from_shapes(shapes)
    except CheckpointError:
        raise
    except ValueError as error:  # PickleRefused among them
        raise CheckpointError(f"{owner.checkpoint.path}: {error}") from None
    faults = shape_faults(shapes, dinov2_tokens.expected_shapes(found))
    if faults:
        raise CheckpointError(f"{owner.checkpoint.path}: the tensors of its DINOv2 do not fit together; {faults}")
    write_tensors(folder / "tokenizer.safetensors", tensors)
    codec["tokenizer"] = found.to_mapping()
    return [f"tokenizer: DINOv2, {found.layers} of {depth} blocks, {found.clusters} clusters; {line}"]


def _clusters(parts: Parts, owner: Found, config: DiGITConfig) -> tuple[Tensor, str]:
    """Centres `[K, D]` in float32: of the file that has as many as the first stage has ids, or of the checkpoint."""
    for path in parts.clusters:
        centres = _read_npy(path)
        if len(centres) == config.clusters:
            return centres, f"clusters of {path.name}"
    stored = owner.part.groups["clusters"].get("centroids")
    if stored is None:
        raise CheckpointError(
            f"{owner.checkpoint.path}: holds no clusters (centroids), and no km_*.npy of {config.clusters} lies beside"
        )
    centres = owner.checkpoint.tensor(stored).float().T.contiguous()
    return centres, f"clusters of {owner.checkpoint.path.name}, stored as {stored.storage.dtype}"


def _read_npy(path: Path) -> Tensor:
    """A matrix of floats; CheckpointError for anything else, pickled objects among them."""
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise CheckpointError(f"{path}: not an array of numbers ({error})") from None
    if not isinstance(values, np.ndarray) or values.ndim != 2 or values.dtype.kind != "f":
        raise CheckpointError(f"{path}: expected a matrix of floats, one row for each cluster")
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
