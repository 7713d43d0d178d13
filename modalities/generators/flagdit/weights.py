"""Flag-DiT weights in and out of files, strictly: every tensor is used, none is missing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from modalities.generators.flagdit.config import PREFIX, expected_shapes, without_prefix
from modalities.generators.flagdit.model import FlagDiT
from modalities.weights.checkpoint import check_tensors, read_tensors, write_tensors


def load_weights(
    model: FlagDiT, files: Sequence[Path], *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> None:
    """Fill `model` (which may be on the meta device) from safetensors files, with or without the published prefix.

    Raises CheckpointError naming the file and the tensors when any is missing, unexpected or of the wrong shape.
    """
    tensors = without_prefix(read_tensors(files))
    check_tensors(tensors, expected_shapes(model.config), ", ".join(str(file) for file in files))
    model.load_state_dict({k: v.to(device=device, dtype=dtype) for k, v in tensors.items()}, assign=True)
    model.requires_grad_(True)


def save_weights(model: FlagDiT, file: Path, layout: str = "original") -> None:
    """Write the weights to one safetensors file under the names `original` or, with their prefix, `lightning`."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    match layout:
        case "original":
            write_tensors(file, tensors)
        case "lightning":
            write_tensors(file, {f"{PREFIX}{name}": tensor for name, tensor in tensors.items()})
        case _:
            raise ValueError(f"unknown layout `{layout}`; known: lightning, original")
