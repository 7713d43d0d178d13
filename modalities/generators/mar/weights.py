"""MAR weights in and out of files, strictly: every tensor is used, none is missing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from modalities.generators.mar.config import expected_shapes
from modalities.generators.mar.model import MAR
from modalities.weights.checkpoint import check_tensors, read_tensors


def load_weights(
    model: MAR, files: Sequence[Path], *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> None:
    """Fill `model` (which may be on the meta device) from safetensors files under the published names.

    Raises CheckpointError naming the file and the tensors when any is missing, unexpected or of the wrong shape.
    """
    tensors = read_tensors(files)
    check_tensors(tensors, expected_shapes(model.config), ", ".join(str(file) for file in files))
    model.load_state_dict({k: v.to(device=device, dtype=dtype) for k, v in tensors.items()}, assign=True)
    model.requires_grad_(True)
