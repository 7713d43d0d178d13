"""Training state in one safetensors file: weights, averaged weights, optimizer moments, and a JSON note in its header.

One file, renamed into place, so that a crash can never leave weights and state that disagree. No pickle anywhere.
Tensors are written whole, so that a training goes on with any number of ranks, sharded or not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from modalities.contracts import CheckpointError
from modalities.training.ranks import cut_like, own_part, whole
from modalities.weights.checkpoint import read_metadata, read_tensors, write_tensors

FORMAT = "parhelion-training/1"


def save_state(
    path: Path,
    module: nn.Module,
    average: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
    note: Mapping[str, Any],
    *,
    is_written: bool = True,
) -> None:
    """Write everything that `load_state` needs; the file appears whole or not at all.

    Where tensors are sharded every rank has to call this; is_written: False on those that only take part.
    """
    tensors = {f"model.{name}": value for name, value in module.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in average.items()}
    for name, parameter in module.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"optimizer.{key}.{name}"] = value
    write_whole(path, tensors, {"format": FORMAT, "note": json.dumps(dict(note))}, is_written=is_written)


def write_whole(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None, *, is_written: bool = True
) -> None:
    """Write tensors that may be sharded, gathered one after the other."""
    found: dict[str, Tensor] = {}
    for name, value in tensors.items():
        full = whole(value.detach())
        if is_written:
            found[name] = full.cpu()
    if is_written:
        write_tensors(path, found, metadata)


def load_state(
    path: Path, module: nn.Module, average: dict[str, Tensor], optimizer: torch.optim.Optimizer
) -> dict[str, Any]:
    """Fill module, average and optimizer from a checkpoint and return its note; CheckpointError names what is wrong."""
    metadata, tensors = read_metadata(path), read_tensors(path)
    if metadata.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not a training checkpoint ({FORMAT})")
    own = module.state_dict()
    wrong = [name for name, value in own.items() if _shape(tensors, f"model.{name}") != value.shape]
    extra = [n for n in tensors if n.startswith("model.") and n.removeprefix("model.") not in own]
    if wrong or extra:
        raise CheckpointError(f"{path}: missing or of another shape: {wrong[:5]}; not in the model: {extra[:5]}")
    fill(own, {name: tensors[f"model.{name}"] for name in own})
    fill(average, {name: tensors[f"average.{name}"] for name in average})
    for name, parameter in module.named_parameters():
        keys = ("step", "exp_avg", "exp_avg_sq")
        found = {key: tensors[f"optimizer.{key}.{name}"] for key in keys if f"optimizer.{key}.{name}" in tensors}
        if found:
            moments = {key: cut_like(value, parameter) for key, value in found.items() if key != "step"}
            optimizer.state[parameter] = {"step": found["step"].to(parameter.device), **moments}
    note: dict[str, Any] = json.loads(metadata["note"])
    return note


@torch.no_grad()
def fill(own: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    """Copy whole tensors into those of the same names, which may be sharded."""
    for name, value in own.items():
        own_part(value).copy_(own_part(cut_like(values[name], value)))


def _shape(tensors: Mapping[str, Tensor], name: str) -> torch.Size | None:
    return tensors[name].shape if name in tensors else None
