"""Folders written whole or not at all, and safetensors files written one tensor at a time."""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from modalities.contracts import CheckpointError
from modalities.weights.convert_archive import PickledCheckpoint
from modalities.weights.convert_layouts import Part
from modalities.weights.convert_values import PickledTensor, PickleRefused

OURS = re.compile(
    r"(model|classes)\.json|(generator|codec|tokenizer|vocoder|text|tensors|consolidated[\w.-]*)\.safetensors"
)
"""Names of the files that a conversion writes; a folder with anything else in it is never replaced."""
TYPES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
}
MOST_GROWTH = 4
"""How often the numbers of a file may be written; tied tensors are written once for each name."""


@contextmanager
def replacing(target: Path, *, force: bool) -> Iterator[Path]:
    """A folder beside `target` to write into, which takes its place when all went well and is removed otherwise.

    CheckpointError when something is there already: anything without `force`, and with it whatever holds other files
    than a conversion writes.
    """
    if target.exists() or target.is_symlink():
        _check_replaceable(target, force=force)
    aside = target.with_name(f".{target.name}.{os.getpid()}.part")
    before = target.with_name(f".{target.name}.{os.getpid()}.old")
    aside.mkdir(parents=True)
    try:
        yield aside
        if target.exists():
            target.rename(before)
        aside.rename(target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        if before.exists() and not target.exists():
            before.rename(target)
        shutil.rmtree(before, ignore_errors=True)


def _check_replaceable(target: Path, *, force: bool) -> None:
    if not target.is_dir() or target.is_symlink():
        raise CheckpointError(f"{target}: is there and no folder; name a folder that is not there yet")
    names = sorted(path.name for path in target.iterdir())
    strange = [name for name in names if not OURS.fullmatch(name)]
    if strange:
        raise CheckpointError(
            f"{target}: is there and holds {strange[0]}, which no conversion wrote; name a new folder"
        )
    if names and not force:
        raise CheckpointError(f"{target}: is there already; name a new folder, or replace it with --force")


@dataclass(frozen=True, slots=True)
class Found:
    """A file of the source, open, and what it is."""

    checkpoint: PickledCheckpoint
    part: Part

    def chosen(self, tensors: Mapping[str, PickledTensor]) -> Chosen:
        """Tensors of this file, as `write_chosen` takes them."""
        return {name: (self.checkpoint, tensor) for name, tensor in tensors.items()}


Chosen = dict[str, tuple[PickledCheckpoint, PickledTensor]]
"""Name -> the open file that a tensor lies in, and the tensor."""


def write_chosen(path: Path, chosen: Chosen) -> None:
    """Write tensors of open checkpoints to a safetensors file, one after the other, sorted by name.

    CheckpointError when a few numbers of a file claim to be many tensors, or are not all there.
    """
    _check_growth(chosen)
    header: dict[str, dict[str, object]] = {}
    end = 0
    for name in sorted(chosen):
        tensor = chosen[name][1]
        start, end = end, end + tensor.num_bytes
        dtype = TYPES[tensor.storage.dtype]
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)))
        file.write(text)
        for name in sorted(chosen):
            source, tensor = chosen[name]
            try:
                numbers = source.tensor(tensor).reshape(-1)
            except PickleRefused as error:
                raise CheckpointError(f"{source.path}: {error}") from None
            file.write(numbers.view(torch.uint8).numpy().tobytes())
        file.flush()
        os.fsync(file.fileno())


def _check_growth(chosen: Chosen) -> None:
    for source in {id(source): source for source, _ in chosen.values()}.values():
        total = sum(tensor.num_bytes for owner, tensor in chosen.values() if owner is source)
        if total > MOST_GROWTH * source.path.stat().st_size:
            raise CheckpointError(
                f"{source.path}: claims tensors of {total} bytes, more than {MOST_GROWTH} times its own size"
            )
