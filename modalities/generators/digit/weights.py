"""DiGIT weights in and out of files, strictly: every tensor is used, none is missing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from modalities.generators.digit.config import expected_shapes
from modalities.generators.digit.model import DiGIT
from modalities.weights.checkpoint import read_tensors, write_tensors


def load_weights(
    model: DiGIT, files: Sequence[Path], *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> None:
    """Fill `model` (which may be on the meta device) from safetensors files.

    Raises CheckpointError naming the file and the tensors when any is missing, unexpected or of the wrong shape.
    """
    tensors = read_tensors(files, expected_shapes(model.config))
    model.load_state_dict({k: v.to(device=device, dtype=dtype) for k, v in tensors.items()}, assign=True)
    model.requires_grad_(True)


def save_weights(model: DiGIT, file: Path, *, storage: str | None = None) -> None:
    """Write both stages to one safetensors file; storage as for `write_tensors`."""
    write_tensors(file, model.state_dict(), storage=storage)
