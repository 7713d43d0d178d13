"""Next-DiT weights in and out of files, in both public layouts, strictly: every tensor is used, none is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from modalities.contracts import CheckpointError
from modalities.generators.nextdit.config import NextDiTConfig
from modalities.generators.nextdit.layouts import diffusers_names, expected_shapes, layer_count, recognise
from modalities.generators.nextdit.model import NextDiT
from modalities.weights.checkpoint import check_tensors, read_tensors, write_tensors


def load_weights(
    model: NextDiT, files: Sequence[Path], *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> None:
    """Fill `model` (which may be on the meta device) from safetensors files in either layout.

    Raises CheckpointError naming the file and the tensors when any is missing, unexpected, of the wrong shape, or, in
    the diffusers layout, when the two copies of a query projection differ.
    """
    place = ", ".join(str(file) for file in files)
    tensors = to_original(read_tensors(files), place)
    check_tensors(tensors, expected_shapes(model.config), place)
    model.load_state_dict({k: v.to(device=device, dtype=dtype) for k, v in tensors.items()}, assign=True)
    model.requires_grad_(True)


def save_weights(model: NextDiT, file: Path, layout: str = "original") -> None:
    """Write the weights of `model` to one safetensors file in the layout `original` or `diffusers`."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    match layout:
        case "original":
            write_tensors(file, tensors)
        case "diffusers":
            write_tensors(file, to_diffusers(tensors))
        case _:
            raise ValueError(f"unknown layout `{layout}`; known: diffusers, original")


def to_original(tensors: Mapping[str, Tensor], place: str) -> dict[str, Tensor]:
    """Tensors of either layout under original names. `place` is named in errors."""
    try:
        layout = recognise({name: tuple(tensor.shape) for name, tensor in tensors.items()})
    except ValueError as error:
        raise CheckpointError(f"{place}: {error}") from None
    if layout == "original":
        return dict(tensors)
    left = dict(tensors)
    found: dict[str, Tensor] = {}
    for ours in _original_names(tensors):
        copies = [left.pop(theirs) for theirs in diffusers_names(ours) if theirs in left]
        if not copies:
            continue
        if any(not torch.equal(copies[0], copy) for copy in copies[1:]):
            names = " and ".join(diffusers_names(ours))
            raise CheckpointError(
                f"{place}: {names} differ. A Next-DiT has one tensor for both, so these weights, probably fine-tuned "
                "in diffusers, cannot be used; train the two as one"
            )
        if len(copies) == len(diffusers_names(ours)):
            found[ours] = copies[0]
    return found | left


def to_diffusers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Original names to those of `LuminaNextDiT2DModel`, which holds queries and their norms twice."""
    named: dict[str, Tensor] = {}
    for ours, tensor in tensors.items():
        for i, theirs in enumerate(diffusers_names(ours)):
            named[theirs] = tensor if i == 0 else tensor.clone()
    return named


def _original_names(tensors: Mapping[str, Tensor]) -> list[str]:
    return list(expected_shapes(replace(NextDiTConfig(), layers=max(1, layer_count(tensors)))))
