"""Tensors in and out of safetensors files. Every loader of the project goes through here; pickles are refused."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import safetensors
from safetensors.torch import load_file, save_file
from torch import Tensor

from modalities.contracts import CheckpointError
from modalities.weights.headers import DescriptionError, read_headers, shape_faults
from modalities.weights.storage import restored, stored


def read_tensors(
    path: Path | Sequence[Path], expected_shapes: Mapping[str, tuple[int, ...]] | None = None
) -> dict[str, Tensor]:
    """The tensors of one safetensors file, or of several that make one checkpoint, on the CPU.

    Tensors stored as int8 (`storage.py`) come back as float32, under their own names and without their scales.
    Raises CheckpointError naming the file when one is missing, cut short, a pickle or no safetensors file, and naming
    the tensors when `expected_shapes` is given and any is missing, unexpected or of another shape.
    """
    files = [path] if isinstance(path, Path) else list(path)
    tensors: dict[str, Tensor] = {}
    try:
        read_headers(files)
        for file in files:
            tensors |= restored(load_file(file), str(file))
    except DescriptionError as error:
        raise CheckpointError(str(error)) from None
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(f"{', '.join(map(str, files))}: cannot be read ({error})") from error
    if expected_shapes is not None:
        check_tensors(tensors, expected_shapes, ", ".join(map(str, files)))
    return tensors


def check_tensors(tensors: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]], place: str) -> None:
    """CheckpointError, beginning with `place`, unless the names and shapes are exactly the expected ones."""
    faults = shape_faults({name: tuple(tensor.shape) for name, tensor in tensors.items()}, expected)
    if faults:
        raise CheckpointError(f"{place}: the tensors do not fit the configuration; {faults}")


def read_metadata(path: Path) -> dict[str, str]:
    """The text that a safetensors file carries beside its tensors."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from error


def write_tensors(
    path: Path,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str] | None = None,
    *,
    storage: str | None = None,
) -> None:
    """Write a safetensors file whole: beside its place first, then renamed. Equal tensors give equal bytes.

    storage: float16 or int8 (`storage.py`) for fewer bits a number; None writes the tensors as they are.
    CheckpointError when a tensor holds values that the storage cannot keep.
    """
    kept = tensors if storage is None else stored(tensors, storage)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    own = {name: kept[name].detach().cpu().contiguous().clone() for name in sorted(kept)}
    try:
        save_file(own, aside, metadata=dict(metadata or {}))
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def write_model_json(folder: Path, values: Mapping[str, object]) -> None:
    """Write `model.json` of a model folder (format parhelion-model/1), sorted and readable."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"format": "parhelion-model/1", **values}, indent=2, ensure_ascii=False)
    (folder / "model.json").write_text(text + "\n", encoding="utf-8")
