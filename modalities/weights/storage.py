"""How weights are stored in fewer bits: float16, or int8 with one scale for each output row.

A tensor W of two or more axes, whose first one is the output, becomes codes c = round(W / s) in int8 under its own name
and s = max |W[row]| / 127 in float32 under `<name>.scale`, so W is restored as c s with an error of at most s / 2.
Vectors (norms, biases, gates) stay in float32: they are a hundredth of the numbers and multiply all of them.

Measured on the built-in image generator (`benchmarks/weight_storage.py`, 22 Nov 2026): int8 changes its matrices by
0.73 % (rms), and pictures of 8 prompts after 10 midpoint steps with guidance 4 by 49 dB PSNR, the worst by 39 dB.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from modalities.contracts import CheckpointError
from modalities.weights.headers import SCALE

STORAGES = ("float16", "int8")


def stored(tensors: Mapping[str, Tensor], storage: str) -> dict[str, Tensor]:
    """Floating tensors as `storage` keeps them, others as they are; `restored` turns them back.

    CheckpointError names the tensors that hold values which `storage` cannot: infinite, NaN, or beyond float16.
    """
    if storage not in STORAGES:
        raise ValueError(f"unknown storage `{storage}`; known: {', '.join(STORAGES)}")
    taken = sorted(f"{name}{SCALE}" for name in tensors if f"{name}{SCALE}" in tensors)
    if storage == "int8" and taken:
        raise ValueError(f"int8 storage needs the name {taken[0]} for the scales of another tensor")
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            found[name] = tensor
        elif storage == "float16":
            found[name] = tensor.to(torch.float16)
        elif tensor.ndim < 2:
            found[name] = tensor.to(torch.float32)
        else:
            found[name], found[f"{name}{SCALE}"] = to_int8(tensor)
    wide = [name for name, tensor in found.items() if tensor.is_floating_point() and not bool(tensor.isfinite().all())]
    if wide:
        raise CheckpointError(f"{', '.join(wide[:4])}: values that {storage} cannot hold; has the training diverged?")
    return found


def restored(tensors: Mapping[str, Tensor], place: str) -> dict[str, Tensor]:
    """Every int8 tensor multiplied by its scales, in float32, and the scales dropped; others as they are.

    CheckpointError, beginning with `place`, when scales are missing, of another shape, negative or not finite.
    """
    found = dict(tensors)
    for name, codes in tensors.items():
        if codes.dtype != torch.int8:
            continue
        scale = found.pop(f"{name}{SCALE}", None)
        if scale is None or not scale.is_floating_point() or codes.ndim < 2 or scale.shape != codes.shape[:1]:
            raise CheckpointError(f"{place}: {name} is int8, but {name}{SCALE} is not one float for each of its rows")
        if not bool((scale.isfinite() & (scale >= 0)).all()):
            raise CheckpointError(f"{place}: {name}{SCALE} holds numbers that are negative or not finite")
        found[name] = from_int8(codes, scale)
    return found


def to_int8(weight: Tensor) -> tuple[Tensor, Tensor]:
    """`[rows, ...]` as int8 and a float32 scale `[rows]`: the largest number of each row becomes 127 or -127."""
    scale = weight.abs().flatten(1).amax(dim=1).clamp_min(1e-12) / 127
    return torch.round(weight / _along(scale, weight)).to(torch.int8), scale.to(torch.float32)


def from_int8(codes: Tensor, scale: Tensor) -> Tensor:
    """Inverse of `to_int8` up to half a scale, in float32."""
    return codes.to(torch.float32) * _along(scale.to(torch.float32), codes)


def _along(scale: Tensor, weight: Tensor) -> Tensor:
    return scale.view(-1, *[1] * (weight.ndim - 1))
